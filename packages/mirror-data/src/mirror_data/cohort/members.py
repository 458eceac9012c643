"""Who is in a cohort: the patients a store knows, and those a new table is read for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mirror_data import ids
from mirror_data.cohort.columns import PATIENT
from mirror_data.opaque import AS_THEY_ARE, Naming
from mirror_data.store import Store, read_expression_patients, read_patients, schema
from mirror_data.tables import read_column

NOT_WANTED = "patient not in the cohort"


def explained(reason: str) -> str:
    """A reason for leaving something out, with what to do about it where the person may want to."""
    return f"{reason} (--patients all keeps them)" if reason == NOT_WANTED else reason


def slide_patients(store: Store) -> dict[str, str]:
    """Patient of every slide, by the slide's key."""
    return {key: str(store.document(f"slides/{key}").attributes["patient_id"]) for key in store.keys("slides")}


@dataclass(frozen=True)
class Members:
    """Patients of a store by what it holds of them."""

    slides: frozenset[str]
    rna: frozenset[str]
    clinical: frozenset[str]

    def all(self) -> frozenset[str]:
        return self.slides | self.rna | self.clinical


def members(store: Store) -> Members:
    """Read who has slides, expression and clinical data."""
    return Members(
        slides=frozenset(slide_patients(store).values()),
        rna=frozenset(read_expression_patients(store)) if store.has(schema.RNA) else frozenset(),
        clinical=frozenset(read_patients(store).patient_ids) if store.has(schema.PATIENTS) else frozenset(),
    )


@dataclass(frozen=True)
class Wanted:
    """Patients to read a table for (None: everybody), and how they were named."""

    patients: frozenset[str] | None
    source: str


def wanted_patients(choice: str, known: frozenset[str], naming: Naming = AS_THEY_ARE) -> Wanted:
    """The patients that ``--patients`` names.

    Args:
        choice: ``auto`` (those the store knows, everybody if it knows none), ``all``, or a file: one id a line, or a
            table with a column of patient ids.
        naming: what the store calls those whom the file names.

    Raises:
        BadInput: as `mirror_data.tables.read_column`.
    """
    if choice == "all" or (choice == "auto" and not known):
        return Wanted(None, "everybody in the table")
    if choice == "auto":
        return Wanted(known, "patients the store knows")
    listed = read_column(choice, PATIENT)
    return Wanted(frozenset(naming(ids.patient_id(name)) for name in listed), f"a list of {len(listed)}")


def add_counts(every: Iterable[tuple[tuple[str, int], ...]]) -> tuple[tuple[str, int], ...]:
    """Counts by reason of several tables as one."""
    total: Counter[str] = Counter()
    for pairs in every:
        total.update(dict(pairs))
    return tuple(sorted(total.items()))
