"""What a section of the report is made of. Text is plain, the template escapes it; only our drawings are markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from mirror_data import spreadsheet

from mirror_eval.figures.theme import Drawing
from mirror_eval.results import Score


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, a smaller second line, and what it is sorted by if that is not the text."""

    text: str
    detail: str = ""
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows. ``reference`` rows stand below a rule and are sorted apart."""

    id: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    reference: tuple[tuple[Cell, ...], ...] = ()
    note: str = ""
    csv: str = ""  # the same numbers in full, as a file to download
    sortable: bool = True
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Key:
    """An entry of a legend: label, colour variable of the page, glyph."""

    label: str
    colour: str
    glyph: str = "●"


@dataclass(frozen=True)
class Figure:
    """One or more panels under one caption."""

    id: str
    caption: str
    panels: tuple[Drawing, ...]
    legend: tuple[Key, ...] = ()
    csv: str = ""
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True)
class Text:
    """A paragraph. ``copyable`` gives it a button that copies it."""

    text: str
    copyable: bool = False
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Facts:
    """Names and values, folded away under a title."""

    title: str
    items: tuple[tuple[str, str], ...]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True)
class Absent:
    """What is not shown, and why."""

    what: str
    reason: str
    kind: str = field(default="absent", init=False)


Block = Table | Figure | Text | Facts | Absent


@dataclass(frozen=True)
class Section:
    """A part of the page with its own heading."""

    id: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tile:
    """A number to remember."""

    label: str
    value: str
    detail: str


def number(value: float, digits: int = 3) -> str:
    """0.954 as ".954" would be terse; "–" where it is not defined."""
    return "–" if value != value else f"{value:.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """A p value as text."""
    if p != p:
        return "p not defined"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def score_cell(score: Score, digits: int = 3) -> Cell:
    """Mean and sd over folds, the interval below."""
    if score.mean != score.mean:
        return Cell("–", "not defined", float("-inf"))
    interval = f"{number(score.low, digits)} to {number(score.high, digits)}" if score.low == score.low else ""
    return Cell(f"{number(score.mean, digits)} ± {number(score.sd, digits)}", interval, score.mean)


def count(number_of: int, one: str, many: str | None = None) -> str:
    """ "1 patient", "1,200 patients"."""
    return f"{number_of:,} {one if number_of == 1 else many or one + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV, numbers to six digits. Text that a spreadsheet would run is quoted with an apostrophe."""
    return spreadsheet.csv_text(table, float_format="%.6g")
