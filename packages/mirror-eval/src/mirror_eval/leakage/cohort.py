"""What an audit has to know of a cohort, read once: its patients, their slides, expression and sites.

Nothing large is read: of a bag the store keeps the SHA-256 of its values, which is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mirror_data import ids
from mirror_data.store import Expression, Patients, Store, read_expression, read_patients, schema


@dataclass(frozen=True)
class Bag:
    """One encoder's features of one slide: their identity, not their values."""

    tiling: str
    encoder: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class SlideFacts:
    slide_id: str
    patient_id: str
    file: str | None  # what identifies the file: OpenSlide's quickhash of it; None where the store keeps none
    bags: tuple[Bag, ...]


@dataclass(frozen=True)
class Cohort:
    """A store as an audit sees it."""

    store: Store
    slides: tuple[SlideFacts, ...]
    expression: Expression | None
    patients: Patients | None
    _hashes: dict[str, str | None] = field(default_factory=dict, repr=False)

    @cached_property
    def known(self) -> frozenset[str]:
        """Patients of whom the store has anything."""
        return frozenset((*(slide.patient_id for slide in self.slides), *self.rna_ids, *self.clinical_ids))

    @property
    def rna_ids(self) -> tuple[str, ...]:
        return self.expression.patient_ids if self.expression else ()

    @property
    def clinical_ids(self) -> tuple[str, ...]:
        return self.patients.patient_ids if self.patients else ()

    @cached_property
    def sites(self) -> dict[str, str]:
        """Submitting site of each patient that has one in the clinical table."""
        if self.patients is None or "site" not in self.patients.table:
            return {}
        return {str(name): str(site) for name, site in self.patients.table["site"].dropna().items()}

    @cached_property
    def rows(self) -> dict[str, str]:
        """SHA-256 of each patient's row of expression."""
        if self.expression is None:
            return {}
        digests = (hashlib.sha256(row.tobytes()).hexdigest() for row in self.expression.values)
        return dict(zip(self.expression.patient_ids, digests, strict=True))

    def with_slides(self, tiling: str, encoder: str) -> frozenset[str]:
        """Patients with a tile that this encoder has seen."""
        kind = (tiling, encoder)
        return frozenset(
            slide.patient_id
            for slide in self.slides
            if any((bag.tiling, bag.encoder) == kind and bag.rows for bag in slide.bags)
        )

    def hash_now(self, path: str) -> str | None:
        """Identity of the record or records at ``path`` today; None if there is none any more."""
        if path not in self._hashes:
            there = "*" in path or self.store.has(path)
            self._hashes[path] = self.store.hash(path) if there else None
        return self._hashes[path]

    def replaced(self, parents: Mapping[str, str]) -> tuple[str, ...]:
        """Those of a record's parents that are other records today, or gone."""
        return tuple(path for path, known in parents.items() if self.hash_now(path) != known)


def read_cohort(store: Store) -> Cohort:
    """Read the documents of all slides, the expression and the clinical table.

    Raises:
        StoreError: ``CORRUPT_STORE``.
    """
    expression = read_expression(store) if store.has(schema.RNA) else None
    patients = read_patients(store) if store.has(schema.PATIENTS) else None
    return Cohort(store, tuple(_slide(store, key) for key in store.keys("slides")), expression, patients)


def _slide(store: Store, key: str) -> SlideFacts:
    attributes = store.document(f"slides/{key}").attributes
    bags = []
    for tiling in store.keys(f"slides/{key}/tilings"):
        base = f"slides/{key}/tilings/{tiling}/features"
        for encoder in store.keys(base):
            document = store.document(f"{base}/{encoder}")
            told = document.attributes
            digest = document.arrays["features"]["sha256"]
            bags.append(Bag(told["tiling"], told["encoder"], int(told["rows"]), digest))
    file = attributes["source"].get("quickhash")
    return SlideFacts(str(attributes["slide_id"]), str(attributes["patient_id"]), file, tuple(bags))


def site_of(patient: str, sites: Mapping[str, str]) -> str | None:
    """Submitting site: the clinical table's, else what a TCGA barcode says."""
    return sites.get(patient) or ids.site(patient)
