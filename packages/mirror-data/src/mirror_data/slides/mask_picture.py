"""A slide's thumbnail, the outline of its mask and its tiles, small enough for a page of a thousand."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mirror_data.slides.polygons import Polygon, outlines
from mirror_data.store import Tiling

MOST_PX = 320  # of the longer side
JPEG_QUALITY = 75
MOST_POINTS = 4000  # of an outline; one with more is drawn more coarsely
LEAST_PITCH = 4.0  # tiles closer together than this are shown as an area, without lines between them
NO_THUMBNAIL = 225  # grey level


@dataclass(frozen=True)
class Picture:
    """What the page needs of one slide. Paths are SVG's, in pixels of the picture."""

    width: int
    height: int
    jpeg: str  # base64
    mask: str  # path along the border of the tissue
    tiles: str | None  # path round the tiles; None without a tiling
    pitch: float | None  # distance of the lines between tiles; None: too close to draw


def draw(
    mask: np.ndarray, thumbnail: np.ndarray | None, mask_px_level0: float | None, tiling: Tiling | None
) -> Picture:
    """The picture of one slide.

    Args:
        mask: uint8 (h, w), 1 = tissue.
        thumbnail: uint8 (h, w, 3) on the same grid; None is drawn grey.
        mask_px_level0: width of a mask pixel in level-0 pixels; None: tiles cannot be placed.
        tiling: the tiles to draw.
    """
    from PIL import Image

    height, width = mask.shape
    scale = min(1.0, MOST_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if thumbnail is None:
        thumbnail = np.full((*mask.shape, 3), NO_THUMBNAIL, np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(thumbnail).resize(size, Image.Resampling.BOX).save(encoded, "JPEG", quality=JPEG_QUALITY)
    tiles, pitch = None, None
    if tiling is not None and tiling.coords is not None and tiling.tile_px_level0 and mask_px_level0:
        per_level0 = size[0] / width / mask_px_level0  # picture pixels per level-0 pixel
        tiles = outline(tiled_area(tiling.coords * per_level0, tiling.tile_px_level0 * per_level0, size))
        step = tiling.tile_px_level0 * per_level0 * _share_new(tiling)
        pitch = round(step, 3) if step >= LEAST_PITCH else None
    return Picture(*size, base64.b64encode(encoded.getvalue()).decode(), outline(_small(mask, size)), tiles, pitch)


def _share_new(tiling: Tiling) -> float:
    """Of a tile's width, the part that its left neighbour does not cover."""
    return 1 - tiling.overlap / tiling.tile_px if tiling.tile_px else 1.0


def _small(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at the picture's size: uint8, 1 where at least half of the pixel is tissue."""
    from PIL import Image

    shares = np.asarray(Image.fromarray(mask * np.uint8(255)).resize(size, Image.Resampling.BOX))
    return (shares >= 128).astype(np.uint8)


def tiled_area(corners: np.ndarray, width: float, size: tuple[int, int]) -> np.ndarray:
    """Union of squares, each at least a pixel wide.

    Args:
        corners: (N, 2), x and y of each one's top left in pixels.
        width: of a square in pixels.
        size: width and height of the result.

    Returns:
        uint8 (height, width), 1 = covered.
    """
    first = np.rint(corners).astype(np.int64)
    last = np.maximum(np.rint(corners + width).astype(np.int64), first + 1)
    first, last = (np.clip(edges, 0, np.array(size)) for edges in (first, last))
    starts = np.zeros((size[1] + 1, size[0] + 1), np.int32)  # summed both ways: how many squares cover a pixel
    for x, y, sign in ((first, first, 1), (last, last, 1), (first, last, -1), (last, first, -1)):
        np.add.at(starts, (y[:, 1], x[:, 0]), sign)
    covered = starts.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    return (covered > 0).astype(np.uint8)


def outline(mask: np.ndarray) -> str:
    """SVG path along the pixels' edges of a mask; a ragged one is halved until it is short enough."""
    factor = 1
    pieces = outlines(mask)
    while sum(len(ring) for piece in pieces for ring in piece.rings) > MOST_POINTS and min(mask.shape) // factor > 2:
        factor *= 2
        height, width = (math.ceil(side / factor) for side in mask.shape)
        padded = np.zeros((height * factor, width * factor), np.uint8)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        blocks = padded.reshape(height, factor, width, factor)
        pieces = outlines((2 * blocks.sum(axis=(1, 3)) >= factor**2).astype(np.uint8))
    return "".join(_path(piece, factor) for piece in pieces)


def _path(piece: Polygon, factor: int) -> str:
    """``M3 4h10v2h-10z``: every edge runs across or down."""
    parts = []
    for ring in piece.rings:
        points = (ring * factor).astype(int).tolist()
        parts.append(f"M{points[0][0]} {points[0][1]}")
        for (x, y), (next_x, next_y) in pairwise(points):
            parts.append(f"h{next_x - x}" if next_y == y else f"v{next_y - y}")
        parts.append("z")
    return "".join(parts)
