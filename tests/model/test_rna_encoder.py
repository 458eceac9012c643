from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.errors import BadInput
from mirror_model.gene_groups import correlation_groups, group_table, read_gene_sets
from mirror_model.mirror import Mirror, Shapes
from mirror_model.network_config import LossConfig, ModelConfig
from mirror_model.rna_encoder import GroupedLinear, make_rna_encoder, make_skip

CONFIG = ModelConfig(
    dim=24,
    slide_heads=4,
    rna_heads=4,
    prototypes=16,
    style_hidden=16,
    style_out=8,
    style_dim=4,
    rna_tokens="gene_group",
)


def test_groups_find_genes_that_vary_together() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(60, 4))
    owner = rng.permutation(np.repeat(np.arange(4), 8))  # 32 genes, 8 of each factor
    values = factors[:, owner] + 0.1 * rng.normal(size=(60, 32))
    groups = correlation_groups(values, 4)
    assert sorted(np.concatenate(groups).tolist()) == list(range(32))
    assert all(len(set(owner[columns])) == 1 for columns in groups)
    again = correlation_groups(values, 4)
    assert all((a == b).all() for a, b in zip(groups, again, strict=True))


def test_groups_have_nearly_equal_sizes() -> None:
    values = np.random.default_rng(0).normal(size=(10, 23))
    assert sorted(map(len, correlation_groups(values, 5))) == [4, 4, 5, 5, 5]
    with pytest.raises(BadInput, match="BAD_OPTION"):
        correlation_groups(values, 24)


def test_gene_sets_of_a_gmt_file(tmp_path: Path) -> None:
    file = tmp_path / "sets.gmt"
    file.write_text("A\tnote\tTP53\tMYC\nB\tnote\tMYC\tKRAS\tABSENT\nC\tnote\tNOWHERE\n")
    symbols = ("KRAS", "MYC", "TP53", "X1", "X2", "X3")
    groups = read_gene_sets(file, symbols, 2)
    assert [g.tolist() for g in groups] == [[1, 2], [0, 1], [3, 4], [5]]
    assert group_table(groups).tolist() == [[1, 2], [0, 1], [3, 4], [5, -1]]
    with pytest.raises(BadInput, match="NO_OVERLAP"):
        read_gene_sets(file, ("Q1", "Q2"), 2)
    with pytest.raises(BadInput, match="NOT_FOUND"):
        read_gene_sets(tmp_path / "absent.gmt", symbols, 2)


def test_grouped_linear_maps_each_group_on_its_own() -> None:
    torch.manual_seed(0)
    layer = GroupedLinear(torch.tensor([[0, 3, 4], [1, 2, -1]]), 5)
    x = torch.randn(2, 5)
    out = layer(x)
    torch.testing.assert_close(out[:, 0], x[:, [0, 3, 4]] @ layer.weight[0])
    torch.testing.assert_close(out[:, 1], x[:, [1, 2]] @ layer.weight[1, :2])


@pytest.mark.parametrize("target", ["latent", "input"])
@pytest.mark.parametrize("tokens", ["chunk", "gene_group"])
def test_retention_of_both_encoders_and_both_targets(tokens: str, target: str) -> None:
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"rna_tokens": tokens, "retention_target": target})
    groups = torch.tensor([[0, 1, 2], [3, 4, -1], [5, 6, 7]])
    model = Mirror(config, LossConfig(), Shapes(10, 8, 12, groups)).eval()
    expression = torch.randn(4, 8)
    side = model(None, None, expression).rna
    assert side.embedding.shape == (4, 24)
    rows, width = {
        ("chunk", "latent"): (4, 24),
        ("chunk", "input"): (4, 8),
        ("gene_group", "latent"): (12, 24),
        ("gene_group", "input"): (12, 3),
    }[tokens, target]
    assert side.retained.prediction.shape == side.retained.target.shape == (rows, width)
    if (tokens, target) == ("gene_group", "input"):
        assert side.retained.mask.view(4, 3, 3)[:, 1, 2].eq(0).all()  # there is no such gene
        torch.testing.assert_close(side.retained.target.view(4, 3, 3)[:, 0], expression[:, :3])
    if (tokens, target) == ("chunk", "input"):
        torch.testing.assert_close(side.retained.target, expression)


def test_a_skip_adds_a_linear_map_of_the_genes() -> None:
    torch.manual_seed(0)
    for tokens in ("chunk", "gene_group"):
        config = CONFIG.model_copy(update={"rna_tokens": tokens, "rna_skip": True})
        encoder = make_rna_encoder(config, 8, torch.arange(8).view(2, 4)).eval()
        x = torch.randn(3, 8)
        full = encoder(x).embedding
        skip, encoder.skip = encoder.skip, None
        torch.testing.assert_close(full, encoder(x).embedding + skip(x))


@pytest.mark.parametrize("rank", [3, 40])
def test_a_skip_of_components_keeps_distances_as_far_as_it_can(rank: int) -> None:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(60, rank)).Q.T  # (R, G)
    weight = make_skip(60, 24, axes).weight.detach()  # (24, 60)
    kept, lost = axes[:24], axes[24:]
    scale = (24 / (3 * 60)) ** 0.5
    inside = torch.randn(5, len(kept)) @ kept
    torch.testing.assert_close(torch.cdist(inside @ weight.T, inside @ weight.T), scale * torch.cdist(inside, inside))
    torch.testing.assert_close(lost @ weight.T, torch.zeros(len(lost), 24))
    random = make_skip(60, 24).weight.detach()  # the same size in the mean
    assert float(weight.norm() / random.norm()) == pytest.approx((min(rank, 24) / 60) ** 0.5, rel=0.05)
