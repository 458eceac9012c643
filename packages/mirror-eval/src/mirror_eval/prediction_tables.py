"""Anybody's predictions as a table (CSV, TSV, gzip, Parquet): read with care, scored without a store, and written.

One row a patient and fold. Times may be in any unit: concordance only asks who came first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mirror_data.cohort.cells import to_days, to_events
from mirror_data.cohort.columns import OutcomeNames, find
from mirror_data.errors import BadInput, some
from mirror_data.spreadsheet import csv_text
from mirror_data.tables import open_table, read_strings
from mirror_data.whole import check_folder, write_whole


@dataclass(frozen=True)
class RiskColumns:
    """The columns of a table of risks; None is found by the names in brackets."""

    fold: str | None = None  # fold; without such a column everything is one fold
    patient: str | None = None  # patient_id, case_id, id
    risk: str | None = None  # risk
    time: str | None = None  # time_days, time, t, survival_months
    event: str | None = None  # event, status; True or 1 = death or progression
    censorship: str | None = None  # the opposite of event: 1 = NO event
    by: tuple[str, ...] = ()  # every combination of these is scored by itself


@dataclass(frozen=True)
class ClassTable:
    """Predicted classes: the columns of ``by``, then fold (str), patient_id, modality, draw, label, prob_<class> in the
    order of ``classes``.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]


def read_risks(path: str | Path, columns: RiskColumns | None = None) -> pd.DataFrame:
    """A table of risks as the columns of ``by``, then fold (str), patient_id (str), risk, time (float), event (bool).

    Sorted by those, so that results do not depend on the order of rows.

    Raises:
        BadInput: ``BAD_COLUMN``; ``BAD_VALUE`` for a risk that is no number; ``BAD_TIME`` (missing, negative, all
            equal); ``BAD_EVENT``; ``DUPLICATE`` if a patient stands twice in a fold; ``CONFLICT`` if a patient's rows
            tell different outcomes; or as `mirror_data.tables.read_strings`.
    """
    columns = columns or RiskColumns()
    names = open_table(path).names
    if columns.event and columns.censorship:
        message = "an event and a censorship column exclude each other"
        raise BadInput("BAD_OPTION", message, key="--censorship-column")
    fold = _column(names, columns.fold, "--fold-column", ["fold"], path, needed=False)
    patient = _column(names, columns.patient, "--id-column", ["patient_id", "case_id", "id", "patient"], path)
    risk = _column(names, columns.risk, "--risk-column", ["risk", "risk_score"], path)
    time = _column(names, columns.time, "--time-column", ["time_days", "time", "t", "survival_months"], path)
    flagged = columns.censorship is None
    event = _column(names, columns.event, "--event-column", ["event", "status"], path) if flagged else None
    by = [name for name in columns.by if _column(names, name, "--by", [], path)]
    used = [*by, fold, patient, risk, time, event, columns.censorship]
    _column(names, columns.censorship, "--censorship-column", [], path, needed=False)
    cells = _cells(path, [name for name in used if name])
    flags = to_events(cells, OutcomeNames(time or "", "days", event, columns.censorship), path)
    _refuse_missing(flags, "BAD_EVENT", "the event is missing", event or columns.censorship, path)
    table = pd.DataFrame({name: _filled(cells[name], path) for name in by}, index=cells.index)
    table["fold"] = "0" if fold is None else _filled(cells[fold], path)
    table["patient_id"] = _filled(cells[patient], path)
    table["risk"] = _numbers(cells[risk], path)
    table["time"] = to_days(cells[time], "days", path)
    _refuse_missing(table["time"], "BAD_TIME", "the time is missing", time, path)
    table["event"] = flags.astype(bool)
    if len(table) > 1 and table["time"].nunique() == 1:
        raise BadInput("BAD_TIME", "every patient has the same time", file=path, key=time)
    _check_patients(table, [*by, "fold"], ["time", "event"], by, path)
    return table.sort_values([*by, "fold", "patient_id"], kind="stable", ignore_index=True)


def read_classes(path: str | Path, by: Sequence[str] = ()) -> ClassTable:
    """A table of class probabilities: patient_id, label, prob_<class> for every class, and optionally fold, modality
    and draw (support set), as ``subtype --out`` writes them.

    Args:
        by: further columns to keep; a patient may stand in a fold once for each combination of them.

    Raises:
        BadInput: ``BAD_COLUMN``; ``BAD_VALUE`` for probabilities outside [0, 1] or that do not add up to 1;
            ``DUPLICATE``; ``CONFLICT`` if a patient has two labels; ``MISMATCH`` for a label without a column.
    """
    names = open_table(path).names
    classes = tuple(sorted(name.removeprefix("prob_") for name in names if name.startswith("prob_")))
    if len(classes) < 2:
        expected = "a column prob_<class> for each class"
        raise BadInput("BAD_COLUMN", "the table has no class probabilities", file=path, expected=expected)
    fold = _column(names, None, "fold", ["fold"], path, needed=False)
    patient = _column(names, None, "patient_id", ["patient_id", "case_id", "id", "patient"], path)
    label = _column(names, None, "label", ["label", "subtype"], path)
    modality, draw = (_column(names, None, name, [name], path, needed=False) for name in ("modality", "draw"))
    chances = [f"prob_{name}" for name in classes]
    further = [name for name in by if _column(names, name, "--by", [], path)]
    cells = _cells(path, [name for name in (*further, fold, patient, modality, draw, label, *chances) if name])
    table = pd.DataFrame({name: _filled(cells[name], path) for name in further}, index=cells.index)
    table["fold"] = "0" if fold is None else _filled(cells[fold], path)
    table["patient_id"] = _filled(cells[patient], path)
    table["modality"] = "stored" if modality is None else _filled(cells[modality], path)
    table["draw"] = 0 if draw is None else _numbers(cells[draw], path).astype(int)
    table["label"] = _filled(cells[label], path)
    for name in chances:
        table[name] = _numbers(cells[name], path)
    values = table[chances].to_numpy()
    odd = int((((values < 0) | (values > 1)).any(axis=1) | (np.abs(values.sum(axis=1) - 1) > 1e-3)).sum())
    if odd:
        expected = "numbers from 0 to 1 that add up to 1"
        raise BadInput("BAD_VALUE", "probabilities are wrong", file=path, expected=expected, got=f"{odd} rows")
    if unknown := sorted(set(table["label"]) - set(classes)):
        got, expected = some(unknown), some(chances)
        raise BadInput("MISMATCH", "a label has no probability column", file=path, expected=expected, got=got)
    once = list(dict.fromkeys([*further, "modality", "draw", "fold"]))
    _check_patients(table, once, ["label"], further, path)
    order = list(dict.fromkeys([*further, "modality", "fold", "draw", "patient_id"]))
    return ClassTable(table.sort_values(order, kind="stable", ignore_index=True), classes)


def fold_order(fold: str) -> tuple[int, str]:
    """Sorts folds by number where they are numbers, else by name, after those."""
    return (int(fold), fold) if is_number(fold) else (1 << 30, fold)


def is_number(fold: str) -> bool:
    """Whether a fold is named by its number."""
    return fold.isascii() and fold.isdigit() and len(fold) < 10


def write_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a CSV whole or not at all; text that a spreadsheet would run as a formula gets an apostrophe before it.

    Raises:
        BadInput: ``NOT_FOUND`` if the folder is missing, ``UNWRITABLE``.
    """
    check_folder(path)
    write_whole(Path(path), csv_text(table).encode(), "table")
    return Path(path)


def _column(
    names: Sequence[str], given: str | None, option: str, known: list[str], path: object, *, needed: bool = True
) -> str | None:
    """The column an option names, else the first of the known names that the table has."""
    found = (given if given in names else None) if given is not None else find(names, known)
    if found is None and (given is not None or needed):
        message = f"the table has no column {given or known[0]}"
        hint = f"name the column with {option}"
        raise BadInput("BAD_COLUMN", message, file=path, key=option, got=some(names, 12), hint=hint)
    return found


def _cells(path: str | Path, used: list[str]) -> pd.DataFrame:
    frame = read_strings(path, list(dict.fromkeys(used)))
    return pd.DataFrame({name: pd.Series(frame[name].to_list(), dtype=object) for name in frame.columns})


def _filled(cells: pd.Series, path: object) -> pd.Series:
    _refuse_missing(cells, "BAD_VALUE", "a cell is empty", cells.name, path)
    return cells.astype(str)


def _numbers(cells: pd.Series, path: object) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce")
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise BadInput("BAD_VALUE", "values are missing or no numbers", file=path, key=cells.name, got=f"{bad} rows")
    return numbers.astype(float)


def _refuse_missing(cells: pd.Series, code: str, message: str, key: object, path: object) -> None:
    missing = int(cells.isna().sum())
    if missing:
        hint = "leave such patients out of the table"
        raise BadInput(code, message, file=path, key=key, got=f"{missing} rows", hint=hint)


def _check_patients(table: pd.DataFrame, once: list[str], outcome: list[str], within: list[str], path: object) -> None:
    """A patient may stand once in each combination of ``once``, and has one outcome within each of ``within``."""
    repeated = int(table.duplicated([*once, "patient_id"]).sum())
    if repeated:
        hint = "one row a patient and fold: average its slides first; several experiments in one table need --by"
        raise BadInput("DUPLICATE", "a patient stands twice in a fold", file=path, got=f"{repeated} rows", hint=hint)
    told = table.drop_duplicates([*within, "patient_id", *outcome])
    conflicts = int(told.duplicated([*within, "patient_id"]).sum())
    if conflicts:
        message = f"rows of one patient tell different {' and '.join(outcome)}"
        raise BadInput("CONFLICT", message, file=path, got=f"{conflicts} patients")
