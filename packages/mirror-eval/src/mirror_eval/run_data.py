"""What a run left in the store, a fold and a row of the table at a time, parted into fitted on and tested on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import (
    MODALITIES,
    Embeddings,
    Fold,
    Store,
    read_embeddings,
    read_predictions,
    read_run,
    read_split,
    required_folds,
    schema,
)

from mirror_eval.results import ROWS, Cohort, Control, Counts, FoldCounts


@dataclass(frozen=True)
class FoldRow:
    """One fold of one row: development patients (train and validation parts), and test patients, who are never fitted
    on.

    Shapes: n development patients, m test patients, D features; ids sorted.
    """

    fold: int
    modality: str  # "slide", "rna" or "both": both embeddings side by side
    develop_ids: tuple[str, ...]
    develop: np.ndarray  # float64 (n, D)
    test_ids: tuple[str, ...]
    test: np.ndarray  # float64 (m, D)

    def under(self, control: Control, seed: int) -> FoldRow:
        """The row under a null control: nothing learned from it can be more than luck, or a leak.

        ``shuffled`` deals the development features to other development patients; ``random`` draws every feature.
        """
        rng = np.random.default_rng((seed, self.fold, ROWS.index(self.modality)))
        if control == "shuffled":
            return replace(self, develop=rng.permutation(self.develop))
        if control == "random":
            noise = rng.normal(size=(len(self.develop) + len(self.test), self.develop.shape[1]))
            return replace(self, develop=noise[: len(self.develop)], test=noise[len(self.develop) :])
        return self


@dataclass(frozen=True)
class RunData:
    """Every fold and row of a run, and who is in none of them."""

    rows: tuple[FoldRow, ...]  # by row, then fold
    folds: tuple[int, ...]
    folds_of_split: int
    outcome: int
    no_outcome: int
    one_modality: int
    no_embedding: int

    def counts(self, cohort: Cohort, folds: tuple[FoldCounts, ...]) -> Counts:
        return Counts(
            cohort=cohort,
            folds_of_split=self.folds_of_split,
            outcome=self.outcome,
            no_outcome=self.no_outcome,
            one_modality=self.one_modality,
            no_embedding=self.no_embedding,
            folds=folds,
        )


@dataclass(frozen=True)
class StoredData:
    """A run's own predictions, a table a fold, of patients whose outcome is known; sorted by patient."""

    folds: tuple[int, ...]
    develop_ids: tuple[tuple[str, ...], ...]  # train and validation parts of the split
    develop: tuple[pd.DataFrame, ...]  # their predictions; may be empty
    test: tuple[pd.DataFrame, ...]
    folds_of_split: int
    outcome: int
    no_outcome: int
    no_prediction: int

    def counts(self, folds: tuple[FoldCounts, ...]) -> Counts:
        return Counts("all", self.folds_of_split, self.outcome, self.no_outcome, 0, self.no_prediction, folds)


def committed_folds(store: Store, run: str) -> tuple[list[int], list[Fold]]:
    """The committed folds of a run: their numbers and their patients, and the folds its split has.

    Raises:
        StoreError: ``MISSING`` if the store has no such run; ``MISMATCH`` if its folds were trained on different
        splits.
    """
    numbers = required_folds(store, run)
    splits = {read_run(store, run, number).split for number in numbers}
    if len(splits) > 1:
        raise StoreError("MISMATCH", "folds of one run were trained on different splits", key=f"runs/{run}")
    split = read_split(store, splits.pop())
    return numbers, list(split.folds)


def load_run(store: Store, run: str, known: Collection[str], cohort: Cohort = "paired") -> RunData:
    """Read a run's embeddings for the patients whose outcome is known.

    Args:
        known: patients with a label or an outcome.
        cohort: "paired", every row holds the same patients, those with all the run's modalities; "all", each row holds
            everyone who has what it needs.

    Raises:
        StoreError: ``MISSING`` without run or embeddings.
        BadInput: ``NO_OVERLAP`` if no embedded patient has an outcome, ``NOT_ESTIMABLE`` if a fold's test part is
        empty.
    """
    numbers, folds = committed_folds(store, run)
    modalities = _modalities(store, run, numbers)
    rows, seen = [], {modality: set() for modality in modalities}
    for number in numbers:
        embeddings = {modality: read_embeddings(store, run, number, modality) for modality in modalities}
        for modality, found in embeddings.items():
            seen[modality] |= set(found.patient_ids)
        rows += _fold_rows(number, folds[number], embeddings, set(known), cohort)
    patients = {patient for number in numbers for patient in folds[number].part_of()}
    outcome = patients & set(known)
    anywhere, everywhere = set.union(*seen.values()), set.intersection(*seen.values())
    if not outcome & anywhere:
        got = f"{len(anywhere)} patients embedded, {len(patients)} in the split, {len(known)} with an outcome"
        hint = "check that ids agree; mirror-data info shows what the store holds"
        raise BadInput("NO_OVERLAP", "no embedded patient has an outcome", key=f"runs/{run}", got=got, hint=hint)
    if empty := sorted({row.fold for row in rows if not row.test_ids or not row.develop_ids}):
        got = f"fold {', '.join(map(str, empty))}"
        raise BadInput("NOT_ESTIMABLE", "a fold has no patient to fit or to test on", key=f"runs/{run}", got=got)
    return RunData(
        rows=tuple(sorted(rows, key=lambda row: (ROWS.index(row.modality), row.fold))),
        folds=tuple(numbers),
        folds_of_split=len(folds),
        outcome=len(outcome),
        no_outcome=len(patients - outcome),
        one_modality=len((outcome & anywhere) - everywhere),
        no_embedding=len(outcome - anywhere),
    )


def _modalities(store: Store, run: str, numbers: list[int]) -> list:
    """The modalities that every fold has embeddings of."""
    found = [m for m in MODALITIES if all(store.has(schema.embeddings(run, number, m)) for number in numbers)]
    if not found:
        hint = f"run mirror-model embed --run {run} for every fold; a supervised run has predictions: --protocol stored"
        raise StoreError("MISSING", "the run's folds have no embeddings", key=f"runs/{run}", hint=hint)
    return found


def _fold_rows(
    number: int, fold: Fold, embeddings: dict[str, Embeddings], known: set[str], cohort: Cohort
) -> list[FoldRow]:
    place = {m: {patient: k for k, patient in enumerate(e.patient_ids)} for m, e in embeddings.items()}
    shared = set.intersection(*(set(ids) for ids in place.values()))
    rows = []
    for row in [*embeddings, "both"] if len(embeddings) > 1 else list(embeddings):
        used = list(embeddings) if row == "both" else [row]
        members = known & (shared if cohort == "paired" or row == "both" else set(place[row]))
        develop = tuple(sorted(members & (set(fold.train) | set(fold.validation))))
        test = tuple(sorted(members & set(fold.test)))

        def gather(ids: tuple[str, ...], used: list[str] = used) -> np.ndarray:
            parts = [embeddings[m].values[[place[m][patient] for patient in ids]] for m in used]  # (n, D) each
            return np.concatenate(parts, axis=1).astype(float)

        rows.append(FoldRow(number, row, develop, gather(develop), test, gather(test)))
    return rows


def load_predictions(store: Store, run: str, task: str, known: Collection[str]) -> StoredData:
    """Read what a run predicted itself, for the patients whose outcome is known.

    Raises:
        StoreError: ``MISSING`` without run or predictions; ``MISMATCH`` if a patient is predicted in a part that the
            split does not give it.
        BadInput: ``DUPLICATE``, ``NO_OVERLAP``, ``NOT_ESTIMABLE``.
    """
    numbers, folds = committed_folds(store, run)
    if not all(store.has(schema.predictions(run, number, task)) for number in numbers):
        hint = "an unsupervised run has embeddings: use --protocol linear or few-shot"
        raise StoreError("MISSING", f"the run has no {task} predictions for every fold", key=f"runs/{run}", hint=hint)
    tables = [read_predictions(store, run, number, task).table for number in numbers]
    for number, table in zip(numbers, tables, strict=True):
        _check_parts(run, number, folds[number], table)
    wanted = [table[table["patient_id"].isin(set(known))].sort_values("patient_id") for table in tables]
    test = tuple(table[table["part"] == "test"].reset_index(drop=True) for table in wanted)
    if not any(map(len, wanted)):
        raise BadInput("NO_OVERLAP", "no predicted patient has an outcome", key=f"runs/{run}")
    if not all(map(len, test)):
        raise BadInput("NOT_ESTIMABLE", "a fold has no patient to test on", key=f"runs/{run}")
    tested = {patient for number in numbers for patient in folds[number].test}
    outcome = tested & set(known)
    return StoredData(
        folds=tuple(numbers),
        develop_ids=tuple(tuple(sorted(set(known) & {*folds[n].train, *folds[n].validation})) for n in numbers),
        develop=tuple(table[table["part"] != "test"].reset_index(drop=True) for table in wanted),
        test=test,
        folds_of_split=len(folds),
        outcome=len(outcome),
        no_outcome=len(tested - outcome),
        no_prediction=len(outcome - {patient for table in test for patient in table["patient_id"]}),
    )


def _check_parts(run: str, number: int, fold: Fold, table: pd.DataFrame) -> None:
    """Predictions must be one a patient, each in the part its split says: a leak would hide here."""
    key = schema.run(run, number)
    if repeated := int(table["patient_id"].duplicated().sum()):
        raise BadInput("DUPLICATE", "a patient is predicted more than once in a fold", key=key, got=f"{repeated} rows")
    part = fold.part_of()
    if wrong := sum(part.get(p) != q for p, q in zip(table["patient_id"], table["part"], strict=True)):
        message = "predicted patients stand in another part than the split says"
        raise StoreError("MISMATCH", message, key=key, got=f"{wrong} patients")
