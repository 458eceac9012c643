"""Each baseline's forward pass against plain NumPy, and what all of them share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mirror_model.baselines.abmil import Abmil
from mirror_model.baselines.linear import Linear
from mirror_model.baselines.porpoise import GatedBilinear, Porpoise
from mirror_model.baselines.tangle import Tangle, TangleLearner
from mirror_model.baselines.transmil import Transmil
from mirror_model.batches import Batch
from mirror_model.methods import METHODS
from mirror_model.tasks import Subtype, Survival, Targets
from torch import Tensor, nn

from .conftest import SHAPES, SUBTYPE, SURVIVAL, settings_of

Bags = tuple[Tensor, Tensor, Tensor]
Weights = dict[str, np.ndarray]


def arrays(module: nn.Module) -> Weights:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def pooled(w: Weights, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gated attention over the tiles of one bag: their weighted mean, and the weights."""
    score = linear(w, "pool.score", np.tanh(linear(w, "pool.tanh", hidden)) * sigmoid(linear(w, "pool.gate", hidden)))
    weight = np.exp(score[:, 0] - score.max())
    weight /= weight.sum()
    return weight @ hidden, weight


def batch_of(bags: Bags, targets: Targets | None = None) -> Batch:
    tiles, counts, expression = bags
    places = torch.arange(len(tiles))
    return Batch(("P0", "P1", "P2"), places, places, tiles, counts, expression, places, places, targets)


def test_linear_is_one_layer_on_the_mean_tile_and_the_genes(bags: Bags) -> None:
    task = SUBTYPE.model_copy(update={"base": (-0.5, 0.0, 2.0)})
    network = Linear(settings_of("linear"), SHAPES, task).eval()
    tiles, counts, expression = bags
    np.testing.assert_allclose(network(tiles, counts, expression).logits.detach(), np.tile(task.base, (3, 1)))
    nn.init.normal_(network.head.weight)
    w = arrays(network)
    for row, count in enumerate(counts.tolist()):
        x = np.concatenate([tiles[row, :count].double().numpy().mean(0), expression[row].double().numpy()])
        found = network(tiles, counts, expression).logits[row].detach()
        np.testing.assert_allclose(found, linear(w, "head", x), rtol=1e-5, atol=1e-6)


def test_abmil_against_numpy(bags: Bags) -> None:
    network = Abmil(settings_of("abmil"), SHAPES, SUBTYPE).eval()
    tiles, counts, _ = bags
    w, out = arrays(network), network(tiles, counts, None)
    assert w["pool.tanh.weight"].shape == (8, 16)
    for row, count in enumerate(counts.tolist()):
        mean, weight = pooled(w, relu(linear(w, "embed.0", tiles[row, :count].double().numpy())))
        np.testing.assert_allclose(out.logits[row].detach(), linear(w, "head", mean), atol=1e-5)
        np.testing.assert_allclose(out.weights[row, :count].detach(), weight, atol=1e-6)
        assert out.weights[row, count:].eq(0).all()


def test_porpoise_against_numpy(bags: Bags) -> None:
    network = Porpoise(settings_of("porpoise"), SHAPES, SURVIVAL).eval()
    tiles, counts, expression = bags
    w, out = arrays(network), network(tiles, counts, expression)

    def elu(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, np.expm1(x))

    for row, count in enumerate(counts.tolist()):
        mean, weight = pooled(w, relu(linear(w, "embed.0", tiles[row, :count].double().numpy())))
        slide = relu(linear(w, "slide.0", mean))
        rna = elu(linear(w, "rna.layers.1", elu(linear(w, "rna.layers.0", expression[row].double().numpy()))))
        gated = []
        for which, vector in enumerate((slide, rna)):
            gate = sigmoid(linear(w, f"fusion.gate.{which}", np.concatenate([slide, rna])))
            reduced = gate * relu(linear(w, f"fusion.reduce.{which}", vector))
            gated.append(np.append(relu(linear(w, f"fusion.mix.{which}", reduced)), 1.0))
        product = np.outer(*gated)
        assert product.shape == (7, 7)
        hidden = relu(linear(w, "fusion.mlp.3", relu(linear(w, "fusion.mlp.0", product.ravel()))))
        np.testing.assert_allclose(out.logits[row].detach(), linear(w, "head", hidden), atol=1e-5)
        np.testing.assert_allclose(out.weights[row, :count].detach(), weight, atol=1e-6)


def test_the_product_holds_both_vectors_and_a_one() -> None:
    fusion = GatedBilinear(4, 3, 0.0).eval()
    both = (torch.randn(2, 4), torch.randn(2, 4))
    one, two = fusion.gated(both, 0), fusion.gated(both, 1)
    product = torch.einsum("bi,bj->bij", one, two)
    assert torch.equal(product[:, :, -1], one)
    assert torch.equal(product[:, -1, :], two)
    assert product[:, -1, -1].eq(1).all()
    assert fusion(*both).shape == (2, 4)


def test_the_penalty_is_the_l1_norm_of_the_rna_branch(bags: Bags) -> None:
    network = Porpoise(settings_of("porpoise", "model.l1=0.01"), SHAPES, SUBTYPE)
    size = sum(np.abs(value).sum() for name, value in arrays(network).items() if name.startswith("rna."))
    assert network.penalty().item() == pytest.approx(0.01 * size, rel=1e-5)
    assert Porpoise(settings_of("porpoise", "model.l1=0"), SHAPES, SUBTYPE).penalty() is None
    learner = METHODS["porpoise"].make(settings_of("porpoise", "model.l1=0.01"), SUBTYPE)
    network.eval()
    step = learner.cost(network, learner.encode(network, batch_of(bags, Targets(torch.tensor([0, 1, 2])))))
    assert step.loss.item() == pytest.approx((step.terms["cross_entropy"] + step.terms["penalty"]).item())


def test_rna_layers_start_with_variance_one_over_fan_in() -> None:
    torch.manual_seed(0)
    wide = SHAPES.__class__(5, 4000, 12)
    weight = Porpoise(settings_of("porpoise"), wide, SUBTYPE).rna.layers[0].weight
    assert weight.var().item() == pytest.approx(1 / 4000, rel=0.05)


def test_transmil_is_the_slide_encoder_with_a_head(bags: Bags) -> None:
    config = settings_of("transmil", "model.position=ppeg")
    network = Transmil(config, SHAPES, SURVIVAL).eval()
    tiles, counts, _ = bags
    for row, count in enumerate(counts.tolist()):
        alone = network(tiles[row : row + 1, :count], counts[row : row + 1], None, weights=True)
        encoded = network.slide(tiles[row : row + 1, :count], counts[row : row + 1])
        torch.testing.assert_close(alone.logits, network.head(encoded.embedding))
        assert alone.weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert config.model.attention == "nystrom"
    assert config.one_by_one
    assert not settings_of("transmil", "model.attention=exact").one_by_one


def test_tangle_against_numpy(bags: Bags) -> None:
    config = settings_of("tangle", "model.temperature=0.2")
    learner = TangleLearner(config)
    network = learner.build(SHAPES).eval()
    tiles, counts, expression = bags
    w, slides, profiles = arrays(network), [], []

    def erf(x: np.ndarray) -> np.ndarray:
        return torch.erf(torch.from_numpy(x)).numpy()

    for row, count in enumerate(counts.tolist()):
        hidden = tiles[row, :count].double().numpy()
        for layer in ("embed.0", "embed.1"):
            x = linear(w, f"{layer}.0", hidden)
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
            x = x * w[f"{layer}.1.weight"] + w[f"{layer}.1.bias"]
            hidden = x * (1 + erf(x / np.sqrt(2))) / 2
        slides.append(pooled(w, hidden)[0])
        rna = relu(linear(w, "rna.3", relu(linear(w, "rna.0", expression[row].double().numpy()))))
        profiles.append(linear(w, "rna.6", rna))
    encoded = learner.encode(network, batch_of(bags))
    np.testing.assert_allclose(encoded.slide.detach(), slides, atol=1e-5)
    np.testing.assert_allclose(encoded.rna.detach(), profiles, atol=1e-5)
    one, two = (np.array([v / np.linalg.norm(v) for v in side]) for side in (slides, profiles))
    logits, loss = one @ two.T / 0.2, 0.0
    for side in (logits, logits.T):
        loss -= np.mean([side[k, k] - np.log(np.exp(side[k]).sum()) for k in range(3)]) / 2
    assert learner.cost(network, encoded).loss.item() == pytest.approx(loss, rel=1e-5)


def test_tangle_embeds_either_modality_alone(bags: Bags) -> None:
    learner = TangleLearner(settings_of("tangle"))
    network = learner.build(SHAPES).eval()
    assert isinstance(network, Tangle)
    whole = learner.apply(network, batch_of(bags), attention=True)
    assert whole.weights.sum(1).tolist() == pytest.approx([1, 1, 1])
    none = torch.arange(0)
    rna_only = Batch(("P0", "P1", "P2"), none, torch.arange(3), None, None, bags[2], none, none)
    found = learner.apply(network, rna_only)
    assert found.slide is None
    torch.testing.assert_close(found.rna, whole.rna)


@pytest.mark.parametrize("method", ["linear", "abmil", "transmil", "porpoise", "tangle"])
@pytest.mark.parametrize("task", [SUBTYPE, SURVIVAL])
def test_every_parameter_gets_a_gradient(method: str, task: object, bags: Bags) -> None:
    torch.manual_seed(0)
    config = settings_of(method, *(["model.position=ppeg"] if method == "transmil" else []))
    learner = METHODS[method].make(config, None if method == "tangle" else task)
    network = learner.build(SHAPES).train()
    event, time = torch.tensor([True, False, True]), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    encoded = learner.encode(network, batch_of(bags, Targets(torch.tensor([0, 1, 2]), event, time)))
    learner.cost(network, encoded).loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Only a bias before the softmax over tiles has none: it cancels.
    assert [name for name in without if name != "pool.score.bias"] == []


@pytest.mark.parametrize("method", ["linear", "abmil", "porpoise"])
def test_a_patients_logits_do_not_depend_on_the_batch(method: str, bags: Bags) -> None:
    learner = METHODS[method].make(settings_of(method), SUBTYPE)
    network = learner.build(SHAPES).eval()
    tiles, counts, expression = bags
    together = network(tiles, counts, expression).logits
    for row, count in enumerate(counts.tolist()):
        alone = network(tiles[row : row + 1, :count], counts[row : row + 1], expression[row : row + 1]).logits
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("task", [SUBTYPE.model_copy(update={"classes": ("a", "b"), "base": (0.0, 0.0)}), SURVIVAL])
def test_transmil_finds_what_is_planted_in_new_bags(task: Subtype | Survival) -> None:
    config = settings_of("transmil", "model.position=ppeg", "model.dropout=0")
    learner = METHODS["transmil"].make(config, task)
    torch.manual_seed(0)
    network = learner.build(SHAPES).train()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    signal = torch.randn(96, generator=torch.Generator().manual_seed(1))
    tiles = torch.randn(96, 4, SHAPES.tile_width) + signal[:, None, None] * torch.tensor([1.0, -1, 1, 0, 0])
    label = (signal > 0).long() if isinstance(task, Subtype) else (1.5 - signal).round().clamp(0, 3).long()
    targets = Targets(label, torch.arange(96) % 4 > 0, -signal.double())

    def part(rows: np.ndarray) -> Batch:
        places, counts = torch.arange(len(rows)), torch.full((len(rows),), 4)
        ids = tuple(f"P{row}" for row in rows)
        return Batch(ids, places, places[:0], tiles[rows], counts, None, places[:0], places[:0], targets.rows(rows))

    for step in range(24):
        optimiser.zero_grad()
        encoded = learner.encode(network, part(np.arange(step % 4, 64, 4)))
        learner.cost(network, encoded).loss.backward()
        optimiser.step()
    held = np.arange(64, 96)
    with torch.no_grad():
        logits = learner.apply(network.eval(), part(held)).logits
    score = task.metrics(logits, targets.rows(held))
    assert score["auroc" if isinstance(task, Subtype) else "c_index"] > 0.75
