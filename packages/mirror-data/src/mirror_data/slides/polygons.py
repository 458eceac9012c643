"""Areas as polygons, and masks as the areas their pixels fill: `outlines` and `filled` are each other's inverse.

Coordinates are x to the right and y down, in pixels; pixel (column 0, row 0) reaches from 0 to 1 in both. A pixel
belongs to a polygon if its centre does, by the even-odd rule over all its rings, so rings may run either way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

EDGES_AT_ONCE = 1024  # edges whose crossings with pixel rows are held at once


@dataclass(frozen=True)
class Polygon:
    """An area with holes: rings of float64 (n, 2), x and y, the outer one first; none repeats its first point."""

    rings: tuple[np.ndarray, ...]

    def placed(self, scale: float, origin: tuple[float, float] = (0.0, 0.0)) -> Polygon:
        """The polygon scaled by ``scale``, then moved by ``origin`` (x, y)."""
        return Polygon(tuple(ring * scale + np.asarray(origin) for ring in self.rings))

    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, most x and y."""
        low, high = self.rings[0].min(axis=0), self.rings[0].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def filled(polygons: Iterable[Polygon], shape: tuple[int, int]) -> np.ndarray:
    """Union of polygons as a mask, uint8 (h, w), 1 = inside.

    A centre exactly on an edge belongs to the area to the right of it or below, so areas that share an edge share no
    pixel. Parts outside the mask are cut off.
    """
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        least_x, least_y, most_x, most_y = polygon.bounds()
        left, right = (int(np.clip(np.ceil(x - 0.5), 0, shape[1])) for x in (least_x, most_x))
        top, bottom = (int(np.clip(np.ceil(y - 0.5), 0, shape[0])) for y in (least_y, most_y))
        if left < right and top < bottom:
            here = [ring - (left, top) for ring in polygon.rings]
            mask[top:bottom, left:right] |= _parity(here, (bottom - top, right - left))
    return mask


def _parity(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """uint8 (h, w): 1 where a ray from the pixel's centre to the left crosses the rings an odd number of times."""
    height, width = shape
    crossings = np.zeros(height * (width + 1), np.uint8)
    for ring in rings:
        start, end = ring, np.roll(ring, -1, axis=0)
        rows = np.clip(np.ceil(np.sort(np.stack([start[:, 1], end[:, 1]]), axis=0) - 0.5), 0, height).astype(np.int64)
        counts = rows[1] - rows[0]  # pixel rows whose centres an edge crosses
        for first in range(0, len(ring), EDGES_AT_ONCE):
            part = slice(first, first + EDGES_AT_ONCE)
            edge = np.repeat(np.arange(len(ring))[part], counts[part])
            within = np.arange(len(edge)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
            row = rows[0][edge] + within
            slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
            x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
            column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
            np.bitwise_xor.at(crossings, row * (width + 1) + column, 1)
    return np.bitwise_xor.accumulate(crossings.reshape(height, width + 1), axis=1)[:, :width]


def outlines(mask: np.ndarray) -> tuple[Polygon, ...]:
    """The pieces of a mask, along the edges of their pixels, in raster order of their first pixels.

    Pixels that only touch at a corner are different pieces, as they are for `scipy.ndimage.label`. No ring passes a
    point twice; rings may touch at one. Outer rings have a positive area (sum of x dy - y dx), holes a negative one, as
    RFC 7946 has it.

    Args:
        mask: uint8 (h, w), 1 = inside.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if not count:
        return ()
    outer: list[np.ndarray | None] = [None] * count
    holes: list[list[np.ndarray]] = [[] for _ in range(count)]
    for piece, walk in _walks(pieces):
        for corners in _simple(walk):
            y, x = np.divmod(np.array(corners), mask.shape[1] + 1)
            ring = np.stack([x, y], axis=1).astype(np.float64)
            if _signed_area(ring) > 0:
                outer[piece - 1] = ring
            else:
                holes[piece - 1].append(ring)
    return tuple(Polygon((ring, *inner)) for ring, inner in zip(outer, holes, strict=True) if ring is not None)


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@dataclass(frozen=True)
class _Edges:
    """Sides of pixels between inside and outside, walked with the inside to the right of the way.

    A point is numbered ``y * (w + 1) + x``. Directions are 0 right, 1 down, 2 left, 3 up.
    """

    keys: np.ndarray  # int64 (E,), sorted: 4 * point where it starts + direction
    ends: np.ndarray  # int64 (E,): point where it ends
    pieces: np.ndarray  # int32 (E,): label of the pixel it belongs to


def _edges(pieces: np.ndarray) -> _Edges:
    width = pieces.shape[1]
    padded = np.pad(pieces > 0, 1)
    inside = padded[1:-1, 1:-1]
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])  # above, right, below, left
    corners = ((0, 0), (0, 1), (1, 1), (1, 0))  # row and column of the pixel's corner where each side starts
    keys, ends, labels = [], [], []
    for direction, neighbour in enumerate(outside):
        row, column = np.nonzero(inside & ~neighbour)
        (down, right), (end_down, end_right) = corners[direction], corners[(direction + 1) % 4]
        keys.append(((row + down) * (width + 1) + column + right) * 4 + direction)
        ends.append((row + end_down) * (width + 1) + column + end_right)
        labels.append(pieces[row, column])
    order = np.argsort(np.concatenate(keys))
    return _Edges(*(np.concatenate(parts)[order] for parts in (keys, ends, labels)))


def _walks(pieces: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Label and corner points of each closed walk along the sides of one piece.

    Where two pixels touch at a corner, the walk stays with its own pixel: it turns right.
    """
    edges = _edges(pieces)
    direction = edges.keys % 4
    following = np.full(len(edges.keys), -1)
    for turn in (3, 0, 1):  # left, straight on, right: the last that there is counts
        wanted = edges.ends * 4 + (direction + turn) % 4
        at = np.minimum(np.searchsorted(edges.keys, wanted), len(edges.keys) - 1)
        following = np.where(edges.keys[at] == wanted, at, following)
    turns = np.zeros(len(following), bool)  # whether an edge starts at a corner of the walk
    turns[following] = direction[following] != direction
    after, is_corner, points = following.tolist(), turns.tolist(), (edges.keys // 4).tolist()
    seen = bytearray(len(after))
    for first in np.flatnonzero(turns).tolist():
        if seen[first]:
            continue
        walk, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            if is_corner[edge]:
                walk.append(points[edge])
            edge = after[edge]
        yield int(edges.pieces[first]), walk


def _simple(walk: list[int]) -> Iterator[list[int]]:
    """A closed walk cut into rings that pass no point twice."""
    place: dict[int, int] = {}
    path: list[int] = []
    for point in walk:
        at = place.get(point)
        if at is None:
            place[point] = len(path)
            path.append(point)
            continue
        yield path[at:]
        for left in path[at + 1 :]:
            del place[left]
        del path[at + 1 :]
    yield path
