"""Attention drawn: numbers beside their tiles, scale bars, tiles in a row, and the whole picture's layout."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from mirror_data.store import Slide
from mirror_eval.figures.heatmap import draw_heatmap
from mirror_eval.figures.marks import place_marks
from mirror_eval.figures.slides import attention_map, map_of, round_length, tiles_panel, times
from PIL import Image

from tests.eval.attention_store import GRID, SIZE, WEIGHTS, attention_of

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<img src=x onerror=alert(1)> & $x_1$"


def drawn(height: int, width: int, tiles: int = 3, title: str = "A"):
    coords = np.array([[0, 0], [64, 0], [0, 64], [64, 64]], dtype=np.int32)
    shown = attention_map(
        np.full((height, width, 3), 230, np.uint8),
        (width, height),
        coords,
        64.0,
        np.array([0.1, 0.4, 0.3, 0.2]),
        tiles,
        um_per_px=2.0,
    )
    pictures = [np.full((32, 32, 3), 40 * k, np.uint8) for k in range(1, tiles + 1)]
    return draw_heatmap(shown, title, "run r", "Notes.", pictures)


def test_numbers_hide_neither_tiles_nor_each_other():
    boxes = np.array([[x, y, x + 10, y + 10] for y in (0, 10, 20) for x in (0, 10, 20)], dtype=float)
    places = place_marks(boxes, 8.0, (100, 100))
    assert places.shape == (9, 2)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(9) * 100
    assert apart.min() >= 8 - 1e-9
    beside = np.linalg.norm(np.clip(places[:, None], boxes[None, :, :2], boxes[None, :, 2:]) - places[:, None], axis=2)
    hidden = (beside < 4 - 1e-9).any(axis=1)
    assert hidden.sum() <= 1  # the one in the middle of the nine has nowhere to go
    assert ((places >= 4) & (places <= 96))[~hidden].all()
    assert place_marks(np.array([[0.0, 0, 100, 100]]), 8.0, (100, 100)).tolist() == [[50, 50]]
    assert place_marks(np.zeros((0, 4)), 8.0, (100, 100)).shape == (0, 2)


@pytest.mark.parametrize(("most", "expected"), [(999, 500), (1000, 1000), (2300, 2000), (0.34, 0.2), (5, 5), (19, 10)])
def test_scale_bars_have_round_lengths(most, expected):
    assert round_length(most) == pytest.approx(expected)


def test_weights_in_words():
    assert [times(w) for w in (1.7654, 12.345, 2, 99.99, 1234.5, 0.012345, 1e-7, 0)] == [
        *("1.77", "12.3", "2.00", "100", "1,234", "0.0123", "<0.001", "<0.001")
    ]


def test_the_scale_follows_the_thinned_thumbnail():
    picture = np.zeros((1500, 3000, 3), np.uint8)
    picture[:, :1500] = 200
    shown = attention_map(picture, (30000, 15000), GRID, 256.0, WEIGHTS, um_per_px=0.25)
    assert shown.thumbnail.shape == (300, 600, 3)
    assert shown.um_per_px == pytest.approx(0.25 * 50)
    assert shown.thumbnail[:, :300].min() == 200
    assert shown.thumbnail[:, 300:].max() == 0


def test_neighbouring_tiles_share_no_pixel():
    coords = np.array([[0, 0], [513, 0], [1026, 0]], dtype=np.int32)  # 512.8 wide, 10.3 pixels of the thumbnail
    weights = np.array([0.1, 0.6, 0.3])
    shown = attention_map(np.zeros((40, 100, 3), np.uint8), (5000, 2000), coords, 512.8, weights)
    colours = shown.colours()
    assert (colours[..., 3] > 0).sum() == 31 * 10
    assert len(np.unique(colours[colours[..., 3] > 0], axis=0)) == 3
    weighed = np.array([True, True, False])
    part = attention_map(shown.thumbnail, (5000, 2000), coords, 512.8, weights, weighed=weighed)
    assert (part.colours()[..., 3] > 0).sum() == 21 * 10
    assert part.top.tolist() == [1, 0]


def test_a_map_of_a_slide_of_unknown_size():
    shown = map_of(attention_of(WEIGHTS, Slide("A", "a"), GRID, 256.0))
    assert shown.blank
    assert shown.thumbnail.shape == (644, 720, 3)  # tiles reach to (1216, 1088)
    right, bottom = (shown.corners + shown.side).max(axis=0)
    assert right == pytest.approx(shown.thumbnail.shape[1], abs=1)
    assert bottom == pytest.approx(shown.thumbnail.shape[0], abs=1)
    known = map_of(attention_of(WEIGHTS, Slide("A", "a", SIZE, 0.5), GRID, 256.0))
    assert known.um_per_px == pytest.approx(0.5 * 2560 / 720)


@pytest.mark.parametrize(("height", "width"), [(200, 160), (130, 900), (900, 130)])
def test_everything_lies_within_the_picture(height, width):
    """Nothing of the drawing touches the border, whatever the slide's shape; the size is what is told."""
    picture = drawn(height, width)
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.size == (picture.width, picture.height)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    border = np.ones(pixels.shape[:2], dtype=bool)
    border[20:-20, 20:-20] = False
    assert (pixels[border] == pixels[0, 0]).all()
    left, top, map_width, map_height = picture.map_px
    assert map_width / map_height == pytest.approx(width / height, rel=0.03)
    assert left + map_width < picture.width
    assert top + map_height < picture.height
    for k in range(1, 4):  # every tile's picture is there
        assert (pixels == 40 * k).all(axis=2).sum() > 50_000


def test_same_drawing_same_bytes_and_any_title():
    assert drawn(200, 160).png == drawn(200, 160).png
    assert drawn(200, 160, title="B").png != drawn(200, 160).png
    assert drawn(200, 160, title=EVIL + "x" * 300).width == drawn(200, 160).width


def test_tiles_in_a_row():
    pictures = [np.full((16, 16, 3), k, np.uint8) for k in (10, 200)]
    panel = tiles_panel("tiles", "top tiles", pictures, [EVIL, "1.5 ×"], "alt of the tiles")
    root = ElementTree.fromstring(panel.svg)
    assert root.attrib["aria-label"] == "alt of the tiles"
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"1", "2", EVIL, "1.5 ×", "top tiles"} <= set(texts)
    assert len(list(root.iter(f"{SVG}image"))) == 2
