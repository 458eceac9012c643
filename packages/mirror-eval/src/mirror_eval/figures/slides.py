"""Attention of a run over a slide: the thumbnail, the map of where the model looked, and its top tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from mirror_eval.attention import SlideAttention, percentiles
from mirror_eval.figures.marks import place_marks
from mirror_eval.figures.theme import INK, MUTED, Drawing, drawing, to_svg

COLOURS = "viridis"
MOST_PX = 720  # longer side of a thumbnail embedded in a page
OPACITY = 0.7
WIDE = 4.4  # inches
GLASS = 244  # grey level where there is no picture of the slide
TOP = 5  # tiles marked
MARK = 0.19  # inches, diameter of a number on a map
_BAR_SHARE = 0.28  # a scale bar is at most this much of the picture's width


@dataclass(frozen=True)
class AttentionMap:
    """Attention laid over a thumbnail.

    ``thumbnail`` uint8 (h, w, 3); ``corners`` float (N, 2), x and y of each tile's top left in thumbnail pixels;
    ``side`` the tile's width and height there; ``weights`` (N,), sums to 1; ``weighed`` bool (N,), the tiles that the
    network was shown; ``top`` indices of the tiles with most attention, most first; ``um_per_px`` micrometres a
    thumbnail pixel is wide, None where unknown; ``blank`` if there is no picture of the slide.
    """

    thumbnail: np.ndarray
    corners: np.ndarray
    side: tuple[float, float]
    weights: np.ndarray
    weighed: np.ndarray
    top: np.ndarray
    um_per_px: float | None = None
    blank: bool = False

    @property
    def relative(self) -> np.ndarray:
        """Weight of each tile over an even share: 1 is average."""
        return self.weights * self.weighed.sum()

    def colours(self) -> np.ndarray:
        """float (h, w, 4): each tile by its percentile, overlapping tiles averaged; clear where no tile was weighed."""
        height, width = self.thumbnail.shape[:2]
        values = percentiles(self.weights, self.weighed) / 100
        total, count = np.zeros((height, width)), np.zeros((height, width))
        starts = np.rint(self.corners).astype(int)  # neighbours share an edge, and so neither a gap nor a pixel
        ends = np.maximum(np.rint(self.corners + self.side).astype(int), starts + 1)
        for index in np.flatnonzero(self.weighed):
            (x, y), (x_end, y_end) = starts[index], ends[index]
            total[y:y_end, x:x_end] += values[index]
            count[y:y_end, x:x_end] += 1
        found = mpl.colormaps[COLOURS](total / np.maximum(count, 1))
        found[..., 3] = np.where(count > 0, OPACITY, 0)
        return found

    def underlay(self) -> np.ndarray:
        """uint8 (h, w, 3): the thumbnail in pale grey, so that colour means attention alone."""
        grey = self.thumbnail @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
        return np.repeat((0.75 * grey + 0.25 * 255).astype(np.uint8)[..., None], 3, axis=2)


def attention_map(
    thumbnail: np.ndarray,
    slide_size: tuple[int, int],
    coords: np.ndarray,
    tile_px_level0: float,
    weights: np.ndarray,
    top: int = TOP,
    *,
    weighed: np.ndarray | None = None,
    um_per_px: float | None = None,
    most_px: int = MOST_PX,
) -> AttentionMap:
    """Scale tiles from level-0 pixels to the thumbnail.

    Args:
        thumbnail: uint8 (h, w, 3) of the whole slide.
        slide_size: width and height in level-0 pixels.
        coords: (N, 2), x and y of each tile in level-0 pixels.
        weights: (N,) attention.
        top: how many tiles to mark.
        weighed: bool (N,), the tiles that the network was shown; None for all.
        um_per_px: micrometres per level-0 pixel.
        most_px: a thumbnail whose longer side is above this is thinned.
    """
    small = _thinned(thumbnail, math.ceil(max(thumbnail.shape[:2]) / most_px))
    scale = np.array([small.shape[1] / slide_size[0], small.shape[0] / slide_size[1]])
    weighed = np.ones(len(weights), dtype=bool) if weighed is None else weighed
    order = np.argsort(-weights, kind="stable")
    side = (float(tile_px_level0 * scale[0]), float(tile_px_level0 * scale[1]))
    um = None if um_per_px is None else float(um_per_px / scale[0])
    return AttentionMap(small, coords * scale, side, weights, weighed, order[weighed[order]][:top], um)


def map_of(shown: SlideAttention, top: int = TOP, most_px: int = MOST_PX) -> AttentionMap:
    """The map of a slide as the store has it; over an even grey where there is no thumbnail."""
    thumbnail, (width, height) = shown.slide.thumbnail, shown.extent
    blank = thumbnail is None or shown.slide.size is None
    if thumbnail is None or blank:
        scale = min(1.0, most_px / max(width, height))
        thumbnail = np.full((max(1, round(height * scale)), max(1, round(width * scale)), 3), GLASS, np.uint8)
    how = {"weighed": shown.weighed, "um_per_px": shown.um_per_px, "most_px": most_px}
    found = attention_map(thumbnail, (width, height), shown.coords, shown.tile_px_level0, shown.weights, top, **how)
    return replace(found, blank=blank)


def _thinned(picture: np.ndarray, step: int) -> np.ndarray:
    """Blocks of step x step pixels averaged, those at the far edges over what there is of them."""
    if step <= 1:
        return picture
    height, width = picture.shape[:2]
    beyond = ((0, -height % step), (0, -width % step), (0, 0))
    blocks = np.pad(picture, beyond, mode="edge").reshape(-(-height // step), step, -(-width // step), step, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def thumbnail_panel(name: str, title: str, shown: AttentionMap, alt: str) -> Drawing:
    """The slide as it is, with the marked tiles framed."""
    with drawing(*_size(shown)) as figure:
        axes = figure.add_subplot()
        draw_slide(axes, shown)
        axes.set_title(title)
        return to_svg(figure, name, alt, photographs=1)


def attention_panel(name: str, title: str, shown: AttentionMap, alt: str) -> Drawing:
    """The slide under its attention, the marked tiles framed and numbered."""
    with drawing(*_size(shown)) as figure:
        axes = figure.add_subplot()
        draw_attention(axes, shown, shown.thumbnail.shape[1] / WIDE)
        axes.set_title(title)
        return to_svg(figure, name, alt, photographs=1)


def tiles_panel(name: str, title: str, pictures: Sequence[np.ndarray], captions: Sequence[str], alt: str) -> Drawing:
    """Tiles side by side, numbered as on the map, each over its caption."""
    with drawing(1.5 * len(pictures), 2.1) as figure:
        for index, (axes, picture, caption) in enumerate(
            zip(np.atleast_1d(figure.subplots(1, len(pictures))), pictures, captions, strict=True), start=1
        ):
            draw_tile(axes, picture, index, caption)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
        return to_svg(figure, name, alt, photographs=len(pictures))


def _size(shown: AttentionMap) -> tuple[float, float]:
    """Width and height in inches of a panel, title and scale bar included."""
    height, width = shown.thumbnail.shape[:2]
    return WIDE, float(np.clip(WIDE * height / width, 1.6, 6.0)) + 0.55


def draw_slide(axes: Axes, shown: AttentionMap) -> None:
    """The thumbnail with the marked tiles framed, and a scale bar."""
    axes.imshow(shown.thumbnail, interpolation="none")
    _bare(axes)
    _frame(axes, shown)
    _scale_bar(axes, shown)


def draw_attention(axes: Axes, shown: AttentionMap, px_per_inch: float) -> None:
    """The map with the marked tiles framed and numbered, and a scale bar.

    Args:
        px_per_inch: thumbnail pixels an inch of the drawing holds.
    """
    axes.imshow(shown.underlay(), interpolation="none")
    axes.imshow(shown.colours(), interpolation="none")
    _bare(axes)
    _frame(axes, shown)
    height, width = shown.thumbnail.shape[:2]
    corners = shown.corners[shown.top] - 0.5  # pixel centres lie at whole numbers
    boxes = np.column_stack([corners, corners + shown.side])  # (k, 4)
    places = place_marks(boxes, MARK * px_per_inch, (width, height))
    for number, ((x, y), box) in enumerate(zip(places, boxes, strict=True), start=1):
        near_x, near_y = np.clip((x, y), box[:2], box[2:])
        axes.plot([x, near_x], [y, near_y], color="#ffffff", linewidth=1.9)
        axes.plot([x, near_x], [y, near_y], color="#000000", linewidth=0.8)
        disc = {"boxstyle": "circle,pad=0.15", "facecolor": "#ffffff", "edgecolor": "#000000", "linewidth": 0.6}
        axes.text(float(x), float(y), str(number), ha="center", va="center_baseline", color="#000000", fontsize=8,
                  fontweight="bold", bbox=disc)  # fmt: skip
    _scale_bar(axes, shown)


def draw_tile(axes: Axes, picture: np.ndarray, number: int, caption: str) -> None:
    """One tile with its number and a caption."""
    axes.imshow(picture, interpolation="none")
    _bare(axes)
    axes.set_title(str(number), fontsize=9, pad=3)
    axes.set_xlabel(caption, fontsize=8, labelpad=3)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)


def _frame(axes: Axes, shown: AttentionMap) -> None:
    thin = 0.5 if shown.side[0] < shown.thumbnail.shape[1] / 40 else 1.0  # so that a small tile stays visible
    for index in shown.top:
        place = tuple(shown.corners[index] - 0.5)  # pixel centres lie at whole numbers
        axes.add_patch(Rectangle(place, *shown.side, fill=False, edgecolor="#ffffff", linewidth=2.4 * thin))
        axes.add_patch(Rectangle(place, *shown.side, fill=False, edgecolor="#000000", linewidth=1.0 * thin))


def _scale_bar(axes: Axes, shown: AttentionMap) -> None:
    """A bar of a round length under the picture; nothing where the pixel size is unknown."""
    if shown.um_per_px is None:
        return
    length = round_length(shown.thumbnail.shape[1] * _BAR_SHARE * shown.um_per_px)
    end = length / shown.um_per_px - 0.5
    below = ScaledTranslation(0, -8 / 72, axes.figure.dpi_scale_trans)
    across = axes.get_xaxis_transform() + below  # x in pixels, y 8 points under the picture
    axes.plot([-0.5, end], [0, 0], color=INK, linewidth=2.2, solid_capstyle="butt", clip_on=False, transform=across)
    axes.annotate(f"{length:,g} µm", (end, 0), (5, 0), xycoords=across, textcoords="offset points", va="center",
                  fontsize=8, color=MUTED, annotation_clip=False)  # fmt: skip


def times(relative: float) -> str:
    """A weight over an even share in three digits, "12.3"."""
    if relative < 0.001:
        return "<0.001"
    return f"{relative:,.0f}" if relative >= 99.95 else f"{relative:#.3g}"


def round_length(most: float) -> float:
    """The largest of 1, 2 or 5 times a power of ten that is not above ``most``."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9))
