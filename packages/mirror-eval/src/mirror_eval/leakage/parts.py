"""Folds as they are, leaking or not: of a split in the store, or of published files.

`mirror_data.store.Fold` refuses a patient in two parts; an audit has to be able to look at one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from mirror_data.cohort.splits import fold_files, read_published
from mirror_data.errors import StoreError
from mirror_data.store import Store, schema
from mirror_data.store.base import from_element, open_record, read_element
from mirror_data.store.records import PARTS


@dataclass(frozen=True)
class FoldParts:
    """Patient ids of the parts of one fold; the parts may overlap."""

    number: int
    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]

    @property
    def everyone(self) -> frozenset[str]:
        return self.train | self.validation | self.test

    @property
    def held_out(self) -> frozenset[str]:
        """Whoever nothing may be fitted on: validation and test."""
        return self.validation | self.test

    def shared(self) -> frozenset[str]:
        """Patients who stand in more than one part."""
        pairs = combinations((self.train, self.validation, self.test), 2)
        return frozenset().union(*(one & other for one, other in pairs))

    def holds(self, patient: str, part: str) -> bool:
        """Whether a patient stands in the part of that name."""
        return part in PARTS and patient in getattr(self, part)

    def apart(self, ids: Iterable[str]) -> bool:
        """Whether these stand in different parts, as one person's ids or two copies of one slide must not."""
        places = [{part for part in PARTS if self.holds(patient, part)} for patient in ids]
        return sum(map(bool, places)) > 1 and len(set().union(*places)) > 1


@dataclass(frozen=True)
class SplitParts:
    """All folds of a split."""

    name: str
    folds: tuple[FoldParts, ...]

    @property
    def everyone(self) -> frozenset[str]:
        return frozenset().union(*(fold.everyone for fold in self.folds))


def stored_parts(store: Store, name: str) -> SplitParts:
    """A split of the store.

    Raises:
        StoreError: ``MISSING``, ``CORRUPT_STORE``; also ``CORRUPT_STORE`` for a part that is none.
    """
    document, group = open_record(store, schema.split(name), "split")
    table = from_element(read_element(group, "table"))
    if unknown := set(table["part"]) - set(PARTS):
        message, got = "a split names a part that is none", f"{len(unknown)} other names"
        raise StoreError(
            "CORRUPT_STORE", message, file=store.url, key=document.path, expected=", ".join(PARTS), got=got
        )
    folds = []
    for number in range(document.attributes["folds"]):
        rows = table[table["fold"] == number]
        parts = (frozenset(map(str, rows["patient_id"][rows["part"] == part])) for part in PARTS)
        folds.append(FoldParts(number, *parts))
    return SplitParts(str(document.attributes["name"]), tuple(folds))


def published_parts(source: Sequence[str | Path]) -> SplitParts:
    """Published folds, one CSV each, read as `mirror_data.cohort.splits.import_split` does, without refusing a leak.

    Without a column ``test``, the published val part is the test part.

    Raises:
        BadInput: as `read_published`.
    """
    files = fold_files(source)
    name = files[0].parent.name if len(files) > 1 or Path(source[0]).is_dir() else files[0].name
    published = [read_published(file) for file in files]
    folds = [FoldParts(k, f.train, f.validation or frozenset(), f.test) for k, f in enumerate(published)]
    return SplitParts(name, tuple(folds))
