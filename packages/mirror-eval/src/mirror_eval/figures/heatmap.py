"""One picture of one slide for a person: the slide, its attention with scales, and the tiles with most of it."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mirror_eval.figures.slides import COLOURS, OPACITY, AttentionMap, draw_attention, draw_slide, draw_tile, times
from mirror_eval.figures.theme import INK, MUTED, SURFACE, drawing

DPI = 200
MOST_PX = 2000  # longer side of the thumbnail drawn on
_TALL, _WIDE = 5.2, 6.4  # inches a panel may take beside another, and above it
_EDGE, _GAP, _HEAD, _LINE = 0.3, 0.35, 0.8, 0.155  # inches
_BAR = 1.15  # inches for the colour bar with its two scales
_TILE, _CAPTION = 1.5, 0.42  # inches
_TEXT_PER_INCH = 15.5  # characters of the smallest text


@dataclass(frozen=True)
class Picture:
    """A PNG. ``map_px``: left, top, width and height of the attention map in it, in pixels."""

    png: bytes
    width: int
    height: int
    map_px: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Layout:
    """Boxes in inches from the top left: x, y, width, height."""

    width: float
    height: float
    notes: tuple[str, ...]  # lines
    slide: tuple[float, float, float, float]
    map: tuple[float, float, float, float]
    tiles: tuple[tuple[float, float, float, float], ...]


def _lay_out(shown: AttentionMap, tiles: int, notes: str) -> _Layout:
    """Slide and map side by side, or a wide slide above its map; tiles in columns to the right of both."""
    height, width = shown.thumbnail.shape[:2]
    stacked = width > 1.5 * height
    w = _WIDE if stacked else min(4.4, _TALL * width / height)
    h = w * height / width
    cell = max(w, 1.3)  # a very narrow slide still needs room for its title
    x, y = _EDGE, _HEAD + 0.3
    slide = (x + (cell - w) / 2, y, w, h)
    down = h + 0.75
    second = (slide[0], y + down, w, h) if stacked else (slide[0] + cell + _GAP, y, w, h)
    bottom = max(second[1] + h + 0.3, y + 2.0)
    right = second[0] + (cell + w) / 2 + _BAR
    rows = max(1, math.floor((bottom - _HEAD) / (_TILE + _CAPTION)))
    columns = -(-tiles // rows)
    left = right + _GAP
    boxes = []
    for k in range(tiles):
        column, row = k % columns, k // columns
        boxes.append((left + column * (_TILE + 0.2), y + row * (_TILE + _CAPTION), _TILE, _TILE))
    if boxes:
        right = max(box[0] + box[2] for box in boxes)
        bottom = max(bottom, boxes[-1][1] + _TILE + 0.25)
    whole = max(right + _EDGE, 6.0)
    lines = tuple(textwrap.wrap(notes, int((whole - 2 * _EDGE) * _TEXT_PER_INCH)))
    return _Layout(whole, bottom + 0.2 + _LINE * len(lines) + _EDGE, lines, slide, second, tuple(boxes))


def draw_heatmap(
    shown: AttentionMap,
    title: str,
    subtitle: str,
    notes: str,
    pictures: Sequence[np.ndarray] = (),
) -> Picture:
    """Draw a slide's attention.

    Args:
        title: usually the slide's id. subtitle: whose attention it is.
        notes: what stands below.
        pictures: uint8 (h, w, 3), of the marked tiles in their order; none: the column is left out.
    """
    plan = _lay_out(shown, len(pictures), notes)
    with drawing(plan.width, plan.height) as figure:
        figure.set_layout_engine("none")
        _words(figure, plan, title, subtitle)
        slide = _axes(figure, plan, plan.slide)
        draw_slide(slide, shown)
        slide.set_title("slide: no picture stored" if shown.blank else "slide", pad=5)
        over = _axes(figure, plan, plan.map)
        draw_attention(over, shown, shown.thumbnail.shape[1] / plan.map[2])
        over.set_title("attention", pad=5)
        _colour_bar(figure, plan, shown)
        for number, (box, picture) in enumerate(zip(plan.tiles, pictures, strict=True), start=1):
            caption = f"{times(shown.relative[shown.top[number - 1]])} × even share"
            draw_tile(_axes(figure, plan, box), picture, number, caption)
        file = io.BytesIO()
        figure.set_dpi(DPI)
        size = figure.canvas.get_width_height()
        figure.savefig(file, format="png", dpi=DPI, facecolor=SURFACE, metadata={"Software": None})
    left, top, width, height = (round(side * DPI) for side in plan.map)
    return Picture(file.getvalue(), *size, (left, top, width, height))


def _axes(figure: Figure, plan: _Layout, box: tuple[float, float, float, float]) -> Axes:
    x, y, width, height = box
    return figure.add_axes(
        (x / plan.width, 1 - (y + height) / plan.height, width / plan.width, height / plan.height)
    )  # fmt: skip


def _words(figure: Figure, plan: _Layout, title: str, subtitle: str) -> None:
    x, room = _EDGE / plan.width, plan.width - 2 * _EDGE
    most = int(room * 9)
    title = title if len(title) <= most else title[: most - 1] + "…"
    figure.text(x, 1 - 0.3 / plan.height, title, fontsize=13, fontweight="bold", color=INK, va="center")
    figure.text(x, 1 - 0.57 / plan.height, subtitle, fontsize=9, color=MUTED, va="center")
    for k, line in enumerate(reversed(plan.notes)):
        figure.text(x, (_EDGE + k * _LINE) / plan.height, line, fontsize=8, color=MUTED)


def _colour_bar(figure: Figure, plan: _Layout, shown: AttentionMap) -> None:
    """Percentiles to the left of the bar's ticks, and what weight a tile has there to their right."""
    x, y, width, height = plan.map
    tall = min(height, 3.0)
    axes = _axes(figure, plan, (x + width + 0.14, y, 0.13, tall))
    scale = ScalarMappable(Normalize(0, 100), mpl.colormaps[COLOURS])
    bar = figure.colorbar(scale, cax=axes, alpha=OPACITY)
    bar.outline.set_visible(False)
    ticks = [0, 50, 100] if tall < 1.4 else [0, 25, 50, 75, 100]
    weights = np.percentile(shown.relative[shown.weighed], ticks)
    labels = [f"{tick}  ({times(weight)}×)" for tick, weight in zip(ticks, weights, strict=True)]
    bar.set_ticks(ticks, labels=labels, fontsize=8)
    axes.tick_params(length=0, pad=3)
    axes.grid(visible=False)
    figure.text(
        (x + width + 0.14) / plan.width, 1 - (y - 0.13) / plan.height, "percentile (weight)", fontsize=8, color=MUTED
    )
