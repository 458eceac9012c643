"""Which of a store's data a run reads: the features of one encoder, one expression table, one split."""

from __future__ import annotations

from dataclasses import dataclass

from mirror_data.errors import BadInput, StoreError, some
from mirror_data.store import Fold, Store, read_split, schema


@dataclass(frozen=True)
class Bag:
    """One slide's features, not yet read."""

    slide_id: str
    patient_id: str
    rows: int  # N, at least 1


@dataclass(frozen=True)
class FeatureSet:
    """One encoder's features of every slide that has them, sorted by slide."""

    tiling: str
    encoder: str
    width: int  # P
    bags: tuple[Bag, ...]
    empty: int  # slides with no tile, left out

    def of(self, patient_ids: tuple[str, ...]) -> dict[str, tuple[Bag, ...]]:
        """The bags of each patient that has any."""
        wanted, found = set(patient_ids), {}
        for bag in self.bags:
            if bag.patient_id in wanted:
                found.setdefault(bag.patient_id, []).append(bag)
        return {patient: tuple(bags) for patient, bags in found.items()}


def find_features(store: Store, tiling: str | None = None, encoder: str | None = None) -> FeatureSet:
    """The features to train on; ``tiling`` and ``encoder`` may be left out where the store holds only one.

    Raises:
        StoreError: ``MISSING`` if there are none, ``MISMATCH`` if their width differs from slide to slide.
        BadInput: ``BAD_OPTION`` if there are several, listing them.
    """
    kinds = _kinds(store)
    if not kinds:
        hint = "write them with `mirror-data tile` or `mirror-data import`"
        raise StoreError("MISSING", "the store holds no tile features", file=store.url, key="slides", hint=hint)
    chosen = [kind for kind in kinds if tiling in (None, kind[0]) and encoder in (None, kind[1])]
    if len(chosen) != 1:
        listed = some([f"--tiling {t} --encoder {e}" for t, e in sorted(kinds)], 20)
        message = (
            "no features of that tiling and encoder" if not chosen else "the store holds several kinds of features"
        )
        raise BadInput("BAD_OPTION", message, file=store.url, key="--tiling, --encoder", expected=f"one of {listed}")
    (tiling, encoder), widths = chosen[0], kinds[chosen[0]]
    bags: list[Bag] = []
    found: set[int] = set()
    for slide_id, patient in widths:
        attributes = store.document(schema.features(slide_id, tiling, encoder)).attributes
        found.add(int(attributes["width"]))
        bags.append(Bag(slide_id, patient, int(attributes["rows"])))
    if len(found) != 1:
        raise StoreError("MISMATCH", "features have different widths", file=store.url, key=encoder, got=sorted(found))
    full = tuple(sorted((bag for bag in bags if bag.rows), key=lambda bag: bag.slide_id))
    return FeatureSet(tiling, encoder, found.pop(), full, len(bags) - len(full))


def _kinds(store: Store) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Tiling and encoder of all committed features, with the (slide id, patient id) that have them."""
    names: dict[str, str] = {}  # key -> the name it stands for
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key in store.keys("slides"):
        slide = None
        for tiling in store.keys(f"slides/{key}/tilings"):
            for encoder in store.keys(f"slides/{key}/tilings/{tiling}/features"):
                path = f"slides/{key}/tilings/{tiling}/features/{encoder}"
                if tiling not in names or encoder not in names:
                    attributes = store.document(path).attributes
                    names[tiling], names[encoder] = attributes["tiling"], attributes["encoder"]
                slide = slide or store.document(f"slides/{key}").attributes
                kind = (names[tiling], names[encoder])
                found.setdefault(kind, []).append((slide["slide_id"], slide["patient_id"]))
    return found


def read_folds(store: Store, split: str) -> tuple[Fold, ...]:
    """The folds of a split.

    Raises:
        StoreError: ``MISSING``, with the splits there are.
    """
    if not store.has(schema.split(split)):
        there = some(store.keys("splits"), 20) or "none"
        hint = "write one with `mirror-data split`"
        raise StoreError(
            "MISSING", "no such split", file=store.url, key=schema.split(split), expected=f"one of: {there}", hint=hint
        )
    return read_split(store, split).folds


def choose_folds(folds: tuple[Fold, ...], wanted: str) -> list[int]:
    """Numbers of the folds that ``--fold`` names: ``all``, or one from 0.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    if wanted == "all":
        return list(range(len(folds)))
    numbers = {str(number): number for number in range(len(folds))}
    if wanted not in numbers:
        expected = f"all, or 0 to {len(folds) - 1}"
        raise BadInput("BAD_OPTION", "no such fold", key="--fold", expected=expected, got=wanted)
    return [numbers[wanted]]
