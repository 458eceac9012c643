"""Grids by physical size, and tiles whose pixels say where they are."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides.grid import GridParameters, lay_grid, read_level, read_tile, tissue_shares
from mirror_data.slides.reader import Level, open_slide

LEVELS = (Level(4000, 3000, 1.0), Level(1000, 750, 4.0), Level(250, 187, 16.0))


@pytest.mark.parametrize(
    ("slide_mpp", "mpp", "level"),
    [
        (0.25, 0.5, 0),
        (0.25, 1.0, 1),
        (0.2525, 1.0, 1),
        (0.253, 1.0, 0),
        (0.25, 4.0, 2),
        (0.25, 100.0, 2),
        (0.5, 0.499, 0),
    ],
)
def test_read_level(slide_mpp, mpp, level):
    assert read_level(LEVELS, slide_mpp, mpp) == level


def test_pixels_are_never_invented():
    with pytest.raises(BadSlide) as caught:
        read_level(LEVELS, 0.5, 0.25)
    assert caught.value.code == "TOO_COARSE"
    assert "--mpp 0.5" in (caught.value.hint or "")


class Blank:
    """A reader of which only the geometry is asked."""

    def __init__(self, size: tuple[int, int], mpp: float) -> None:
        self.size, self.mpp, self.levels = size, mpp, (Level(*size, 1.0),)


def test_grid_of_a_whole_slide():
    grid = lay_grid(Blank((1000, 700), 0.25), np.ones((44, 63), np.uint8), 4.0, GridParameters(100, 0.5, 0.25))
    assert grid.tile_px_level0 == 200
    assert grid.candidates == 15
    assert grid.coords.dtype == np.int32
    assert grid.coords.tolist() == [[x, y] for y in (0, 200, 400) for x in (0, 200, 400, 600, 800)]


def test_fractional_width_does_not_drift():
    grid = lay_grid(Blank((5131, 600), 0.499), np.ones((75, 642), np.uint8), 3.992, GridParameters(256, 0.5, 0.0))
    assert grid.tile_px_level0 == pytest.approx(256.513026)
    assert grid.coords[:, 0].max() == round(19 * 256.513026)
    assert len(grid.coords) == 20 * 2
    assert (np.diff(grid.coords[:20, 0]) - 256.513026).max() < 1


def test_least_tissue():
    mask = np.zeros((40, 40), np.uint8)
    mask[:10, :5] = 1  # half of the first tile of 10 x 10 mask pixels
    mask[10:20, 10:13] = 1  # 30 % of the tile at (10, 10)
    for least, expected in ((0.25, [[0, 0], [160, 160]]), (0.4, [[0, 0]]), (0.5, [[0, 0]]), (0.51, [])):
        grid = lay_grid(Blank((640, 640), 0.5), mask, 8.0, GridParameters(160, 0.5, least))
        assert grid.coords.tolist() == expected
    assert len(lay_grid(Blank((640, 640), 0.5), mask, 8.0, GridParameters(160, 0.5, 0.0)).coords) == 16


def test_no_tissue_and_no_room():
    assert lay_grid(Blank((640, 640), 0.5), np.zeros((40, 40), np.uint8), 8.0, GridParameters()).coords.shape == (0, 2)
    assert lay_grid(Blank((100, 640), 0.5), np.ones((40, 7), np.uint8), 8.0, GridParameters()).coords.shape == (0, 2)


def test_shares_are_exact():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (30, 40), np.uint8)
    fine = np.repeat(np.repeat(mask, 8, 0), 8, 1)
    x, y, width = np.array([0, 3.125, 20.5]), np.array([0.25, 11.875]), 6.375
    shares = tissue_shares(mask, x, y, width)
    for i, top in enumerate(y):
        for j, left in enumerate(x):
            box = fine[int(top * 8) : int((top + width) * 8), int(left * 8) : int((left + width) * 8)]
            assert shares[i, j] == pytest.approx(box.mean())
    assert tissue_shares(np.ones((4, 4), np.uint8), np.array([2.0]), np.array([2.0]), 4.0) == 0.25  # half lies beyond


@pytest.mark.parametrize("bad", [{"tile_px": 0}, {"mpp": -0.5}, {"mpp": float("nan")}, {"min_tissue": 1.1}])
def test_bad_parameters(bad):
    with pytest.raises(BadInput) as caught:
        GridParameters(**bad)
    assert caught.value.code == "BAD_OPTION"


def test_name():
    assert GridParameters().name == "256px_0.5mpp"
    assert GridParameters(224, 1.0).name == "224px_1mpp"


def positions(values: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Invert the zigzag of slope 1 close to a known position."""
    step = np.where((near % 510) < 255, 1, -1)
    return np.where(step > 0, values + near // 510 * 510, 510 - values + near // 510 * 510)


@pytest.mark.parametrize(
    ("slide_mpp", "mpp", "tile_px", "x", "y"),
    [
        (0.5, 0.5, 64, 37, 101),
        (0.499, 0.5, 256, 513, 257),
        (0.25, 0.5, 64, 11, 30),
        (0.23, 0.5, 100, 530, 7),
        (0.25, 1.0, 50, 8, 12),
        (0.25, 1.0, 50, 11, 13),
        (0.26, 1.3, 40, 531, 30),
    ],
)
def test_tiles_are_exact_to_half_a_pixel(make_slide, ramp, slide_mpp, mpp, tile_px, x, y):
    path = make_slide(pixels=ramp(1021, 1018), mpp=str(slide_mpp), compression="deflate")
    width = tile_px * mpp / slide_mpp
    with open_slide(path) as reader:
        level = read_level(reader.levels, reader.mpp, mpp)
        tile = read_tile(reader, x, y, level=level, tile_px_level0=width, tile_px=tile_px)
    assert tile.shape == (tile_px, tile_px, 3)
    assert tile.dtype == np.uint8
    scale = width / tile_px
    inner = np.arange(2, tile_px - 2)
    for axis, start in ((0, x), (1, y)):
        expected = start + (inner + 0.5) * scale - 0.5  # centres of the tile's pixels in level-0 pixels
        found = tile[..., 0].mean(0)[inner] if axis == 0 else tile[..., 1].mean(1)[inner]
        clear = np.abs((expected + 127.5) % 255 - 127.5) > 3 * scale + 1  # away from the zigzag's turns
        error = positions(found, expected.round())[clear] - expected[clear]
        assert clear.sum() > len(inner) / 2
        assert np.abs(error).max() <= 0.5 * scale + 0.5  # half a pixel of the tile, and the rounding to bytes


def test_tile_at_the_far_edge_has_no_white_rim(make_slide):
    path = make_slide(pixels=np.full((1026, 1026, 3), 90, np.uint8), mpp="0.499", compression="deflate", levels=1)
    with open_slide(path) as reader:
        grid = lay_grid(reader, np.ones((65, 65), np.uint8), 7.984, GridParameters(256, 0.5, 0.0))
        assert grid.coords[-1].tolist() == [770, 770] or len(grid.coords) == 9
        x, y = grid.coords[-1]
        tile = read_tile(reader, int(x), int(y), level=0, tile_px_level0=grid.tile_px_level0, tile_px=256)
    assert (tile == 90).all()
