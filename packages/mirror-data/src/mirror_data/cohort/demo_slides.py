"""Slides of the demo cohort: a window of a sheet of tissue inside an irregular outline, as a pyramidal Aperio TIFF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirror_data.cohort.demo_tissue import LEVELS, MOST_EOSIN, MOST_HAEMATOXYLIN, SHEET_PX, Architecture, Sheets, noise

MPP = 0.5  # micrometres per level-0 pixel
JPEG_TILE_PX = 256
JPEG_QUALITY = 80
LEAST_PX, MOST_PX = 2048, 2432  # width and height of a slide
OUTLINE_STEP = 8  # the outline is drawn on a grid this many pixels wide
GLASS_RGB = (244, 243, 245)


@dataclass(frozen=True)
class Look:
    """Everything that makes one slide differ from another."""

    architecture: Architecture
    infiltrate: float  # share of the stroma, 0 to 1, that lymphocytes fill
    haematoxylin: float  # strength of each stain, 1 = as in the picture
    eosin: float
    redness: float  # shift of the eosin's hue, a property of the laboratory


def write_slide_file(path: Path, sheets: Sheets, look: Look, seed: tuple[int, ...]) -> None:
    """Write one slide of three levels (1, 1/4, 1/16); its bytes follow from the arguments.

    Needs tifffile, imagecodecs and Pillow (the extra ``slides``).
    """
    import tifffile
    from PIL import Image

    pixels = _render(sheets, look, np.random.default_rng(seed))
    levels = [pixels, *(np.asarray(Image.fromarray(pixels).reduce(factor)) for factor in (4, 16))]
    height, width = pixels.shape[:2]
    with tifffile.TiffWriter(path) as tiff:
        for level in levels:
            size = f"{width}x{height}" + (f" -> {level.shape[1]}x{level.shape[0]}" if level is not pixels else "")
            tiff.write(
                _tiles(level),
                shape=level.shape,
                dtype=level.dtype,
                tile=(JPEG_TILE_PX, JPEG_TILE_PX),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": JPEG_QUALITY},
                subfiletype=0 if level is pixels else 1,
                description=f"Aperio Image Library (demo cohort of mirror-data)\r\n{size} "
                f"({JPEG_TILE_PX}x{JPEG_TILE_PX}) JPEG/YCC Q={JPEG_QUALITY}|AppMag = 20|MPP = {MPP}",
                software=False,
                metadata=None,
            )


def _tiles(level: np.ndarray) -> Iterator[np.ndarray]:
    """The JPEG tiles of a level in order; those at the far edges are filled up with their last pixels, so that the
    picture does not ring against black."""
    height, width = level.shape[:2]
    for y in range(0, height, JPEG_TILE_PX):
        for x in range(0, width, JPEG_TILE_PX):
            tile = level[y : y + JPEG_TILE_PX, x : x + JPEG_TILE_PX]
            missing = [(0, JPEG_TILE_PX - side) for side in tile.shape[:2]]
            yield np.pad(tile, (*missing, (0, 0)), mode="edge")


def _render(sheets: Sheets, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Pixels uint8 (height, width, 3)."""
    size = (int(rng.integers(LEAST_PX, MOST_PX + 1)), int(rng.integers(LEAST_PX, MOST_PX + 1)))
    corner = rng.integers(0, SHEET_PX, 2)
    turns, flip = int(rng.integers(4)), int(rng.choice([-1, 1]))

    def window(sheet: np.ndarray, corner: np.ndarray) -> np.ndarray:
        rows, columns = (np.arange(start, start + MOST_PX) % SHEET_PX for start in corner)
        return np.rot90(sheet[np.ix_(rows, columns)], turns)[: size[0], : size[1]][:, ::flip]

    stains = window(sheets.tissue[look.architecture], corner)
    lymphocytes = window(sheets.lymphocytes[look.architecture], corner)
    infiltrated = window(sheets.rank, rng.integers(0, SHEET_PX, 2)) < 256 * look.infiltrate
    stains = np.where(infiltrated & (lymphocytes > 0), lymphocytes, stains)
    return _colours(look)[np.where(_outline(size, rng), stains, 0)]


def _outline(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where the tissue is, bool (height, width): a lobed piece with a rough border and a tear or two."""
    grid = max(size) // OUTLINE_STEP + 2
    y, x = (np.linspace(-1, 1, grid, dtype=np.float32)[:, None], np.linspace(-1, 1, grid, dtype=np.float32)[None])
    turn = rng.uniform(0, np.pi)
    a, b = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    shape = rng.uniform(0.78, 0.88) - np.hypot(a / rng.uniform(0.95, 1.05), b / rng.uniform(0.72, 0.9))
    shape += 0.09 * noise(grid, 24, rng) + 0.03 * noise(grid, 7, rng) + 0.012 * noise(grid, 2, rng)
    shape = np.minimum(shape, 0.12 * (2.4 - noise(grid, 11, rng)))  # tears
    shape = np.minimum(shape, 0.94 - np.maximum(np.abs(x), np.abs(y)))  # glass all round
    return _enlarge(shape, size) > 0


def _enlarge(field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of a coarse field at every pixel, float32 (height, width)."""
    for axis, length in enumerate(size):
        at = np.linspace(0, field.shape[axis] - 1.001, length, dtype=np.float32)
        low = at.astype(np.int32)
        part = (at - low).reshape(-1, 1) if axis == 0 else at - low
        field = field.take(low, axis) * (1 - part) + field.take(low + 1, axis) * part
    return field


def _colours(look: Look) -> np.ndarray:
    """Colour of every quantised pair of stains, uint8 (16384, 3), by Beer-Lambert; entry 0 is bare glass."""
    haematoxylin = np.linspace(0, MOST_HAEMATOXYLIN, LEVELS) * look.haematoxylin
    eosin = np.linspace(0, MOST_EOSIN, LEVELS) * look.eosin
    density = haematoxylin[:, None, None] * np.array([0.64, 0.72, 0.28])
    density = density + eosin[None, :, None] * np.array([0.09, 0.80, 0.30 + look.redness])
    return (np.exp(-density) * np.array(GLASS_RGB)).round().astype(np.uint8).reshape(-1, 3)
