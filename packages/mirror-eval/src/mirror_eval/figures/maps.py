"""Maps: scatter of embeddings, similarity matrix, who has what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mirror_eval.figures.theme import (
    BLUE,
    GREY,
    GRID,
    INK,
    MUTED,
    VERMILION,
    Drawing,
    drawing,
    to_svg,
)

# Dark blue through near-white to dark orange: read alike with any common colour vision.
DIVERGING = LinearSegmentedColormap.from_list("blue_orange", ["#08519c", BLUE, "#f5f5f2", "#e69f00", "#a63603"])


def scatter_panel(
    name: str,
    title: str,
    xy: np.ndarray,
    labels: Sequence[str],
    filled: np.ndarray,
    styles: Mapping[str, tuple[str, str]],
    alt: str,
) -> Drawing:
    """Points (n, 2) in the colour and marker of their label, filled or as outlines. "" is a patient without a label."""
    names = np.asarray(labels, dtype=object)
    with drawing(3.0, 3.0) as figure:
        axes = figure.add_subplot()
        axes.set(xticks=[], yticks=[])
        axes.margins(0.07)
        for side in axes.spines.values():
            side.set(visible=True, color=GRID)
        size = float(np.clip(2600 / max(len(xy), 1), 9, 46))
        for one, (colour, marker) in {"": (GREY, "."), **styles}.items():
            mine = names == one
            axes.scatter(*xy[mine & ~filled].T, s=size, marker=marker, facecolors="none", edgecolors=colour,
                         linewidths=1.0, alpha=0.75)  # fmt: skip
            axes.scatter(*xy[mine & filled].T, s=size * 1.15, marker=marker, color=colour, linewidths=0, alpha=0.95)
        axes.set_title(title)
        return to_svg(figure, name, alt)


def similarity_panel(
    name: str, title: str, similarity: np.ndarray, sizes: Sequence[tuple[str, int]], alt: str
) -> Drawing:
    """Similarity (n, n) of slides (rows) and RNA (columns), patients ordered by class; lines part the classes."""
    with drawing(3.4, 3.05) as figure:
        axes = figure.add_subplot()
        bound = float(np.abs(similarity).max()) or 1.0
        image = axes.imshow(similarity, cmap=DIVERGING, vmin=-bound, vmax=bound, interpolation="none", aspect="equal")
        middle, ticks = 0.0, []
        for label, count in sizes:
            ticks.append((middle + count / 2 - 0.5, label))
            middle += count
            if middle < len(similarity):
                axes.axhline(middle - 0.5, color=INK, linewidth=0.8)
                axes.axvline(middle - 0.5, color=INK, linewidth=0.8)
        narrow = min((count for _, count in sizes), default=0) < 0.2 * len(similarity)  # its name would hit the next
        places, labels = [at for at, _ in ticks], [label for _, label in ticks]
        axes.set_xticks(places, labels=labels, rotation=90 if narrow else 0)
        axes.set_yticks(places, labels=labels, rotation=0 if narrow else 90, va="center")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.set(xlabel="RNA of", ylabel="slide of")
        _colour_bar(figure, image, axes, "cosine similarity")
        axes.set_title(title)
        return to_svg(figure, name, alt)


def _colour_bar(figure, image, axes, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=22, label=label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    for artist in bar.ax.collections:
        artist.set_rasterized(True)


def overlap_panel(name: str, sets: Sequence[str], rows: Sequence[tuple[tuple[bool, ...], int]], alt: str) -> Drawing:
    """Who has what: a row a combination of the sets, with dots for what those patients have and a bar for their number.

    Args:
        rows: for each combination, membership in each set and the number of patients.
    """
    with drawing(5.4, 0.75 + 0.27 * len(rows)) as figure:
        dots, bars = figure.subplots(1, 2, width_ratios=(0.75 * len(sets), 2.4), sharey=True)
        most = max((count for _, count in rows), default=1)
        for index, (has, count) in enumerate(rows):
            complete = all(has)
            colour = BLUE if complete else VERMILION
            on = [k for k, present in enumerate(has) if present]
            dots.plot(np.arange(len(sets)), [-index] * len(sets), "o", color=GRID, markersize=8)
            dots.plot(on, [-index] * len(on), "o-", color=colour, markersize=8, linewidth=1.6)
            bars.barh(-index, count, height=0.56, color=colour, linewidth=0)
            bars.text(count + most * 0.02, -index, f"{count:,}", va="center", color=INK)
        dots.set_xticks(np.arange(len(sets)), labels=sets)
        dots.xaxis.tick_top()
        dots.tick_params(length=0)
        dots.set(yticks=[], xlim=(-0.5, len(sets) - 0.5), ylim=(-len(rows) + 0.4, 0.6))
        bars.set(xlim=(0, most * 1.15))
        for axes in (dots, bars):
            axes.grid(visible=False)
            for side in axes.spines.values():
                side.set_visible(False)
        bars.set_xticks([])
        bars.set_title("patients", fontsize=9, fontweight="normal", color=MUTED)
        return to_svg(figure, name, alt)
