from __future__ import annotations

import math

import pytest
import torch
from mirror_model.mirror import Mirror, Shapes
from mirror_model.network_config import LossConfig, ModelConfig
from mirror_model.slide_encoder import SlideEncoder, groups_of, sides_of

COUNTS = torch.tensor([1, 2, 5, 9, 10, 16, 7, 30])


def config(**changes: object) -> ModelConfig:
    small = {"dim": 24, "slide_heads": 4, "style_hidden": 16, "style_out": 8, "style_dim": 4, "prototypes": 16}
    return ModelConfig(**{**small, **changes})


def bags(width: int = 10) -> torch.Tensor:
    tiles = torch.randn(len(COUNTS), int(COUNTS.max()), width)
    for row, count in enumerate(COUNTS.tolist()):
        tiles[row, count:] = 1e3  # whatever stands beyond a bag's end must not matter
    return tiles


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_sides_and_groups() -> None:
    counts = torch.arange(1, 3000)
    assert sides_of(counts).tolist() == [math.isqrt(n - 1) + 1 for n in counts.tolist()]
    groups = list(groups_of(COUNTS))
    assert [g.side for g in groups] == [1, 2, 3, 4, 6]
    assert sorted(torch.cat([g.rows for g in groups]).tolist()) == list(range(len(COUNTS)))
    assert all((g.counts == COUNTS[g.rows]).all() for g in groups)


@pytest.mark.parametrize(
    "changes", [{}, {"pool": "attention", "mean_skip": True}, {"position": "none"}, {"value_kernel": 5}]
)
def test_a_batch_of_different_bags_equals_one_by_one(changes: dict[str, object]) -> None:
    model = Mirror(config(**changes), LossConfig(), Shapes(10, 8, 40)).eval()
    tiles = bags()
    with torch.no_grad():
        together = model(tiles, COUNTS, None).slide
        for row, count in enumerate(COUNTS.tolist()):
            alone = model(tiles[row : row + 1, :count], None, None).slide
            torch.testing.assert_close(together.embedding[row], alone.embedding[0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(together.aligned[row], alone.aligned[0], rtol=1e-5, atol=1e-5)
    assert together.embedding.isfinite().all()


@pytest.mark.parametrize("pool", ["cls", "attention"])
@pytest.mark.parametrize("attention", ["exact", "nystrom"])
def test_tile_weights_sum_to_one_over_real_tiles(pool: str, attention: str) -> None:
    encoder = SlideEncoder(config(pool=pool, attention=attention), 10).eval()
    tiles = bags()
    with torch.no_grad():
        for group in groups_of(COUNTS):
            found = encoder(tiles[group.rows, : group.tiles], group.counts, weights=True).weights
            beyond = torch.arange(group.tiles)[None, :] >= group.counts[:, None]
            assert found.shape == beyond.shape
            assert found[beyond].eq(0).all()
            torch.testing.assert_close(found.sum(1), torch.ones(len(found)))


def test_a_repeated_tile_weighs_no_more_for_standing_there_twice() -> None:
    """Three tiles fill a square of four, the first one twice; what both its places get is known from four tiles."""
    encoder = SlideEncoder(config(), 10).eval()
    tiles = torch.randn(1, 3, 10)
    with torch.no_grad():
        weights = encoder(tiles, torch.tensor([3]), weights=True).weights[0]
        full = encoder(torch.cat([tiles, tiles[:, :1]], 1), torch.tensor([4]), weights=True).weights[0]
    expected = torch.stack([(full[0] + full[3]) / 2, full[1], full[2]])
    torch.testing.assert_close(weights, expected / expected.sum(), rtol=1e-5, atol=1e-6)


def test_without_position_and_convolution_the_order_of_tiles_does_not_matter() -> None:
    tiles, order = torch.randn(1, 16, 10), torch.randperm(16)
    plain = SlideEncoder(config(position="none", value_kernel=0), 10).eval()
    placed = SlideEncoder(config(), 10).eval()
    with torch.no_grad():
        for encoder, same in ((plain, True), (placed, False)):
            first = encoder(tiles, torch.tensor([16])).embedding
            second = encoder(tiles[:, order], torch.tensor([16])).embedding
            assert torch.allclose(first, second, atol=1e-5) is same


def test_mean_skip_adds_a_map_of_the_mean_tile() -> None:
    encoder = SlideEncoder(config(mean_skip=True), 10).eval()
    tiles, counts = torch.randn(2, 9, 10), torch.tensor([9, 7])
    with torch.no_grad():
        with_skip = encoder(tiles, counts).embedding
        encoder.skip.weight.zero_()
        encoder.skip.bias.fill_(2.0)
        constant = encoder(tiles, counts).embedding
        encoder.skip = None
        without = encoder(tiles, counts).embedding
    torch.testing.assert_close(constant, without + 2)
    assert not torch.allclose(with_skip, without)
