from __future__ import annotations

import math

import pytest
import torch
from mirror_model.diagnostics import effective_rank, recall_at
from mirror_model.losses import assignment_kl, hidden_error, info_nce, kl_to_normal, survival_nll, survival_risk
from mirror_model.mirror import Mirror, MirrorOutput, Shapes
from mirror_model.mirror_learner import mirror_encoded, mirror_terms
from mirror_model.network_config import LossConfig, ModelConfig
from mirror_model.retention import draw_mask


def terms_of(out: MirrorOutput, paired_slide: torch.Tensor, paired_rna: torch.Tensor) -> dict[str, torch.Tensor]:
    return mirror_terms(mirror_encoded(out, paired_slide, paired_rna), out.logit_scale)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_info_nce_is_the_mean_of_both_directions() -> None:
    slide, rna = torch.randn(4, 3), torch.randn(4, 3)
    total = 0.0
    for i in range(4):
        for a, b in ((slide, rna), (rna, slide)):
            scores = [2.0 * float(a[i] @ b[j]) for j in range(4)]
            total -= scores[i] - math.log(sum(map(math.exp, scores)))
    assert float(info_nce(slide, rna, torch.tensor(2.0))) == pytest.approx(total / 8, abs=1e-6)


def test_hidden_error_counts_hidden_entries_only() -> None:
    prediction, target = torch.zeros(3, 2), torch.tensor([[1.0, 3.0], [2.0, 2.0], [9.0, 9.0]])
    assert float(hidden_error(prediction, target, torch.tensor([1.0, 1.0, 0.0]))) == pytest.approx((5 + 4) / 2)
    assert float(hidden_error(prediction, target, torch.tensor([[0.0, 1], [0, 0], [0, 0]]))) == 9.0
    assert float(hidden_error(prediction, target, torch.zeros(3))) == 0.0


def test_kl_to_normal_equals_torch_distributions() -> None:
    mean, logvar = torch.randn(5, 3), torch.randn(5, 3)
    normal = torch.distributions.Normal(mean, torch.exp(logvar / 2))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(kl_to_normal(mean, logvar).mean(), expected)


def test_assignment_kl_is_symmetric_and_zero_for_equal_scores() -> None:
    a, b = torch.randn(6, 9), torch.randn(6, 9)
    p, q = a.softmax(1), b.softmax(1)
    expected = ((p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)).mean() / 2
    torch.testing.assert_close(assignment_kl(a, b).mean(), expected)
    torch.testing.assert_close(assignment_kl(b, a).mean(), expected)
    assert float(assignment_kl(a, a + 3).sum()) == pytest.approx(0, abs=1e-6)


def test_survival_likelihood_and_risk() -> None:
    logits = torch.randn(6, 4)
    h = torch.sigmoid(logits)
    stay = torch.cumprod(1 - h, 1)
    time_bin, event = torch.tensor([0, 1, 2, 3, 0, 3]), torch.tensor([1, 1, 0, 1, 0, 0])
    for row, (y, died) in enumerate(zip(time_bin.tolist(), event.tolist(), strict=True)):
        before = 1.0 if y == 0 else float(stay[row, y - 1])
        expected = -math.log(before * float(h[row, y])) if died else -math.log(float(stay[row, y]))
        assert float(survival_nll(logits, time_bin, event)[row]) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(survival_risk(logits), -stay.sum(1))
    assert survival_risk(torch.full((1, 4), 2.0)) > survival_risk(torch.full((1, 4), -2.0))
    assert survival_nll(torch.full((1, 4), 200.0), torch.tensor([3]), torch.tensor([1])).isfinite().all()


def test_masks_hide_three_quarters_of_the_real_tokens() -> None:
    counts = torch.tensor([20, 7, 1])
    mask = draw_mask(torch.rand(3, 20), counts, 0.75)
    assert mask.sum(1).tolist() == [15, 7 - int(7 * 0.25), 1]
    assert mask[1, 7:].eq(0).all()
    noise = torch.rand(1, 8)
    hidden = draw_mask(noise, torch.tensor([8]), 0.75)[0].bool()
    assert noise[0, ~hidden].max() < noise[0, hidden].min()  # the first of the random order are kept


def test_switched_off_modules_do_not_exist() -> None:
    config = ModelConfig(dim=24, slide_heads=4, prototypes=16, style_hidden=16, style_out=8, style_dim=4)
    only = LossConfig(align=1.0, slide_retention=0.0, rna_retention=0.0, style=0.0, cluster=0.0)
    model = Mirror(config, only, Shapes(6, 8, 5))
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {
        "slide", "rna", "slide_alignment", "rna_alignment", "log_scale",
    }  # fmt: skip
    pairs = torch.arange(3)
    assert set(terms_of(model(torch.randn(3, 5, 6), None, torch.randn(3, 8)), pairs, pairs)) == {"align"}
    no_align = Mirror(config, LossConfig(align=0.0), Shapes(6, 8, 5))
    terms = terms_of(no_align(torch.randn(3, 5, 6), None, torch.randn(3, 8)), pairs, pairs)
    assert set(terms) == {"slide_retention", "rna_retention", "style", "cluster"}


def test_patients_without_a_modality_count_in_the_other() -> None:
    config = ModelConfig(dim=24, slide_heads=4, prototypes=16, style_hidden=16, style_out=8, style_dim=4)
    model = Mirror(config, LossConfig(), Shapes(6, 8, 5)).eval()
    tiles, expression, none = torch.randn(3, 5, 6), torch.randn(4, 8), torch.tensor([], dtype=torch.long)
    slides_only = terms_of(model(tiles, None, None), none, none)
    assert set(slides_only) == {"slide_retention", "style"}
    assert set(terms_of(model(None, None, expression), none, none)) == {"rna_retention", "style"}
    both = model(tiles, None, expression)
    paired = terms_of(both, torch.tensor([0, 2]), torch.tensor([3, 1]))
    expected = info_nce(both.slide.aligned[[0, 2]], both.rna.aligned[[3, 1]], both.logit_scale)
    torch.testing.assert_close(paired["align"], expected)
    one = terms_of(both, torch.tensor([0]), torch.tensor([1]))
    assert "align" not in one
    assert "cluster" in one


def test_prototypes_and_scale_are_held_in_bounds() -> None:
    config = ModelConfig(dim=24, slide_heads=4, prototypes=40, style_hidden=16, style_out=8, style_dim=4)
    model = Mirror(config, LossConfig(), Shapes(6, 8, 5))
    gram = model.style.prototypes.T @ model.style.prototypes  # (D, D): orthogonal columns at the start
    torch.testing.assert_close(gram, torch.eye(24), rtol=1e-4, atol=1e-4)
    model.log_scale.data.fill_(50.0)
    model.before_step()
    assert float(model.log_scale.detach().exp()) == pytest.approx(100, rel=1e-5)
    torch.testing.assert_close(model.style.prototypes.norm(dim=1), torch.ones(40))


def test_recall_and_rank() -> None:
    keys = torch.eye(5)
    assert recall_at(keys, keys, (1,)) == {1: 1.0}
    assert recall_at(keys, keys.roll(1, 0), (1, 5)) == {1: 0.0, 5: 1.0}
    assert recall_at(torch.ones(4, 2), torch.ones(4, 2), (1, 2)) == {1: 0.0, 2: 1.0}  # all alike: 1.5 ahead of each
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.ones(6, 4)) == pytest.approx(1)
