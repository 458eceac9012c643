"""Curves: ROC, calibration, Kaplan-Meier with numbers at risk, Brier score over time, recall at k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirror_eval.calibration import Reliability
from mirror_eval.figures.theme import (
    BLUE,
    DASHES,
    GREY,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    VERMILION,
    Drawing,
    drawing,
    to_svg,
    unit_square,
)
from mirror_eval.kaplan_meier import Curve
from mirror_eval.survival_calibration import SurvivalReliability

DAYS_PER_YEAR = 365.25
DOTTED = (0, (1.5, 2.5))
_GRID = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class RocSeries:
    """ROC curves of one class over the folds: pairs of false and true positive rates, each rising from 0 to 1."""

    label: str
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]

    def mean(self) -> np.ndarray:
        """True positive rate averaged over folds at 201 even false positive rates."""
        return np.mean([_step_at(_GRID, false, true) for false, true in self.folds], axis=0)


@dataclass(frozen=True)
class Line:
    """A named line of a panel."""

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: str


def _step_at(grid: np.ndarray, false: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Height of a ROC curve at each false positive rate; the top of the step where it climbs."""
    return np.interp(grid, false - 1e-12 * np.arange(len(false))[::-1], true)


def roc_panel(name: str, title: str, series: Sequence[RocSeries], alt: str, colour: str = BLUE) -> Drawing:
    """ROC curves of one model: thin lines for folds (of one class), a thick line for their mean."""
    with drawing(3.0, 3.05) as figure:
        axes = figure.add_subplot()
        unit_square(axes, "false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=DOTTED)
        alone = len(series) == 1
        for index, one in enumerate(series):
            shade = colour if alone else PALETTE[index % len(PALETTE)]
            for false, true in one.folds if alone else ():
                axes.plot(false, true, color=shade, linewidth=0.9, alpha=0.35)
            mean = np.r_[0, one.mean()]  # up from the corner
            axes.plot(np.r_[0, _GRID], mean, color=shade, linestyle=DASHES[index % len(DASHES)], label=one.label)
        axes.set_title(title)
        axes.legend(loc="lower right", handlelength=1.4)
        return to_svg(figure, name, alt)


def reliability_panel(name: str, title: str, curve: Reliability, label: str, alt: str, colour: str) -> Drawing:
    """Observed against predicted frequency; the area of a dot says how many patients it stands for."""
    with drawing(3.0, 3.05) as figure:
        axes = figure.add_subplot()
        unit_square(axes, "predicted probability", "observed frequency")
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=DOTTED)
        axes.plot(curve.predicted, curve.observed, color=colour, linewidth=1.4)
        sizes = 20 + 160 * curve.count / curve.count.max()
        axes.scatter(
            curve.predicted, curve.observed, s=sizes, color=colour, alpha=0.75, linewidths=0, clip_on=False, zorder=3
        )
        axes.text(0.98, 0.03, label, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5, color=INK)
        axes.set_title(title)
        return to_svg(figure, name, alt)


def survival_reliability_panel(
    name: str, title: str, curve: SurvivalReliability, label: str, alt: str, colour: str
) -> Drawing:
    """Kaplan-Meier against predicted survival of groups of patients, with the intervals of the former."""
    known = ~np.isnan(curve.observed)
    predicted, observed = curve.predicted[known], curve.observed[known]
    reach = np.maximum([observed - curve.low[known], curve.high[known] - observed], 0)
    with drawing(3.0, 3.05) as figure:
        axes = figure.add_subplot()
        unit_square(axes, "predicted survival", "observed survival")
        least = min([*predicted, *curve.low[known]], default=0.0)
        bounds = (np.floor(4 * least) / 4 - 0.02 if least < 0.75 else 0.73, 1.02)  # where few die, all is near 1
        axes.set(xlim=bounds, ylim=bounds)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=DOTTED)
        axes.errorbar(predicted, observed, yerr=reach, color=colour, linewidth=1.4, elinewidth=1.1, marker="o",
                      markersize=6, clip_on=False)  # fmt: skip
        axes.text(0.98, 0.03, label, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5, color=INK)
        axes.set_title(title)
        return to_svg(figure, name, alt)


def kaplan_meier_panel(
    name: str, title: str, groups: Sequence[tuple[str, Curve]], note: str, alt: str, width: float = 5.0
) -> Drawing:
    """Survival of risk groups with pointwise intervals, censoring ticks and numbers at risk below."""
    last = max(curve.times[-1] for _, curve in groups) / DAYS_PER_YEAR
    ticks = _time_ticks(last)
    with drawing(width, 3.2 + 0.2 * len(groups)) as figure:
        axes, below = figure.subplots(2, 1, height_ratios=(1, 0.075 * len(groups) + 0.07), sharex=True)
        for index, (label, curve) in enumerate(groups):
            colour = (BLUE, VERMILION)[index] if len(groups) == 2 else PALETTE[index % len(PALETTE)]
            years = curve.times / DAYS_PER_YEAR
            style = DASHES[index % len(DASHES)]
            axes.fill_between(years, curve.low, curve.high, step="post", color=colour, alpha=0.13, linewidth=0)
            axes.step(years, curve.survival, where="post", color=colour, linestyle=style, label=label)
            censored = curve.at_risk - curve.events > np.append(curve.at_risk[1:], 0)
            axes.plot(years[censored], curve.survival[censored], "|", color=colour, markersize=7, markeredgewidth=1.1)
            at_risk = curve.numbers_at_risk(ticks * DAYS_PER_YEAR)
            for year, count in zip(ticks, at_risk, strict=True):
                below.text(year, -index, str(int(count)), ha="center", va="center", fontsize=8.5, color=INK)
            below.text(-0.04, -index, label, ha="right", va="center", color=INK, fontsize=8.5,
                       transform=below.get_yaxis_transform())  # fmt: skip
        axes.set(ylim=(-0.02, 1.03), xlim=(-0.02 * last, last * 1.03), ylabel="still event-free")
        axes.tick_params(labelbottom=True)
        axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.set_xlabel("years", labelpad=1)
        axes.text(0.99, 0.98, note, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=MUTED)
        axes.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), handlelength=2.2, ncols=len(groups), borderpad=0)
        axes.set_title(title)
        below.text(-0.04, 0.95, "at risk", ha="right", va="center", color=MUTED, fontsize=8.5,
                   transform=below.get_yaxis_transform())  # fmt: skip
        below.set(ylim=(0.6 - len(groups), 1.4))
        below.axis("off")
        figure.set_layout_engine("constrained", hspace=0, h_pad=0.01)
        return to_svg(figure, name, alt)


def _time_ticks(last: float) -> np.ndarray:
    """Four to eight even ticks from 0 to the last year."""
    for step in (0.25, 0.5, 1, 2, 5, 10):
        if last / step <= 8:
            return np.arange(0, last + 1e-9, step)
    return np.linspace(0, last, 6)


def lines_panel(
    name: str,
    title: str,
    lines: Sequence[Line],
    labels: tuple[str, str],
    alt: str,
    *,
    bottom: float | None = 0.0,
    legend: bool = True,
) -> Drawing:
    """Lines over a common x, the last one thin and dotted: what the others must beat.

    Args:
        labels: of x and y. bottom: where y begins; None leaves it to the lines. legend: False beside a panel that has
            the same.
    """
    others = [style for style in DASHES if style != (0, (1.5, 1.5))]  # nothing else is dotted
    with drawing(4.2, 3.05) as figure:
        axes = figure.add_subplot()
        for index, line in enumerate(lines):
            last = line is lines[-1]
            style, width = (DOTTED, 1.6) if last else (others[index % len(others)], 2.0)
            axes.plot(line.x, line.y, color=line.colour, linestyle=style, linewidth=width, label=line.label)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.set_ylim(bottom=bottom)
        if legend:
            axes.legend(loc="best")
        axes.set_title(title)
        return to_svg(figure, name, alt)


def scores_panel(
    name: str, title: str, rows: Sequence[tuple[str, Sequence[float], float, float, float]], reference: float, alt: str
) -> Drawing:
    """One line a row: the folds as small dots, the mean as a large one with its interval, and a line to beat.

    Args:
        rows: label, values of the folds, mean, low, high.
        reference: where chance is.
    """
    with drawing(4.2, 1.05 + 0.62 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(reference, color=GREY, linewidth=1.2, linestyle=DOTTED)
        for index, (_, folds, mean, low, high) in enumerate(rows):
            colour = PALETTE[index % len(PALETTE)]
            axes.plot([low, high], [-index] * 2, color=colour, linewidth=2.2)
            axes.plot(folds, np.full(len(folds), -index + 0.22), "o", color=colour, markersize=3.2, alpha=0.55)
            axes.plot([mean], [-index], MARKERS[index % len(MARKERS)], color=colour, markersize=8)
        axes.set_yticks(-np.arange(len(rows)), labels=[row[0] for row in rows])
        axes.set(ylim=(-len(rows) + 0.45, 0.75), xlim=(-0.02, 1.02))
        axes.grid(axis="y", visible=False)
        axes.text(reference, 1.0, "  chance", transform=axes.get_xaxis_transform(), va="top", fontsize=8.5, color=MUTED)
        axes.set_title(title)
        return to_svg(figure, name, alt)
