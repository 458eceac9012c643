"""Grids by physical size, and tiles whose pixels say where they are."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides.direct import open_fastest
from mirror_data.slides.grid import GridParameters, lay_grid, read_level, read_tile, tissue_shares
from mirror_data.slides.reader import Level, open_slide

from tests.data.slides.conftest import zigzag

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


@pytest.mark.parametrize(
    "bad",
    [
        {"tile_px": 0},
        {"tile_px": 16_385},
        {"mpp": -0.5},
        {"mpp": float("nan")},
        {"min_tissue": 1.1},
        {"overlap": -1},
        {"overlap": 256},
        {"border": "outside"},
    ],
)
def test_bad_parameters(bad):
    with pytest.raises(BadInput) as caught:
        GridParameters(**bad)
    assert caught.value.code == "BAD_OPTION"


def test_name():
    assert GridParameters().name == "256px_0.5mpp"
    assert GridParameters(224, 1.0).name == "224px_1mpp"
    assert GridParameters(overlap=64, border="pad").name == "256px_0.5mpp_overlap64_pad"
    assert GridParameters(overlap=255).name == "256px_0.5mpp_overlap255"
    assert GridParameters(border="pad").name == "256px_0.5mpp_pad"


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


def test_overlap_and_border():
    slide = Blank((1000, 700), 0.25)
    mask = np.ones((44, 63), np.uint8)
    overlapping = lay_grid(slide, mask, 4.0, GridParameters(100, 0.5, 0.0, overlap=20))
    assert overlapping.tile_px_level0 == 200
    assert overlapping.coords.tolist() == [[x, y] for y in (0, 160, 320, 480) for x in (0, 160, 320, 480, 640, 800)]
    padded = lay_grid(slide, mask, 4.0, GridParameters(120, 0.5, 0.0, border="pad"))
    assert padded.coords.tolist() == [[x, y] for y in (0, 240, 480) for x in (0, 240, 480, 720, 960)]
    assert padded.candidates == 15
    # of the last tile 48 x 224 of 240 x 240 pixels lie on the mask, 19 %; of the one above 20 %
    least = lay_grid(slide, mask, 4.0, GridParameters(120, 0.5, 0.195, border="pad"))
    assert least.coords.tolist() == padded.coords.tolist()[:-1]
    assert least.candidates == 15


def test_a_slide_smaller_than_a_tile():
    slide, mask = Blank((100, 80), 0.5), np.ones((5, 7), np.uint8)
    assert lay_grid(slide, mask, 8.0, GridParameters(min_tissue=0)).coords.tolist() == []
    assert lay_grid(slide, mask, 8.0, GridParameters(min_tissue=0, border="pad")).coords.tolist() == [[0, 0]]


def test_too_many_tiles():
    slide, mask = Blank((100_000, 100_000), 0.5), np.ones((2048, 2048), np.uint8)
    with pytest.raises(BadSlide) as caught:
        lay_grid(slide, mask, 100_000 / 2048 * 0.5, GridParameters(overlap=250))
    assert caught.value.code == "TOO_MANY_TILES"
    assert "--overlap" in (caught.value.hint or "")


@st.composite
def parameters(draw: st.DrawFn, borders: tuple[str, ...] = ("inside", "pad")) -> GridParameters:
    tile_px = draw(st.integers(1, 300))
    overlap = draw(st.integers(0, tile_px - 1))
    mpp = draw(st.sampled_from([0.25, 0.499, 0.5, 0.7, 1.0, 1.3, 2.0]))
    return GridParameters(tile_px, mpp, 0.0, overlap, draw(st.sampled_from(borders)))  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(
    wanted=parameters(), side=st.integers(1, 3000), slide_mpp=st.sampled_from([0.2, 0.2308, 0.25]), wide=st.booleans()
)
def test_places_are_exact_to_half_a_pixel(wanted, side, slide_mpp, wide):
    short = math.ceil(wanted.tile_px * wanted.mpp / slide_mpp)  # one tile fits on this side
    size = (side, short) if wide else (short, side)
    grid = lay_grid(Blank(size, slide_mpp), np.ones((4, 4), np.uint8), 8.0, wanted)
    found = np.unique(grid.coords[:, 0 if wide else 1])
    stride = Fraction(wanted.tile_px - wanted.overlap) * Fraction(wanted.mpp) / Fraction(slide_mpp)
    width = Fraction(wanted.tile_px) * Fraction(wanted.mpp) / Fraction(slide_mpp)
    slack = Fraction(1, 2) + Fraction(1, 10**6)
    assert all(abs(int(x) - stride * k) <= slack for k, x in enumerate(found))
    assert len(grid.coords) == grid.candidates
    assert grid.coords.tolist() == sorted(grid.coords.tolist(), key=lambda c: (c[1], c[0]))
    if wanted.border == "pad":
        assert found[0] == 0
        assert found[-1] < side <= stride * len(found) + slack  # the next would begin beyond
        assert found[-1] + width + 2 * slack >= side  # less than a pixel of the slide is left out
    else:
        assert all(int(x) + width <= side + slack for x in found)
        assert stride * len(found) + width > side - slack  # one more would not fit


class Coded:
    """A reader of pixels that say where they are: red and green zigzag over x and y, blue is 20; outside is white."""

    def __init__(self, size: tuple[int, int], mpp: float, downsamples: tuple[float, ...], rounding) -> None:
        self.size, self.mpp = size, mpp
        self.levels = tuple(Level(*(max(1, int(rounding(side / d))) for side in size), d) for d in downsamples)

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        place = self.levels[level]
        pixels = np.full((height, width, 3), 255, np.uint8)
        xs, ys = np.arange(x, min(x + width, place.width)), np.arange(y, min(y + height, place.height))
        inner = pixels[: len(ys), : len(xs)]
        inner[..., 0] = zigzag((xs + 0.5) * place.downsample - 0.5)
        inner[..., 1] = zigzag((ys + 0.5) * place.downsample - 0.5)[:, None]
        inner[..., 2] = 20
        return pixels


def check_tile(tile: np.ndarray, x: int, y: int, *, scale: float, downsample: float, size: tuple[int, int]) -> None:
    """Every pixel of a tile at x, y shows the place it should, and white begins where the slide ends.

    Args:
        scale: level-0 pixels of one pixel of the tile.
        downsample: level-0 pixels of one pixel of the level it was read from.
    """
    blur = (scale + downsample) / 2  # of the slide's edge and of the zigzag's turns
    on_slide = [min(side - start, len(tile) * scale) for side, start in zip(size, (x, y), strict=True)]
    for axis, start in ((0, x), (1, y)):
        there, across = on_slide[axis], on_slide[1 - axis]
        if across < 4 * blur + scale:
            continue  # a sliver: even its middle line is blurred with the white beside it
        middle = int(across / scale / 2)
        line = tile[middle, :, :] if axis == 0 else tile[:, middle, :]
        places = start + (np.arange(len(line)) + 0.5) * scale - 0.5
        shown = ((255.0 - line[:, 2]) / 235).sum() * scale  # level-0 pixels of slide in this line
        assert abs(shown - there) <= blur + 0.5
        inside = (places > start + 2 * blur) & (places < start + there - 2 * blur)
        clear = inside & (np.abs((places + 127.5) % 255 - 127.5) > 2 * blur + 1)  # away from the zigzag's turns
        error = positions(line[:, axis].astype(float), places.round())[clear] - places[clear]
        assert (np.abs(error) <= downsample / 2 + 0.6).all()  # half a pixel of the level, and the rounding to bytes


@settings(max_examples=150, deadline=None)
@given(
    wanted=parameters(),
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    slide_mpp=st.sampled_from([0.2, 0.2308, 0.25]),
    downsamples=st.sampled_from([(1.0,), (1.0, 2.0), (1.0, 4.0), (1.0, 2.0, 4.0, 8.0)]),
    rounding=st.sampled_from([math.floor, math.ceil, round]),
    data=st.data(),
)
def test_tiles_show_the_place_they_should(wanted, size, slide_mpp, downsamples, rounding, data):
    slide = Coded(size, slide_mpp, downsamples, rounding)
    mask = np.ones((4, 4), np.uint8)
    grid = lay_grid(slide, mask, max(size) * slide_mpp / 4, wanted)
    if not len(grid.coords):
        return
    x, y = map(int, grid.coords[data.draw(st.sampled_from(sorted({0, len(grid.coords) - 1, len(grid.coords) // 2})))])
    tile = read_tile(slide, x, y, level=grid.read_level, tile_px_level0=grid.tile_px_level0, tile_px=wanted.tile_px)
    assert tile.shape == (wanted.tile_px, wanted.tile_px, 3)
    scale = grid.tile_px_level0 / wanted.tile_px
    check_tile(tile, x, y, scale=scale, downsample=downsamples[grid.read_level], size=size)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(
    ("tile_px", "mpp", "overlap"), [(256, 0.5, 64), (100, 0.499, 0), (64, 2.0, 16), (60, 1.1, 7), (200, 2.05, 50)]
)
def test_tiles_of_a_file_with_overlap_and_white_border(make_slide, ramp, tile_px, mpp, overlap, direct):
    path = make_slide(pixels=ramp(1021, 1018), mpp="0.5", compression="deflate")
    wanted = GridParameters(tile_px, mpp, 0.0, overlap, "pad")
    with open_fastest(path).reader if direct else open_slide(path) as reader:
        assert reader.name.startswith("direct" if direct else "openslide")
        grid = lay_grid(reader, np.ones((64, 64), np.uint8), 8.0, wanted)
        scale = grid.tile_px_level0 / tile_px
        tiles = {}
        for x, y in grid.coords[:: max(1, len(grid.coords) // 7)].tolist() + grid.coords[-2:].tolist():
            tile = read_tile(reader, x, y, level=grid.read_level, tile_px_level0=grid.tile_px_level0, tile_px=tile_px)
            tiles[x, y] = tile
            downsample = reader.levels[grid.read_level].downsample * (1 if direct else 2)  # OpenSlide blends neighbours
            check_tile(tile, x, y, scale=scale, downsample=downsample, size=reader.size)
        if direct or grid.read_level == 0:  # elsewhere OpenSlide blends the level's own edge with nothing
            assert reader.transparent == 0  # what lies outside the slide is no fault of the slide's
    x, y = grid.coords[-1]
    assert (tiles[x, y][-1, -1] == 255).all()


def test_neighbours_share_their_overlap(make_slide, ramp):
    path = make_slide(pixels=ramp(1021, 1018), mpp="0.5", compression="deflate")
    with open_fastest(path).reader as reader:
        grid = lay_grid(reader, np.ones((64, 64), np.uint8), 8.0, GridParameters(128, 0.5, 0.0, 32))
        left, right = (
            read_tile(reader, x, y, level=0, tile_px_level0=128.0, tile_px=128) for x, y in grid.coords[:2].tolist()
        )
    assert grid.coords[:2].tolist() == [[0, 0], [96, 0]]
    assert np.array_equal(left[:, 96:], right[:, :32])


def test_a_level_that_ends_before_the_slide_has_no_white_rim():
    slide = Coded((1027, 1027), 0.5, (1.0, 4.0), math.floor)  # 256 pixels of 4, and 3 more at level 0
    inside = read_tile(slide, 771, 771, level=1, tile_px_level0=256.0, tile_px=64)
    assert (inside[..., 2] == 20).all()
    beyond = read_tile(slide, 775, 775, level=1, tile_px_level0=256.0, tile_px=64)
    assert (beyond[:63, :63, 2] == 20).all()
    assert (beyond[63] == 255).all()
    assert (beyond[:, 63] == 255).all()


def test_a_tile_within_half_a_pixel_of_the_edge_has_no_white_rim():
    slide = Coded((1026, 1026), 0.5, (1.0,), round)
    inside = read_tile(slide, 770, 770, level=0, tile_px_level0=256.4, tile_px=200)
    assert (inside[..., 2] == 20).all()
    beyond = read_tile(slide, 771, 770, level=0, tile_px_level0=256.4, tile_px=200)
    assert (beyond[:, -1, 2] > 200).all()
