"""Cells to numbers, and what is wrong with those that are none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mirror_data.errors import BadInput
from mirror_data.tables import MISSING

_MOST = float(np.finfo(np.float32).max)  # what the store can hold; beyond it a value is as good as infinite
_COMMA = re.compile(r"^[+-]?\d+,\d+$")


@dataclass
class Faults:
    """Cells that cannot be used, counted while a table is read."""

    missing: int = 0
    infinite: int = 0
    comma: int = 0
    text: int = 0
    where: str = ""  # the gene of the first

    def refuse(self, file: object, allow_missing: bool) -> None:
        """Raise ``BAD_VALUE`` if there was any (that is not allowed)."""
        counts = (
            (0 if allow_missing else self.missing, "missing or NaN"),
            (self.infinite, "infinite, or beyond 3.4e38"),
            (self.comma, "written with a decimal comma"),
            (self.text, "text"),
        )
        found = [f"{count} {what}" for count, what in counts if count]
        if not found:
            return
        hint = (
            "use a decimal point" if self.comma else "remove those genes or samples, or take the table from its source"
        )
        if self.missing and not (self.infinite or self.comma or self.text):
            hint = "leave out incomplete genes with --missing drop-genes, or take a complete table"
        raise BadInput(
            "BAD_VALUE",
            "the table holds cells that are no finite numbers",
            file=file,
            key=f"first in {self.where}" if self.where else None,
            got=", ".join(found),
            hint=hint,
        )


def to_numbers(frame: pl.DataFrame, faults: Faults, genes: Sequence[str], genes_are_rows: bool) -> np.ndarray:
    """Cells (rows, columns) as float64; NaN where a cell is missing or no number, with counts in ``faults``."""
    if all(kind == pl.Float64 for kind in frame.dtypes):
        values = frame.to_numpy().astype(np.float64)  # a copy: Polars' own cannot be written to
        odd = 0
    else:
        values, odd = _from_text(frame, faults)
    values[np.abs(values) > _MOST] = np.inf
    wrong = ~np.isfinite(values)
    if wrong.any():
        infinite = int(np.isinf(values).sum())
        faults.infinite += infinite
        faults.missing += int(wrong.sum()) - infinite - odd
        faults.where = faults.where or genes[int(np.flatnonzero(wrong.any(axis=1 if genes_are_rows else 0))[0])]
    return values


def _from_text(frame: pl.DataFrame, faults: Faults) -> tuple[np.ndarray, int]:
    """Values, and how many cells are text that is neither a number nor a sign for missing."""
    columns, odd = [], 0
    for name in frame.columns:
        cells = frame[name].cast(pl.String).str.strip_chars()
        numbers = cells.cast(pl.Float64, strict=False)
        words = cells.filter(numbers.is_null() & cells.is_not_null() & ~cells.is_in(MISSING)).to_list()
        commas = sum(1 for word in words if _COMMA.match(word))
        faults.comma += commas
        faults.text += len(words) - commas
        odd += len(words)
        columns.append(numbers.fill_null(np.nan).to_numpy())
    return np.column_stack(columns), odd
