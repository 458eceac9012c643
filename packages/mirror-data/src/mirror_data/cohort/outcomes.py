"""A clinical table of anybody's to `Patients`: time in days, event (True = death or progression), subtype, covariates.

Rows of one patient (one a slide) become one; they must agree. Whatever is missing stays missing, with a count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mirror_data import ids
from mirror_data.cohort.cells import to_days, to_events, to_words
from mirror_data.cohort.columns import Chosen, OutcomeNames, OutcomeOptions, choose_columns
from mirror_data.cohort.members import NOT_WANTED
from mirror_data.errors import BadInput
from mirror_data.store import Patients
from mirror_data.tables import file_digest, open_table, read_strings


@dataclass(frozen=True)
class OutcomeTable:
    """What was read, and what was not."""

    patients: Patients
    columns: tuple[Chosen, ...]  # of each table
    rows: int
    dropped: tuple[tuple[str, int], ...]  # patients left out: reason, count
    without_outcome: tuple[tuple[str, int], ...]  # patients kept whose outcome is missing: reason, count
    without_subtype: tuple[tuple[str, int], ...]


def read_outcome_table(
    path: str | Path, options: OutcomeOptions, *, wanted: Collection[str] | None = None
) -> OutcomeTable:
    """Read one table and join the rows of each patient.

    Args:
        wanted: patients to keep, everybody if None.

    Raises:
        BadInput: ``BAD_TIME``, ``BAD_EVENT``, ``CONFLICT``, ``NO_OVERLAP``, ``MISSING_COLUMN``, ``BAD_OPTION``, or as
            `mirror_data.tables.read_strings`.
    """
    names = open_table(path).names
    chosen = choose_columns(names, options, path)
    used = [chosen.patient, chosen.subtype, chosen.site, *(column for _, column in chosen.covariates)]
    if chosen.outcome:
        used += [chosen.outcome.time, chosen.outcome.event, chosen.outcome.censorship]
    cells = read_strings(path, list(dict.fromkeys(name for name in used if name is not None)))
    cells = pd.DataFrame({name: pd.Series(cells[name].to_list(), dtype=object) for name in cells.columns})
    people = cells[chosen.patient]
    owner = people.dropna().map(lambda name: options.naming(ids.patient_id(name)))
    keep = owner if wanted is None else owner[owner.isin(wanted)]
    dropped = [("row without a patient id", int(people.isna().sum()))]
    dropped.append((NOT_WANTED, owner.nunique() - keep.nunique()))
    if keep.empty:
        raise BadInput(
            "NO_OVERLAP",
            "no patient of the table belongs to the cohort",
            file=path,
            key=chosen.patient,
            got=f"{owner.nunique()} patients in the table, {len(wanted or ())} in the cohort, none in both",
            hint="check --patient-column and --patients; TCGA barcodes join on 12 characters, other ids as they stand",
        )
    rows = cells.loc[keep.index]
    patient = keep.to_numpy()
    table = pd.DataFrame(index=pd.Index(sorted(set(patient)), name="patient_id", dtype=object))
    no_outcome = _add_outcome(table, rows, patient, chosen.outcome, path)
    no_subtype = _add_subtype(table, rows, patient, chosen.subtype, options.subtypes, path)
    _add_site(table, rows, people.loc[keep.index], patient, chosen.site, path)
    for name, column in chosen.covariates:
        table[name] = _as_numbers(_one_a_patient(to_words(rows[column]), patient, column, path).reindex(table.index))
    provenance = {
        "table": Path(path).name,
        "table_sha256": file_digest(path),
        "columns": _spelt(chosen),
        "dropped": {reason: count for reason, count in dropped if count},
        "without_outcome": dict(no_outcome),
        "subtypes_kept": list(options.subtypes),
    }
    return OutcomeTable(
        Patients(table, provenance),
        (chosen,),
        len(cells),
        tuple((reason, count) for reason, count in dropped if count),
        no_outcome,
        no_subtype,
    )


def _spelt(chosen: Chosen) -> dict[str, object]:
    outcome = chosen.outcome
    return {
        "patient": chosen.patient,
        "time": outcome and outcome.time,
        "time_unit": outcome and outcome.unit,
        "event": outcome and outcome.event,
        "censorship": outcome and outcome.censorship,
        "subtype": chosen.subtype,
        "covariates": dict(chosen.covariates),
    }


def _add_outcome(
    table: pd.DataFrame, rows: pd.DataFrame, patient: np.ndarray, names: OutcomeNames | None, path: object
) -> tuple[tuple[str, int], ...]:
    """Columns time_days and event; returns why outcomes are missing."""
    if names is None:
        return ()
    days = to_days(rows[names.time], names.unit, path)
    event = to_events(rows, names, path)
    zero = (days == 0).to_numpy()
    complete = (days.notna() & event.notna() & (days > 0)).to_numpy()
    pairs = pd.DataFrame({"time_days": days, "event": event, "patient_id": patient}, index=rows.index)
    known = pairs[complete].drop_duplicates()
    conflicts = int(known["patient_id"].duplicated().sum())
    if conflicts:
        raise contradiction(f"{names.time} and {names.event or names.censorship}", conflicts, path)
    outcome = known.set_index("patient_id")
    table["time_days"] = outcome["time_days"].reindex(table.index)
    table["event"] = outcome["event"].reindex(table.index)
    missing = set(table.index[table["time_days"].isna()])
    at_zero = len(missing & set(patient[zero]))
    reasons = (("time is 0", at_zero), ("time or event missing", len(missing) - at_zero))
    return tuple((reason, count) for reason, count in reasons if count)


def _add_subtype(
    table: pd.DataFrame,
    rows: pd.DataFrame,
    patient: np.ndarray,
    column: str | None,
    kept: tuple[str, ...],
    path: object,
) -> tuple[tuple[str, int], ...]:
    if column is None:
        if kept:
            hint = "name it with --subtype-column"
            raise BadInput("MISSING_COLUMN", "no column is named like subtypes", file=path, key="--subtypes", hint=hint)
        return ()
    labels = _one_a_patient(to_words(rows[column]), patient, column, path).reindex(table.index)
    missing = int(labels.isna().sum())
    other = 0
    if kept:
        outside = labels.notna() & ~labels.isin(kept)
        other = int(outside.sum())
        labels = labels.mask(outside, None)
    table["subtype"] = labels.astype(object).where(labels.notna(), None)
    reasons = (("missing", missing), ("another subtype", other))
    return tuple((reason, count) for reason, count in reasons if count)


def _add_site(
    table: pd.DataFrame, rows: pd.DataFrame, people: pd.Series, patient: np.ndarray, column: str | None, path: object
) -> None:
    """The submitting site: from TCGA barcodes, else from a column.

    Args:
        people: the table's own ids, in the order of ``patient``.
    """
    told = dict(zip(patient, map(ids.site, people), strict=True))
    codes = pd.Series([told[name] for name in table.index], index=table.index, dtype=object)
    if column is not None and codes.isna().any():
        stated = _one_a_patient(to_words(rows[column]), patient, column, path).reindex(table.index)
        codes = codes.where(codes.notna(), stated)
    if codes.notna().any():
        table["site"] = codes.where(codes.notna(), None)


def _one_a_patient(cells: pd.Series, patient: np.ndarray, column: str, path: object) -> pd.Series:
    """The one value of each patient that has any; its rows must agree."""
    pairs = pd.DataFrame({"value": cells.to_numpy(), "patient_id": patient}).dropna().drop_duplicates()
    conflicts = int(pairs["patient_id"].duplicated().sum())
    if conflicts:
        raise contradiction(column, conflicts, path)
    return pairs.set_index("patient_id")["value"]


def contradiction(column: str, count: int, path: object) -> BadInput:
    """The error for rows of one patient that cannot both be true."""
    hint = "correct the table, or leave the column out"
    message = "rows of one patient contradict each other"
    return BadInput("CONFLICT", message, file=path, key=column, got=f"{count} patients", hint=hint)


def _as_numbers(values: pd.Series) -> pd.Series:
    """A covariate as float where every value is a number, else as text."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().sum() == values.notna().sum() and values.notna().any() and np.isfinite(numbers.dropna()).all():
        return numbers.astype(float)
    return values.astype(object).where(values.notna(), None)
