"""Masks to polygons and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mirror_data.slides.polygons import Polygon, filled, outlines
from scipy import ndimage

MASKS = npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))


def ring(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, float)


def square(x: float, y: float, side: float) -> np.ndarray:
    return ring((x, y), (x + side, y), (x + side, y + side), (x, y + side))


def area(points: np.ndarray) -> float:
    """Shoelace sum of x dy - y dx; positive where a walk turns from x to y."""
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


@settings(max_examples=400, deadline=None)
@given(mask=MASKS)
def test_round_trip_is_exact(mask):
    pieces, count = ndimage.label(mask)
    found = outlines(mask)
    assert np.array_equal(filled(found, mask.shape), mask)
    assert len(found) == count
    for number, polygon in enumerate(found, start=1):
        piece = (pieces == number).astype(np.uint8)
        assert np.array_equal(filled([polygon], mask.shape), piece)  # in raster order
        areas = [area(points) for points in polygon.rings]
        assert areas[0] > 0 > max(areas[1:], default=-1)  # as RFC 7946 winds them
        assert sum(areas) == piece.sum()
        for points in polygon.rings:
            assert len({tuple(point) for point in points}) == len(points)  # no point twice
            steps = np.roll(points, -1, axis=0) - points
            assert ((steps == 0).sum(axis=1) == 1).all()  # along pixel edges
            assert ((steps * np.roll(steps, -1, axis=0)).sum(axis=1) == 0).all()  # corners alone


@settings(max_examples=100, deadline=None)
@given(mask=MASKS, scale=st.floats(1, 64), x=st.integers(0, 500), y=st.integers(0, 500))
def test_round_trip_through_slide_pixels(mask, scale, x, y):
    there = [polygon.placed(scale, (x, y)) for polygon in outlines(mask)]
    rounded = [Polygon(tuple(points.round(2) for points in polygon.rings)) for polygon in there]
    back = [polygon.placed(1, (-x, -y)).placed(1 / scale) for polygon in rounded]
    assert np.array_equal(filled(back, mask.shape), mask)


def test_pixels_that_touch_at_a_corner():
    two = outlines(np.array([[1, 0], [0, 1]], np.uint8))
    assert [polygon.rings[0].tolist() for polygon in two] == [square(0, 0, 1).tolist(), square(1, 1, 1).tolist()]
    # a piece that meets itself at a corner encloses a hole that touches its outer ring there
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    (one,) = outlines(mask)
    assert [area(points) for points in one.rings] == [8, -1]
    # two empty pixels that touch at a corner are two holes
    mask = np.ones((4, 4), np.uint8)
    mask[1, 1] = mask[2, 2] = 0
    (one,) = outlines(mask)
    assert [area(points) for points in one.rings] == [16, -1, -1]


def test_a_piece_within_a_hole():
    mask = np.ones((5, 5), np.uint8)
    mask[1:4, 1:4] = 0
    mask[2, 2] = 1
    outer, inner = outlines(mask)
    assert [len(outer.rings), len(inner.rings)] == [2, 1]
    assert inner.bounds() == (2, 2, 3, 3)


def test_nothing_and_everything():
    assert outlines(np.zeros((3, 4), np.uint8)) == ()
    (whole,) = outlines(np.ones((3, 4), np.uint8))
    assert whole.rings[0].tolist() == [[0, 0], [4, 0], [4, 3], [0, 3]]
    assert not filled([], (3, 4)).any()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), corners=st.integers(3, 9), rings=st.integers(1, 3))
def test_filled_against_points_in_polygons(seed, corners, rings):
    from skimage.measure import points_in_poly

    rng = np.random.default_rng(seed)
    polygon = Polygon(tuple(rng.uniform(-5, 25, (corners, 2)) for _ in range(rings)))
    polygon.rings[0][:2] = (-5, -5), (25, 26)  # whatever the others do lies within the first one's bounds
    centres = np.stack(np.meshgrid(np.arange(20) + 0.5, np.arange(15) + 0.5), axis=-1).reshape(-1, 2)
    odd = np.zeros(len(centres), bool)
    for points in polygon.rings:
        odd ^= points_in_poly(centres, points)
    box = polygon.bounds()
    odd &= (centres >= box[:2]).all(axis=1) & (centres < box[2:]).all(axis=1)
    assert np.array_equal(filled([polygon], (15, 20)).ravel(), odd)


def test_neighbours_share_an_edge_and_no_pixel():
    left, right = square(0.5, 0.5, 3), square(3.5, 0.5, 3)
    one, two = filled([Polygon((left,))], (8, 8)), filled([Polygon((right,))], (8, 8))
    assert not (one & two).any()
    assert one.sum() == two.sum() == 9
    assert np.array_equal(filled([Polygon((left,)), Polygon((right,))], (8, 8)), one | two)


@pytest.mark.parametrize("turned", [False, True])
def test_holes_whichever_way_they_run(turned):
    hole = square(2, 2, 2)[::-1] if turned else square(2, 2, 2)
    mask = filled([Polygon((square(0, 0, 6), hole))], (6, 6))
    assert mask.sum() == 32
    assert not mask[2:4, 2:4].any()


def test_what_lies_outside_the_mask_is_cut_off():
    mask = filled([Polygon((square(-1e9, -1e9, 1e9 + 2),)), Polygon((square(50, 50, 3),))], (4, 4))
    assert mask.sum() == 4
    assert mask[:2, :2].all()


def test_an_outline_of_many_points():
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    circle = np.stack([50 + 40 * np.cos(angle), 50 + 40 * np.sin(angle)], axis=1)
    assert filled([Polygon((circle,))], (100, 100)).sum() == pytest.approx(np.pi * 1600, rel=0.01)
