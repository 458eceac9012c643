"""Forest plot: differences between methods with their intervals, and what could have been resolved at all."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from mirror_data.errors import BadInput, some
from mirror_data.whole import write_whole

from mirror_eval.compare import Comparison
from mirror_eval.compared import METRICS
from mirror_eval.figures.theme import BLUE, GREY, GRID, INK, MUTED, ORANGE, SURFACE, Drawing, drawing, to_svg
from mirror_eval.paired_tests import LEVEL
from mirror_eval.prediction_tables import check_folder

FORMATS = (".svg", ".png")
_LONGEST = 48  # characters of a label; longer ones lose their middle
_PLOT, _FIGURES, _ROW = 3.4, 2.3, 0.215  # inches: width of the plot, of the figures beside it, height of a row
_DPI = 200

# What is left of a claim, by colour and by shape: marker, colour, filled.
_STANDING = {
    "holm": ("s", BLUE, True),
    "alone": ("o", ORANGE, True),
    "none": ("o", GREY, False),
}


@dataclass(frozen=True)
class ForestRow:
    """One difference. ``standing``: "holm" (survives the correction), "alone" (p < .05 before it), "none"."""

    group: str  # rows of one group stand under its name; "" for none
    label: str
    difference: float
    low: float  # NaN for no interval
    high: float
    band: float  # differences up to this size could not be told from none; NaN where not known
    standing: str
    p: float  # after correction


def forest_rows(comparison: Comparison) -> tuple[ForestRow, ...]:
    """The rows of a comparison in its order; against a reference the label is the other method."""

    def standing(p: float, p_holm: float) -> str:
        return "holm" if p_holm < LEVEL else "alone" if p < LEVEL else "none"

    return tuple(
        ForestRow(
            group=d.cohort,
            label=_short(d.second) if comparison.reference else f"{_short(d.first, 28)} − {_short(d.second, 28)}",
            difference=d.difference,
            low=d.low,
            high=d.high,
            band=d.resolvable,
            standing=standing(d.p_test, d.p_holm),
            p=d.p_holm,
        )
        for d in comparison.differences
    )


def forest_panel(name: str, comparison: Comparison) -> Drawing:
    """The plot for a page; ``alt`` says in words what it shows."""
    rows = forest_rows(comparison)
    with drawing(*_size(rows)) as figure:
        _draw(figure, comparison, rows)
        kept = sum(row.standing == "holm" for row in rows)
        alt = f"Forest plot of {len(rows)} differences in {METRICS[comparison.metric].name} with 95 % intervals"
        return to_svg(figure, name, f"{alt}; {kept} have p below .05 after Holm's correction")


def check_picture(path: str | Path) -> None:
    """Refuse a name that is no picture we draw.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    if Path(path).suffix.lower() not in FORMATS:
        expected = f"a file ending in {some(FORMATS)}"
        raise BadInput("BAD_OPTION", "no such picture format", key="--plot", expected=expected, got=Path(path).name)


def write_forest(comparison: Comparison, path: str | Path) -> Path:
    """Write the plot as SVG or PNG, by the file's name, on a light ground; whole or not at all.

    Raises:
        BadInput: ``BAD_OPTION`` for another format, ``NOT_FOUND`` if the folder is missing, ``UNWRITABLE``.
    """
    check_picture(path)
    content = _svg(comparison) if Path(path).suffix.lower() == ".svg" else _png(comparison)
    check_folder(path)
    write_whole(Path(path), content, "picture")
    return Path(path)


def _svg(comparison: Comparison) -> bytes:
    """The panel by itself: colours as such, since not every viewer knows variables, and a ground."""
    svg = re.sub(r"var\(--[a-z]+, (#[0-9a-f]{6})\)", r"\1", forest_panel("forest", comparison).svg)
    ground = f'<rect width="100%" height="100%" fill="{SURFACE}"/>'
    return svg.replace("<g", f"{ground}<g", 1).encode()


def _png(comparison: Comparison) -> bytes:
    file, rows = io.BytesIO(), forest_rows(comparison)
    with drawing(*_size(rows)) as figure:
        _draw(figure, comparison, rows)
        figure.savefig(file, format="png", dpi=_DPI, facecolor=SURFACE)
    return file.getvalue()


def _short(name: str, longest: int = _LONGEST) -> str:
    """A name without its middle, where it is long: methods often differ at the end."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _places(rows: Sequence[ForestRow]) -> tuple[list[float], dict[str, float]]:
    """Height of each row and of each group's heading, downwards from 0; a gap before a heading."""
    heights, headings, at = [], {}, 0.0
    for k, row in enumerate(rows):
        if row.group and row.group not in headings:
            at -= 0.6 if k else 0.0
            headings[row.group] = at
            at -= 1.0
        heights.append(at)
        at -= 1.0
    return heights, headings


def _size(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """Inches: as wide as the labels ask, as high as the rows."""
    heights, _ = _places(rows)
    return _PLOT + _FIGURES + 0.066 * max(len(row.label) for row in rows), 1.75 + _ROW * (1 - heights[-1])


def _draw(figure: Figure, comparison: Comparison, rows: Sequence[ForestRow]) -> None:
    heights, headings = _places(rows)
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=(_PLOT, _FIGURES))
    axes.axvline(0, color=INK, linewidth=0.9)
    for row, height in zip(rows, heights, strict=True):
        marker, colour, filled = _STANDING[row.standing]
        if not math.isnan(row.band):
            axes.barh(height, 2 * row.band, 0.72, left=-row.band, color=GRID, linewidth=0, zorder=0.5)
        axes.plot([row.low, row.high], [height] * 2, color=colour, linewidth=1.6, zorder=2)
        axes.plot([row.difference], [height], marker, color=colour, markersize=5.5, zorder=3,
                  markerfacecolor=colour if filled else SURFACE, markeredgewidth=1.3)  # fmt: skip
        _write(beside, height, _texts(row), INK)
    _write(beside, 1.0, ("difference", "95 % interval", "Holm p"), MUTED)
    for name, height in headings.items():
        axes.text(-0.01, height, name, transform=axes.get_yaxis_transform(), ha="right", va="center",
                  fontsize=9, fontweight="bold", color=INK)  # fmt: skip
    axes.set_yticks(heights, labels=[row.label for row in rows], fontsize=8, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))  # labels as wide as -0.075 must not touch
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set(ylim=(heights[-1] - 0.8, 1.5), xlim=_limits(rows), xlabel=_axis_label(comparison))
    beside.axis("off")
    figure.suptitle(
        _title(comparison, int(11 * _size(rows)[0])), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK
    )
    figure.legend(handles=_legend(rows), loc="outside lower left", ncols=2, fontsize=8, columnspacing=1.4)


def _write(axes: Axes, height: float, texts: tuple[str, str, str], colour: str) -> None:
    """The figures of a row, each column flush right."""
    for place, text in zip((0.24, 0.77, 1.0), texts, strict=True):
        axes.text(place, height, text, ha="right", va="center", fontsize=8, color=colour)


def _limits(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """All of the points and intervals, and 0; a band that is wider goes on beyond the edge."""
    ends = np.array([0.0, *(v for row in rows for v in (row.difference, row.low, row.high) if not math.isnan(v))])
    margin = 0.06 * max(float(np.ptp(ends)), 1e-3)
    return float(ends.min()) - margin, float(ends.max()) + margin


def _texts(row: ForestRow) -> tuple[str, str, str]:
    interval = "" if math.isnan(row.low) else f"{_signed(row.low)} to {_signed(row.high)}"
    p = "–" if math.isnan(row.p) else "<.001" if row.p < 0.001 else f"{row.p:.3f}".removeprefix("0")
    return _signed(row.difference), interval, p


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−").replace("0.", ".", 1)


def _title(comparison: Comparison, characters: int) -> str:
    name = METRICS[comparison.metric].name
    if comparison.reference is None:
        return f"Differences in {name}"
    return "\n".join(wrap(f"Differences in {name}: {comparison.reference} against the others", characters))


def _axis_label(comparison: Comparison) -> str:
    better = _short(comparison.reference) if comparison.reference else "the first"
    return f"difference in {METRICS[comparison.metric].name}\n(right of 0, {better} is better)"


def _legend(rows: Sequence[ForestRow]) -> list[Line2D | Patch]:
    """What the shapes say, of those that occur."""
    said = {
        "holm": "p < .05 after Holm's correction",
        "alone": "p < .05, not after Holm's correction",
        "none": "not told from no difference",
    }
    handles: list[Line2D | Patch] = []
    for standing, text in said.items():
        if any(row.standing == standing for row in rows):
            marker, colour, filled = _STANDING[standing]
            face = colour if filled else SURFACE
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=5.5, linewidth=1.6,
                                  markerfacecolor=face, markeredgewidth=1.3, label=text))  # fmt: skip
    if not all(math.isnan(row.band) for row in rows):
        handles.append(Patch(color=GRID, linewidth=0, label="too small to be told from none (p > .05 before Holm)"))
    return handles
