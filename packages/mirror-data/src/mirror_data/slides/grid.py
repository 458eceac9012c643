"""Tiles by physical size: a raster grid over the slide, and the pixels of one tile.

A tile is ``tile_px`` pixels of ``mpp`` micrometres, whatever the scanner's own pixels are. Its place is stored as the
level-0 pixel of its top left; its pixels are resampled from exactly the rectangle that starts there, to within half a
pixel. Tiles may overlap, and tiles that reach over the slide's edge may be kept; what lies outside is white.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides.reader import Level, SlideReader
from mirror_data.units import MPP, TilePixels, slide_pixels

LEVEL_TOLERANCE = 0.01  # a level this much coarser than asked still serves
EXACT_PX = 0.5  # a rectangle whose edges are this close to whole pixels is taken as it is
FIT_PX = 0.5  # level-0 pixels by which the rounded place of a tile may pass the slide's edge
MOST_TILE_PX = 16_384
MOST_CANDIDATES = 2**22  # a slide 100,000 pixels wide in tiles of 64 has 2.4 million; beyond it is a mistyped overlap

Border = Literal["inside", "pad"]


@dataclass(frozen=True)
class GridParameters:
    """Which tiles."""

    tile_px: int = 256
    mpp: float = 0.5
    min_tissue: float = 0.25  # least share of tissue in a tile; beyond the slide there is none
    overlap: int = 0  # pixels at mpp that a tile shares with its neighbour
    border: Border = "inside"  # tiles wholly on the slide; or "pad": also those that only begin on it

    def __post_init__(self) -> None:
        if self.tile_px < 1:
            raise BadInput("BAD_OPTION", "a tile needs at least one pixel", key="--tile-px", got=self.tile_px)
        if self.tile_px > MOST_TILE_PX:
            expected = f"at most {MOST_TILE_PX}"
            raise BadInput("BAD_OPTION", "a tile is too wide", key="--tile-px", expected=expected, got=self.tile_px)
        if not 0 <= self.overlap < self.tile_px:
            expected = f"0 to {self.tile_px - 1}, less than the tile's own width"
            raise BadInput("BAD_OPTION", "not an overlap", key="--overlap", expected=expected, got=self.overlap)
        if self.border not in get_args(Border):
            expected = " or ".join(get_args(Border))
            raise BadInput("BAD_OPTION", "not a border policy", key="--border", expected=expected, got=self.border)
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise BadInput("BAD_OPTION", "micrometres per pixel must be above 0", key="--mpp", got=self.mpp)
        if not 0 <= self.min_tissue <= 1:
            raise BadInput("BAD_OPTION", "a share lies between 0 and 1", key="--min-tissue", got=self.min_tissue)

    @property
    def name(self) -> str:
        """Name of the tiling in the store: ``256px_0.5mpp``, ``256px_0.5mpp_overlap64_pad``."""
        overlap = f"_overlap{self.overlap}" if self.overlap else ""
        return f"{self.tile_px}px_{self.mpp:g}mpp{overlap}" + ("_pad" if self.border == "pad" else "")


@dataclass(frozen=True)
class Grid:
    """The tiles of one slide."""

    coords: np.ndarray  # int32 (N, 2): x, y of the top left at level 0, by y then x
    tile_px_level0: float  # width of a tile in level-0 pixels
    read_level: int
    candidates: int  # tiles of the whole slide, with tissue or without


def lay_grid(reader: SlideReader, mask: np.ndarray, mask_mpp: float, parameters: GridParameters) -> Grid:
    """Tiles that hold enough tissue and lie wholly on the slide, or with border ``pad`` begin on it.

    Column k begins at level-0 pixel ``rint(k * stride)``, so that rounding never adds up.

    Args:
        mask: uint8 (h, w), 1 = tissue, starting at the slide's top left.
        mask_mpp: its micrometres per pixel.

    Raises:
        BadSlide: ``TOO_COARSE`` if the slide's own pixels are wider than those asked for, ``TOO_MANY_TILES`` if the
            overlap or the tiles' size would cut the slide into millions.
    """
    level = read_level(reader.levels, reader.mpp, parameters.mpp)
    width = slide_pixels(TilePixels(parameters.tile_px), MPP(parameters.mpp), MPP(reader.mpp))
    stride = slide_pixels(TilePixels(parameters.tile_px - parameters.overlap), MPP(parameters.mpp), MPP(reader.mpp))
    columns, rows = (_positions(side, width, stride, parameters.border) for side in reader.size)
    if columns.size * rows.size > MOST_CANDIDATES:
        raise BadSlide(
            "TOO_MANY_TILES",
            "the slide would be cut into too many tiles",
            expected=f"at most {MOST_CANDIDATES}, with tissue or without",
            got=f"{columns.size} x {rows.size}",
            hint="use a smaller --overlap, or larger tiles",
        )
    factor = reader.mpp / mask_mpp  # mask pixels per level-0 pixel
    shares = tissue_shares(mask, columns * factor, rows * factor, width * factor)  # (rows, columns)
    row, column = np.nonzero(shares >= parameters.min_tissue)
    coords = np.stack([columns[column], rows[row]], axis=1).astype(np.int32)  # (N, 2)
    return Grid(coords, width, level, int(shares.size))


def read_level(levels: tuple[Level, ...], slide_mpp: float, mpp: float) -> int:
    """The coarsest level not coarser than ``mpp``, within 1 %.

    Raises:
        BadSlide: ``TOO_COARSE``: pixels would have to be invented.
    """
    serving = [i for i, level in enumerate(levels) if slide_mpp * level.downsample <= mpp * (1 + LEVEL_TOLERANCE)]
    if not serving:
        raise BadSlide(
            "TOO_COARSE",
            "the slide was scanned more coarsely than the tiles asked for",
            expected=f"{mpp:g} um per pixel or finer",
            got=f"{slide_mpp:g}",
            hint=f"ask for tiles at --mpp {slide_mpp:g} or more, or leave the slide out",
        )
    return max(serving, key=lambda i: levels[i].downsample)


def _positions(side: int, width: float, stride: float, border: Border) -> np.ndarray:
    """Left edges, float64 but each a whole number, of tiles ``width`` pixels wide on ``side`` pixels."""
    if border == "pad":
        edges = np.rint(np.arange(math.ceil(side / stride) + 1) * stride)
        return edges[edges < side]
    count = max(0, math.floor((side - width) / stride + 1e-9) + 1)
    edges = np.rint(np.arange(count) * stride)
    return edges[edges + width <= side + FIT_PX]


def tissue_shares(mask: np.ndarray, x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    """Share of tissue in each square of a raster.

    Args:
        mask: uint8 (h, w).
        x, y: left and top edges in mask pixels, fractions allowed.
        width: of a square in mask pixels.

    Returns:
        float64 (len(y), len(x)): the integral of the mask over the square over the square's area; beyond the mask there
        is no tissue.
    """
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    integral[1:, 1:] = mask
    np.cumsum(np.cumsum(integral, axis=0, out=integral), axis=1, out=integral)

    def upto(v: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Tissue above v and left of u; the integral of a mask of squares is bilinear within each."""
        top, left = np.clip(v, 0, mask.shape[0]), np.clip(u, 0, mask.shape[1])
        i = np.minimum(top.astype(int), mask.shape[0] - 1)
        j = np.minimum(left.astype(int), mask.shape[1] - 1)
        a, b = (top - i)[:, None], (left - j)[None, :]
        upper = integral[np.ix_(i, j)] * (1 - b) + integral[np.ix_(i, j + 1)] * b
        lower = integral[np.ix_(i + 1, j)] * (1 - b) + integral[np.ix_(i + 1, j + 1)] * b
        return upper * (1 - a) + lower * a

    inside = upto(y + width, x + width) - upto(y, x + width) - upto(y + width, x) + upto(y, x)
    return np.clip(np.round(inside / width**2, 9), 0, 1)


def read_tile(reader: SlideReader, x: int, y: int, *, level: int, tile_px_level0: float, tile_px: int) -> np.ndarray:
    """Pixels of one tile, uint8 (tile_px, tile_px, 3).

    What lies beyond the slide's edge is white. A tile within half a pixel of the edge counts as inside.

    Args:
        x, y: top left at level 0.
        level: the level to read.
        tile_px_level0: width of the tile in level-0 pixels.
        tile_px: width of the result.
    """
    from PIL import Image

    source = reader.levels[level]
    left, top, width = x / source.downsample, y / source.downsample, tile_px_level0 / source.downsample
    on_level = (source.width, source.height)
    ends = tuple(  # where white begins, in pixels of the level; None: nowhere in this tile
        None if at + tile_px_level0 <= side + FIT_PX else max(stored, round(side / source.downsample))
        for at, side, stored in zip((x, y), reader.size, on_level, strict=True)
    )
    offset = max(abs(left - round(left)), abs(top - round(top)))
    if offset + abs(width - tile_px) <= EXACT_PX:
        columns, rows = _Span(round(left), tile_px, ends[0]), _Span(round(top), tile_px, ends[1])
        return _read_spans(reader, level, columns, rows)
    first_x, first_y = math.floor(left), math.floor(top)
    columns = _Span(first_x, max(1, math.ceil(left + width) - first_x), ends[0])
    rows = _Span(first_y, max(1, math.ceil(top + width) - first_y), ends[1])
    block = _read_spans(reader, level, columns, rows)
    right, bottom = min(left - first_x + width, columns.count), min(top - first_y + width, rows.count)
    box = (left - first_x, top - first_y, right, bottom)
    return np.asarray(Image.fromarray(block).resize((tile_px, tile_px), Image.Resampling.BILINEAR, box))


@dataclass(frozen=True)
class _Span:
    """Columns, or rows, of a block in pixels of a level."""

    first: int
    count: int
    end: int | None  # the first that is white

    def stored(self, side: int) -> np.ndarray:
        """Which of a level's ``side`` pixels each takes; beyond its last, the last."""
        return np.minimum(np.arange(self.first, self.first + self.count), side - 1)


def _read_spans(reader: SlideReader, level: int, columns: _Span, rows: _Span) -> np.ndarray:
    """Pixels of a block, uint8 (rows.count, columns.count, 3).

    A level's size is rounded: a slide can reach up to a pixel beyond the last one stored, which is repeated there.
    """
    source = reader.levels[level]
    if columns.first + columns.count <= source.width and rows.first + rows.count <= source.height:
        return reader.read_region(level, columns.first, rows.first, columns.count, rows.count)
    xs, ys = columns.stored(source.width), rows.stored(source.height)
    x, y = int(xs[0]), int(ys[0])
    stored = reader.read_region(level, x, y, int(xs[-1]) - x + 1, int(ys[-1]) - y + 1)
    block = stored[np.ix_(ys - y, xs - x)]  # a copy
    if columns.end is not None:
        block[:, max(0, columns.end - columns.first) :] = 255
    if rows.end is not None:
        block[max(0, rows.end - rows.first) :] = 255
    return block
