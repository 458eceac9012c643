"""Tissue of the demo cohort: two architectures and an infiltrate, woven from a picture that scikit-image ships.

The picture (immunohistochemistry: colonic glands, 512 x 512, about 0.5 um per pixel, no known copyright restrictions)
is taken apart into its two stains. Straightened strips of its epithelium are bent into new glands or drawn out into
cords, fields of its stroma fill what lies between, and its nuclei become lymphocytes. A sheet is periodic and holds
stain amounts, not colours: the slide that a window of it ends on chooses the colours.

Shapes: a plane is float32 (2, h, w), haematoxylin and eosin; a sheet is uint16 (s, s), both quantised to 7 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

Architecture = Literal["glandular", "cords"]
ARCHITECTURES: tuple[Architecture, ...] = ("glandular", "cords")

SHEET_PX = 2560
LEVELS = 128  # quantisation of each stain
MOST_HAEMATOXYLIN, MOST_EOSIN = 1.9, 1.3  # optical density at the last level

HAEMATOXYLIN_RGB = (0.65, 0.70, 0.29)  # optical density of the stains of the picture (Ruifrok & Johnston 2001)
DAB_RGB = (0.27, 0.57, 0.78)

# Outer and inner border of three pieces of epithelium in the picture, as x, y points that correspond in pairs.
_PIECES = (
    (
        ((105, 262), (125, 300), (144, 335), (153, 370), (156, 410), (156, 460), (155, 508)),
        ((28, 305), (50, 332), (52, 350), (52, 375), (50, 410), (47, 460), (44, 508)),
    ),
    (
        ((424, 6), (440, 50), (451, 90), (456, 130), (457, 160), (453, 195), (444, 230), (432, 262), (420, 290)),
        ((300, 30), (325, 75), (344, 105), (360, 138), (372, 160), (382, 180), (380, 192), (376, 196), (372, 198)),
    ),
    (
        ((300, 318), (335, 328), (364, 348), (376, 390), (376, 430), (370, 478), (352, 500), (312, 496), (291, 468)),
        ((312, 395), (315, 395), (318, 396), (320, 400), (320, 404), (319, 408), (317, 410), (313, 408), (311, 404)),
    ),
)


@dataclass(frozen=True)
class Sheets:
    """What every slide of the cohort is cut from."""

    tissue: dict[Architecture, np.ndarray]  # uint16 (s, s) of quantised stains
    lymphocytes: dict[Architecture, np.ndarray]  # uint16 (s, s), 0 where there is none: they keep to the stroma
    rank: np.ndarray  # uint8 (s, s): smooth noise by rank, so that `rank < 256 * share` is patches of that share


@dataclass(frozen=True)
class _Source:
    """The picture, taken apart."""

    stains: np.ndarray  # (2, 512, 512)
    strips: tuple[np.ndarray, ...]  # each (2, depth, length), row 0 the outer border


def make_sheets(seed: int) -> Sheets:
    """Weave the sheets of one cohort; the same seed gives the same pixels."""
    source = _take_apart()
    rng = np.random.default_rng([seed, 1])
    stroma = np.tile(_stroma(source.stains, rng), (1, 2, 2))
    lymphocytes = _lymphocytes(source.stains, rng)
    made: dict[Architecture, tuple[np.ndarray, np.ndarray]]
    made = {"glandular": _with_glands(stroma, source, rng), "cords": _with_cords(stroma, source, rng)}
    clumps = noise(SHEET_PX, 70, rng) + 0.3 * noise(SHEET_PX, 12, rng)
    rank = np.searchsorted(np.quantile(clumps, np.arange(1, 256) / 256), clumps).astype(np.uint8)
    return Sheets(
        {name: quantise(planes) for name, (planes, _) in made.items()},
        {name: np.where(covered < 0.2, lymphocytes, 0).astype(np.uint16) for name, (_, covered) in made.items()},
        rank,
    )


def quantise(planes: np.ndarray) -> np.ndarray:
    """Stain amounts (2, h, w) as one uint16 (h, w): haematoxylin level * 128 + eosin level."""
    steps = np.array([MOST_HAEMATOXYLIN, MOST_EOSIN], np.float32)[:, None, None] / (LEVELS - 1)
    levels = np.clip(planes / steps + 0.5, 0, LEVELS - 1).astype(np.uint16)
    return levels[0] * LEVELS + levels[1]


def noise(size: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth periodic noise float32 (size, size), mean 0 and sd 1; ``scale`` is the sd of the blur in pixels."""
    coarse = max(1, int(scale / 3))  # drawn on a coarser grid, where a blur of at least 3 pixels is left to do
    field = ndimage.gaussian_filter(rng.standard_normal((size // coarse,) * 2), scale / coarse, mode="wrap")
    field = ((field - field.mean()) / field.std()).astype(np.float32)
    if field.shape[0] == size:
        return field
    wrapped = np.pad(field, ((0, 1), (0, 1)), mode="wrap")
    at = np.linspace(0, len(field), size, endpoint=False, dtype=np.float32)
    low = at.astype(int)
    part = at - low
    rows = wrapped[low] * (1 - part[:, None]) + wrapped[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _take_apart() -> _Source:
    """Haematoxylin and DAB by Beer-Lambert; the DAB becomes eosin, on a faint pink that all tissue has."""
    from skimage.data import immunohistochemistry

    density = np.log(245 / (immunohistochemistry().astype(np.float32) + 1)).clip(0)  # (512, 512, 3)
    stain_rgb = np.array([HAEMATOXYLIN_RGB, DAB_RGB])
    unmix = np.linalg.pinv(stain_rgb / np.linalg.norm(stain_rgb, axis=1, keepdims=True))
    blue, brown = np.moveaxis((density.reshape(-1, 3) @ unmix).clip(0).reshape(512, 512, 2), 2, 0)
    ground = 0.13 * np.clip(ndimage.gaussian_filter(density.sum(2), 5) / 0.35, 0, 1)
    stains = np.stack([1.45 * blue, 0.27 * brown + ground + 0.1 * blue]).astype(np.float32)
    return _Source(stains, tuple(_straighten(stains, outer, inner) for outer, inner in _PIECES))


def _straighten(stains: np.ndarray, outer: tuple, inner: tuple) -> np.ndarray:
    """The band between two borders as a rectangle (2, 72, length), sampled along straight lines between the pairs."""
    borders = [np.array(border, float) for border in (outer, inner)]
    steps = np.r_[0, np.cumsum(np.linalg.norm(np.diff(borders[0], axis=0), axis=1))]
    along = np.arange(0, steps[-1])
    ends = [np.stack([np.interp(along, steps, border[:, k]) for k in (0, 1)]) for border in borders]  # (2, length)
    depth = np.linspace(0, 0.96, 72)[:, None]
    x, y = (ends[0][k] + depth * (ends[1][k] - ends[0][k]) for k in (0, 1))  # (72, length)
    return np.stack([ndimage.map_coordinates(plane, [y, x], order=1, mode="nearest") for plane in stains])


def _stroma(stains: np.ndarray, rng: np.random.Generator, size: int = SHEET_PX // 2, patch: int = 80) -> np.ndarray:
    """A periodic field (2, size, size) of overlapping, soft-edged pieces of the picture's stroma."""
    total, eosin = stains.sum(0), stains[1]
    is_stroma = (ndimage.gaussian_filter(eosin, 5) < 0.26) & (ndimage.gaussian_filter(total, 9) > 0.22)
    places = np.argwhere(ndimage.uniform_filter(is_stroma.astype(np.float32), patch) > 0.93)
    places = places[((places >= patch // 2) & (places <= 512 - patch // 2)).all(1)] - patch // 2
    y, x = np.mgrid[:patch, :patch] - (patch - 1) / 2
    stains = np.stack([0.8 * stains[0], stains[1] + 0.06 + 0.25 * stains[0]])  # collagen is pink
    sheet = np.zeros((2, size, size), np.float32)
    centres = np.stack(np.meshgrid(*[np.arange(0, size, 32)] * 2), -1).reshape(-1, 2)
    for row, column in rng.permutation(centres) + rng.integers(-8, 9, centres.shape):
        top, left = places[rng.integers(len(places))]
        piece = stains[:, top : top + patch, left : left + patch]
        piece = piece[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        angle = np.arctan2(y, x)
        edge = patch / 2 - 8 + 3 * np.sin(3 * angle + rng.uniform(0, 7)) + 3 * np.sin(5 * angle + rng.uniform(0, 7))
        weight = np.clip((edge - np.hypot(x, y)) / 4, 0, 1).astype(np.float32)
        at = np.ix_(np.arange(row, row + patch) % size, np.arange(column, column + patch) % size)
        for plane, stain in zip(sheet, piece, strict=True):
            plane[at] = plane[at] * (1 - weight) + stain * weight
    return sheet


def _mirrored(position: np.ndarray, length: int) -> np.ndarray:
    """Positions folded back and forth into 0 .. length - 1, so that a short strip can go round a gland."""
    folded = np.mod(position, 2 * (length - 1))
    return np.where(folded < length, folded, 2 * (length - 1) - folded).astype(int).clip(0, length - 1)


def _gland(source: _Source, rng: np.random.Generator, half: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """One gland: a strip of epithelium bent round a lumen. Returns stains (2, 300, 300) and opacity (300, 300)."""
    strip = source.strips[rng.integers(len(source.strips))]
    y, x = (np.mgrid[: 2 * half, : 2 * half] - half + 0.5).astype(np.float32)
    turn, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.65, 1.0)
    a, b = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / stretch
    angle, radius = np.arctan2(b, a), np.hypot(a, b)
    border = rng.uniform(96, 138) * np.ones_like(angle)
    for waves in (2, 3, 4, 5):
        border += rng.uniform(4, 26 / waves) * np.sin(waves * angle + rng.uniform(0, 7))
    inside = border - radius  # pixels from the outer border
    thickness = rng.uniform(66, 104) + 6 * np.sin(3 * angle + rng.uniform(0, 7))
    depth = (inside / thickness * strip.shape[1]).astype(int)
    along = _mirrored((angle + np.pi) * border.mean() + rng.uniform(0, 500), strip.shape[2])
    stains = strip[:, depth.clip(0, strip.shape[1] - 1), along]
    lumen = np.clip((inside - thickness) / 4, 0, 1)
    stains = stains * (1 - lumen)
    return stains, np.clip(inside / 3, 0, 1)


def _with_glands(
    stroma: np.ndarray, source: _Source, rng: np.random.Generator, spacing: int = 212
) -> tuple[np.ndarray, np.ndarray]:
    """Glands on a shaken lattice over the stroma, here and there none; returns planes and what they cover."""
    planes, covered = stroma.copy(), np.zeros(stroma.shape[1:], np.float32)
    size, rows = planes.shape[1], planes.shape[1] // spacing
    kinds = [_gland(source, rng) for _ in range(24)]
    for place in rng.permutation(rows * rows):
        row, column = divmod(int(place), rows)
        turns, flip = int(rng.integers(4)), int(rng.choice([-1, 1]))
        stains, opacity = kinds[rng.integers(len(kinds))]
        top = int(row * size / rows + rng.integers(-34, 35))
        left = int((column + row % 2 / 2) * size / rows + rng.integers(-34, 35))
        if rng.random() < 1 / 14:
            continue
        stains = np.rot90(stains, turns, axes=(1, 2))[:, :, ::flip]
        opacity = np.rot90(opacity, turns)[:, ::flip]
        at = np.ix_(np.arange(top, top + len(opacity)) % size, np.arange(left, left + len(opacity)) % size)
        for plane, stain in zip(planes, stains, strict=True):
            plane[at] = plane[at] * (1 - opacity) + stain * opacity
        covered[at] = np.maximum(covered[at], opacity)
    return planes, covered


def _with_cords(
    stroma: np.ndarray, source: _Source, rng: np.random.Generator, lines: int = 46
) -> tuple[np.ndarray, np.ndarray]:
    """Wavy files of cells one or two abreast, broken here and there; returns planes and what the cells cover."""
    size = stroma.shape[1]
    spacing = size / lines
    bend = np.arange(size, dtype=np.float32)[:, None] + 45 * noise(size, 110, rng) + 5 * noise(size, 24, rng)
    slope = np.hypot(*np.gradient(bend))
    line = np.floor(bend / spacing).astype(np.int32)
    across = (bend - (line + 0.5) * spacing) / np.maximum(slope, 0.5)  # pixels from the middle of the cord
    width = 12.5 + 2.5 * noise(size, 40, rng) - 30 * (noise(size, 45, rng) < -0.7)
    covered = np.clip((width - np.abs(across)) / 2.5, 0, 1)
    strip = np.concatenate([s[:, 2:54:2] for s in source.strips], axis=2)  # (2, 26, length): one row of nuclei
    strip = np.stack([1.5 * strip[0], 0.85 * strip[1]])
    depth = ((across / np.maximum(width, 1) + 1) / 2 * strip.shape[1]).astype(np.int32).clip(0, strip.shape[1] - 1)
    offset = rng.integers(0, 4000, lines)[line % lines]
    along = _mirrored(np.arange(size) + offset, strip.shape[2])
    planes = stroma.copy()
    for plane, stain in zip(planes, strip, strict=True):
        plane += (stain[depth, along] - plane) * covered
    return planes, covered


def _lymphocytes(stains: np.ndarray, rng: np.random.Generator, count: int = 7500) -> np.ndarray:
    """Small round dark nuclei, cut from the picture's own, densely and evenly over a sheet."""
    blue = ndimage.gaussian_filter(stains[0], 2)
    peaks = np.argwhere((blue == ndimage.maximum_filter(blue, 13)) & (blue > np.percentile(blue, 88)))
    peaks = peaks[((peaks > 9) & (peaks < 502)).all(1)]
    y, x = np.mgrid[-8:9, -8:9]
    size = SHEET_PX // 2
    sheet = np.zeros((size, size), np.uint16)
    for row, column in rng.integers(0, size, (count, 2)):
        top, left = peaks[rng.integers(len(peaks))] - 8
        nucleus = stains[:, top : top + 17, left : left + 17]
        inside = np.hypot(x, y * rng.uniform(0.85, 1.2)) < rng.uniform(4.2, 6.2)
        darker = np.stack([nucleus[0] * 1.3 + 0.3, nucleus[1] * 0.6])
        at = np.ix_(np.arange(row, row + 17) % size, np.arange(column, column + 17) % size)
        sheet[at] = np.where(inside, quantise(darker), sheet[at])
    return np.tile(sheet, (2, 2))
