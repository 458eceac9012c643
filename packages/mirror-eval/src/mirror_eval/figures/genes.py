"""Genes: heatmap by class, spread of single genes by class, cross-validated score by number of genes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.ticker import StrMethodFormatter

from mirror_eval.figures.maps import DIVERGING
from mirror_eval.figures.theme import BLUE, INK, MUTED, VERMILION, Drawing, class_styles, drawing, to_svg


def gene_panel(
    name: str,
    values: np.ndarray,
    genes: Sequence[str],
    sizes: Sequence[tuple[str, int]],
    marked: Sequence[bool],
    alt: str,
) -> Drawing:
    """Standardised expression (genes, patients), patients ordered by class under a strip that names the classes.

    Args:
        marked: genes whose names are starred (the cancer-gene list).
    """
    with drawing(7.4, 0.75 + 0.155 * len(genes)) as figure:
        strip, axes = figure.subplots(2, 1, height_ratios=(1, max(len(genes), 4) * 0.75), sharex=True)
        image = axes.imshow(values, cmap=DIVERGING, norm=Normalize(-2.5, 2.5), interpolation="none", aspect="auto")
        names = [f"{gene} *" if star else gene for gene, star in zip(genes, marked, strict=True)]
        axes.set_yticks(np.arange(len(genes)), labels=names, fontsize=7.5, color=INK)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.grid(visible=False)
        start = 0
        for (label, count), (colour, _) in zip(sizes, class_styles([c for c, _ in sizes]).values(), strict=True):
            strip.barh(0, count - 0.15, left=start - 0.425, height=0.5, color=colour, linewidth=0)
            strip.text(start + count / 2 - 0.5, 0.42, label, ha="center", va="bottom", fontsize=8.5, color=INK)
            start += count
            if start < values.shape[1]:
                axes.axvline(start - 0.5, color="#ffffff", linewidth=1.6)
        strip.set(ylim=(-0.3, 1.6))
        strip.axis("off")
        for side in axes.spines.values():
            side.set_visible(False)
        bar = figure.colorbar(image, ax=[strip, axes], shrink=0.8, aspect=30, label="SD from the mean")
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        for artist in bar.ax.collections:
            artist.set_rasterized(True)
        return to_svg(figure, name, alt)


def spread_panel(
    name: str,
    values: np.ndarray,
    genes: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    unit: str,
    alt: str,
) -> Drawing:
    """Boxes of single genes, one a class: quartiles and median, whiskers to 1.5 times their distance, points beyond.

    Args:
        values: expression (genes, patients) in ``unit``.
        labels: class of each patient.
    """
    label_of = np.asarray(labels, dtype=object)
    width = 0.8 / len(classes)
    with drawing(7.4, 3.2) as figure:
        axes = figure.add_subplot()
        for index, (one, (colour, marker)) in enumerate(class_styles(classes).items()):
            places = np.arange(len(genes)) + (index - (len(classes) - 1) / 2) * width
            boxes = axes.boxplot(
                list(values[:, label_of == one]),
                positions=places,
                widths=width * 0.8,
                patch_artist=True,
                manage_ticks=False,
                flierprops={"marker": marker, "markersize": 2, "markerfacecolor": colour, "markeredgewidth": 0},
                medianprops={"color": INK, "linewidth": 1.4},
                whiskerprops={"color": colour},
                capprops={"color": colour},
                boxprops={"color": colour, "facecolor": colour, "alpha": 0.55},
                label=one,
            )
            for artist in boxes["fliers"]:
                artist.set_rasterized(True)
        axes.set_xticks(np.arange(len(genes)), labels=list(genes), fontsize=8, color=INK)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        axes.set(xlim=(-0.6, len(genes) - 0.4), ylabel=unit)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(classes), 6))
        return to_svg(figure, name, alt)


def selection_panel(
    name: str, sizes: np.ndarray, score: np.ndarray, sd: np.ndarray, best: int, what: str, alt: str
) -> Drawing:
    """Cross-validated score (higher is better) by number of genes, with the deviation over the inner folds.

    Args:
        sizes, score, sd: (rounds,).
        best: the number of genes that was chosen.
        what: name of the score.
    """
    order = np.argsort(sizes)
    sizes, score, sd = sizes[order], score[order], sd[order]
    with drawing(4.2, 3.05) as figure:
        axes = figure.add_subplot()
        axes.fill_between(sizes, score - sd, score + sd, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(sizes, score, color=BLUE, marker=".", markersize=4, linewidth=1.4)
        height = float(score[np.flatnonzero(sizes == best)[0]])
        axes.plot([best], [height], "o", color=VERMILION, markersize=8)
        text = f"{best:,} genes, {height:.3f}"
        axes.annotate(text, (best, height), (6, 8), textcoords="offset points", color=MUTED, fontsize=8.5)
        axes.set(xlabel="genes left", ylabel=f"{what}, inner folds", xscale="log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.minorticks_off()
        axes.set_title("Number of genes")
        return to_svg(figure, name, alt)
