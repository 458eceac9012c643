"""Clinical tables into the store: one, or several studies one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mirror_data.cohort.columns import OutcomeOptions
from mirror_data.cohort.members import add_counts, members, wanted_patients
from mirror_data.cohort.outcomes import OutcomeTable, contradiction, read_outcome_table
from mirror_data.errors import BadInput, some
from mirror_data.store import Patients, Store, write_patients


def add_outcomes(
    store: Store,
    paths: Sequence[str | Path],
    options: OutcomeOptions,
    *,
    patients: str = "auto",
    overwrite: bool = False,
) -> OutcomeTable:
    """Read clinical tables for the cohort's patients and commit them as the store's patients.

    Args:
        patients: see `mirror_data.cohort.members.wanted_patients`.

    Raises:
        BadInput: as `read_outcomes`. StoreError: ``EXISTS``.
    """
    known = members(store)
    options = replace(options, naming=store.naming)
    wanted = wanted_patients(patients, known.slides | known.rna, store.naming)
    found = read_outcomes(paths, options, wanted=wanted.patients)
    write_patients(store, found.patients, overwrite=overwrite)
    return found


def read_outcomes(
    paths: Sequence[str | Path], options: OutcomeOptions, *, wanted: Collection[str] | None = None
) -> OutcomeTable:
    """Read tables, join them, and see that something can be learnt from them.

    Args:
        wanted: patients to keep, everybody if None.

    Raises:
        BadInput: ``BAD_TIME`` if all times are equal, ``NOT_ESTIMABLE`` without events, ``BAD_OPTION`` for a subtype
            that nobody has, ``CONFLICT`` if tables contradict each other, or as `read_outcome_table`.
    """
    joined = _joined([read_outcome_table(path, options, wanted=wanted) for path in paths])
    absent = [name for name in options.subtypes if name not in joined.patients.subtypes().values()]
    if absent:
        raise BadInput("BAD_OPTION", "no patient is of this subtype", file=paths[0], key="--subtypes", got=some(absent))
    names = joined.columns[0].outcome
    if names is not None:
        _check_estimable(joined.patients, paths[0], names.time, names.event or names.censorship)
    return joined


def _check_estimable(patients: Patients, path: object, time_column: str, event_column: str | None) -> None:
    survival = patients.survival()
    if survival.empty:
        raise BadInput("NOT_ESTIMABLE", "no patient has both a time and an event", file=path, key=time_column)
    if len(survival) > 1 and survival["time_days"].nunique() == 1:
        raise BadInput("BAD_TIME", "every patient has the same time", file=path, key=time_column)
    if not survival["event"].any():
        hint = "a table of censored patients only cannot be learnt from; is --censorship-column (1 = NO event) meant?"
        raise BadInput("NOT_ESTIMABLE", "no patient has an event", file=path, key=event_column, hint=hint)


def _joined(found: Sequence[OutcomeTable]) -> OutcomeTable:
    """All tables' patients; one who stands in several must be the same in all."""
    if len(found) == 1:
        return found[0]
    rows = pd.concat([one.patients.table for one in found])
    for column in rows:
        values = rows[column].dropna()
        different = values.groupby(level=0).nunique()
        if (different > 1).any():
            raise contradiction(str(column), int((different > 1).sum()), None)
    table = rows.groupby(level=0, sort=True).first()
    for column in table.select_dtypes(object).columns:
        table[column] = table[column].where(table[column].notna(), None)
    table.index.name = "patient_id"
    return OutcomeTable(
        Patients(table, {"tables": [dict(one.patients.provenance) for one in found]}),
        tuple(chosen for one in found for chosen in one.columns),
        sum(one.rows for one in found),
        add_counts(one.dropped for one in found),
        add_counts(one.without_outcome for one in found),
        add_counts(one.without_subtype for one in found),
    )
