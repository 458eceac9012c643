"""Tables as CSV that a spreadsheet opens without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet would run
Cell = TypeVar("Cell")


def unformula(value: Cell) -> Cell | str:
    """The cell, with an apostrophe before text that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """The table as CSV without its index; text that a spreadsheet would run gets an apostrophe before it.

    Args:
        options: of `pandas.DataFrame.to_csv`.
    """
    safe = table.copy()
    for place, kind in enumerate(table.dtypes):
        if kind.kind not in "biuf":
            safe.isetitem(place, [unformula(value) for value in table.iloc[:, place]])
    safe.columns = [unformula(str(name)) for name in table.columns]
    settings: Mapping[str, Any] = {"index": False, "lineterminator": "\n", **options}
    return safe.to_csv(**settings)
