"""Small pictures of slides: the mask's edge and the tiles lie where the slide has them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from mirror_data.slides.mask_picture import MOST_POINTS, draw, outline, tiled_area
from mirror_data.store import Tiling
from PIL import Image


def filled(path: str, shape: tuple[int, int]) -> np.ndarray:
    """What an SVG path of across and down steps encloses by the even-odd rule."""
    mask = np.zeros((shape[0], shape[1]), np.uint8)
    for ring in path.split("z")[:-1]:
        start = re.match(r"M(\d+) (\d+)", ring)
        assert start
        x, y = int(start[1]), int(start[2])
        first_y = y
        steps = [(direction, int(length)) for direction, length in re.findall(r"([hv])(-?\d+)", ring)]
        for direction, length in [*steps, ("v", first_y - y - sum(d for k, d in steps if k == "v"))]:
            if direction == "h":
                x += length
            else:
                mask[min(y, y + length) : max(y, y + length), x:] ^= 1
                y += length
    return mask


def tiling(coords: list[tuple[int, int]], width: float, **options: object) -> Tiling:
    places = np.array(coords, np.int32).reshape(-1, 2)
    return Tiling("S", "t", len(places), places, tile_px=256, tile_px_level0=width, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_an_outline_encloses_its_mask(seed):
    mask = (np.random.default_rng(seed).random((12, 17)) < 0.5).astype(np.uint8)
    assert (filled(outline(mask), mask.shape) == mask).all()
    assert outline(np.zeros((3, 3), np.uint8)) == ""
    assert outline(np.ones((2, 3), np.uint8)) == "M0 0h3v2h-3z"


def test_a_ragged_outline_is_drawn_more_coarsely():
    mask = (np.random.default_rng(0).random((200, 300)) < 0.5).astype(np.uint8)
    mask[:, :150] = 1
    path = outline(mask)
    assert path.count("h") + path.count("v") < MOST_POINTS
    drawn = filled(path, (208, 304))
    assert drawn[:200, :140].all()


def test_tiled_area_is_the_union():
    corners = np.array([[0.2, 0.1], [3.9, 0], [8, 8.6], [2, 1]])
    area = tiled_area(corners, 4.0, (10, 9))
    expected = np.zeros((9, 10), np.uint8)
    expected[0:4, 0:8] = expected[1:5, 2:6] = 1
    assert (area == expected).all()  # the third lies below the picture
    assert tiled_area(np.array([[5.0, 5.0]]), 0.2, (10, 9)).sum() == 1  # never less than a pixel
    assert tiled_area(np.zeros((0, 2)), 4.0, (10, 9)).sum() == 0


def test_a_large_slide_is_shrunk():
    mask = np.zeros((400, 1280), np.uint8)
    mask[100:300, 320:960] = 1
    thumbnail = np.where(mask[..., None] == 1, (180, 60, 140), 243).astype(np.uint8)
    picture = draw(mask, thumbnail, 16.0, tiling([(5120, 1600), (5632, 1600)], 512.0))
    assert (picture.width, picture.height) == (320, 100)
    assert picture.mask == "M80 25h160v50h-160z"
    assert picture.tiles == "M80 25h16v8h-16z"  # a tile of 512 is 8 pixels of 64
    assert picture.pitch == 8
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.jpeg))))
    assert pixels.shape == (100, 320, 3)
    assert np.abs(pixels[50, 160].astype(int) - (180, 60, 140)).max() < 8
    assert np.abs(pixels[5, 5].astype(int) - 243).max() < 8


def test_a_small_slide_keeps_its_size_and_close_tiles_lose_their_lines():
    mask = np.ones((30, 40), np.uint8)
    picture = draw(mask, None, 16.0, tiling([(0, 0), (32, 0)], 32.0))
    assert (picture.width, picture.height, picture.pitch) == (40, 30, None)
    assert picture.tiles == "M0 0h4v2h-4z"
    assert draw(mask, None, 16.0, tiling([(0, 0)], 128.0, overlap=64)).pitch == 6


def test_what_cannot_be_placed_is_not_drawn():
    mask = np.ones((30, 40), np.uint8)
    for told in (None, tiling([(0, 0)], 32.0)):
        assert draw(mask, None, None, told).tiles is None
    assert draw(mask, None, 16.0, Tiling("S", "t", 3, None)).tiles is None
    assert draw(mask, None, 16.0, tiling([], 32.0)).tiles == ""
