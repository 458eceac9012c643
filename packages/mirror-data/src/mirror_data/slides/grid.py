"""Tiles by physical size: a raster grid over the slide, and the pixels of one tile.

A tile is ``tile_px`` pixels of ``mpp`` micrometres, whatever the scanner's own pixels are. Its place is stored as the
level-0 pixel of its top left; its pixels are resampled from exactly the rectangle that starts there, to within half a
pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides.reader import Level, SlideReader
from mirror_data.units import MPP, TilePixels, slide_pixels

LEVEL_TOLERANCE = 0.01  # a level this much coarser than asked still serves
EXACT_PX = 0.5  # a rectangle whose edges are this close to whole pixels is taken as it is


@dataclass(frozen=True)
class GridParameters:
    """Which tiles."""

    tile_px: int = 256
    mpp: float = 0.5
    min_tissue: float = 0.25  # least share of tissue in a tile

    def __post_init__(self) -> None:
        if self.tile_px < 1:
            raise BadInput("BAD_OPTION", "a tile needs at least one pixel", key="--tile-px", got=self.tile_px)
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise BadInput("BAD_OPTION", "micrometres per pixel must be above 0", key="--mpp", got=self.mpp)
        if not 0 <= self.min_tissue <= 1:
            raise BadInput("BAD_OPTION", "a share lies between 0 and 1", key="--min-tissue", got=self.min_tissue)

    @property
    def name(self) -> str:
        """Name of the tiling in the store: ``256px_0.5mpp``."""
        return f"{self.tile_px}px_{self.mpp:g}mpp"


@dataclass(frozen=True)
class Grid:
    """The tiles of one slide."""

    coords: np.ndarray  # int32 (N, 2): x, y of the top left at level 0, by y then x
    tile_px_level0: float  # width of a tile in level-0 pixels
    read_level: int
    candidates: int  # tiles that fit on the slide, with tissue or without


def lay_grid(reader: SlideReader, mask: np.ndarray, mask_mpp: float, parameters: GridParameters) -> Grid:
    """Tiles that lie wholly on the slide and hold enough tissue.

    Args:
        mask: uint8 (h, w), 1 = tissue, starting at the slide's top left.
        mask_mpp: its micrometres per pixel.

    Raises:
        BadSlide: ``TOO_COARSE`` if the slide's own pixels are wider than those asked for.
    """
    level = read_level(reader.levels, reader.mpp, parameters.mpp)
    width = slide_pixels(TilePixels(parameters.tile_px), MPP(parameters.mpp), MPP(reader.mpp))
    columns, rows = (_positions(side, width) for side in reader.size)
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


def _positions(side: int, width: float) -> np.ndarray:
    """Left edges, float64, of the tiles of ``width`` that fit on ``side`` pixels; each a whole number."""
    count = max(0, math.floor(side / width + 1e-9))
    edges = np.rint(np.arange(count) * width)
    return edges[edges + width <= side + 0.5]


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

    Args:
        x, y: top left at level 0.
        level: the level to read.
        tile_px_level0: width of the tile in level-0 pixels.
        tile_px: width of the result.
    """
    from PIL import Image

    source = reader.levels[level]
    left, top, width = x / source.downsample, y / source.downsample, tile_px_level0 / source.downsample
    offset = max(abs(left - round(left)), abs(top - round(top)))
    if offset + abs(width - tile_px) <= EXACT_PX:
        return reader.read_region(level, round(left), round(top), tile_px, tile_px)
    first_x, first_y = math.floor(left), math.floor(top)
    last_x = min(max(math.ceil(left + width), first_x + 1), max(source.width, first_x + 1))
    last_y = min(max(math.ceil(top + width), first_y + 1), max(source.height, first_y + 1))
    block = reader.read_region(level, first_x, first_y, last_x - first_x, last_y - first_y)
    right, bottom = min(left + width, last_x) - first_x, min(top + width, last_y) - first_y
    box = (left - first_x, top - first_y, right, bottom)
    return np.asarray(Image.fromarray(block).resize((tile_px, tile_px), Image.Resampling.BILINEAR, box))
