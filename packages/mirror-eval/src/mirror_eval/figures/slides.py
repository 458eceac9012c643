"""Attention of a run over a slide: the thumbnail, and the thumbnail under a map of where the model looked."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Rectangle
from scipy import stats

from mirror_eval.figures.theme import Drawing, drawing, to_svg

COLOURS = "viridis"
MOST_PX = 720  # longer side of an embedded thumbnail
OPACITY = 0.62
WIDE = 4.4  # inches


@dataclass(frozen=True)
class AttentionMap:
    """Attention laid over a thumbnail.

    ``thumbnail`` uint8 (h, w, 3); ``corners`` float (N, 2), x and y of each tile's top left in thumbnail pixels;
    ``side`` the tile's width and height there; ``weights`` (N,), sums to 1; ``top`` indices of the tiles with most
    attention, most first.
    """

    thumbnail: np.ndarray
    corners: np.ndarray
    side: tuple[float, float]
    weights: np.ndarray
    top: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """Weight of each tile over an even share: 1 is average."""
        return self.weights * len(self.weights)


def attention_map(
    thumbnail: np.ndarray,
    slide_size: tuple[int, int],
    coords: np.ndarray,
    tile_px_level0: float,
    weights: np.ndarray,
    top: int = 5,
) -> AttentionMap:
    """Scale tiles from level-0 pixels to the thumbnail.

    Args:
        thumbnail: uint8 (h, w, 3) of the whole slide.
        slide_size: width and height in level-0 pixels.
        coords: (N, 2), x and y of each tile in level-0 pixels.
        weights: (N,) attention.
        top: how many tiles to mark.
    """
    step = int(np.ceil(max(thumbnail.shape[:2]) / MOST_PX))
    small = thumbnail[::step, ::step]
    scale = np.array([small.shape[1] / slide_size[0], small.shape[0] / slide_size[1]])
    order = np.argsort(-weights, kind="stable")[:top]
    side = (float(tile_px_level0 * scale[0]), float(tile_px_level0 * scale[1]))
    return AttentionMap(np.ascontiguousarray(small), coords * scale, side, weights, order)


def _overlay(shown: AttentionMap) -> np.ndarray:
    """Colours float (h, w, 4): each tile by the rank of its weight, overlapping tiles averaged, glass left clear."""
    height, width = shown.thumbnail.shape[:2]
    rank = (stats.rankdata(shown.weights) - 0.5) / len(shown.weights)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    ends = np.ceil(shown.corners + shown.side).astype(int)
    for (x, y), (x_end, y_end), value in zip(shown.corners.astype(int), ends, rank, strict=True):
        total[y:y_end, x:x_end] += value
        count[y:y_end, x:x_end] += 1
    colours = mpl.colormaps[COLOURS](total / np.maximum(count, 1))
    colours[..., 3] = np.where(count > 0, OPACITY, 0)
    return colours


def thumbnail_panel(name: str, title: str, shown: AttentionMap, alt: str) -> Drawing:
    """The slide as it is, with the marked tiles framed."""
    with drawing(*_size(shown)) as figure:
        axes = figure.add_subplot()
        axes.imshow(shown.thumbnail, interpolation="none")
        _frame(axes, shown, numbers=False)
        axes.set_title(title)
        return to_svg(figure, name, alt, photographs=1)


def attention_panel(name: str, title: str, shown: AttentionMap, alt: str) -> Drawing:
    """The slide under its attention, the marked tiles framed and numbered."""
    with drawing(*_size(shown)) as figure:
        axes = figure.add_subplot()
        axes.imshow(shown.thumbnail, interpolation="none")
        axes.imshow(_overlay(shown), interpolation="none")
        _frame(axes, shown, numbers=True)
        axes.set_title(title)
        return to_svg(figure, name, alt, photographs=1)


def _size(shown: AttentionMap) -> tuple[float, float]:
    """Width and height in inches of a panel, the title included."""
    height, width = shown.thumbnail.shape[:2]
    return WIDE, float(np.clip(WIDE * height / width, 1.6, 6.0)) + 0.3


def _frame(axes, shown: AttentionMap, *, numbers: bool) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    for number, index in enumerate(shown.top, start=1):
        x, y = shown.corners[index]
        axes.add_patch(Rectangle((x, y), *shown.side, fill=False, edgecolor="#ffffff", linewidth=2.4))
        axes.add_patch(Rectangle((x, y), *shown.side, fill=False, edgecolor="#000000", linewidth=1.0))
        if numbers:
            middle = (x + shown.side[0] / 2, y + shown.side[1] / 2)
            axes.text(*middle, str(number), ha="center", va="center", color="#000000", fontweight="bold", fontsize=9,
                      bbox={"boxstyle": "circle,pad=0.18", "facecolor": "#ffffff", "edgecolor": "none"})  # fmt: skip
