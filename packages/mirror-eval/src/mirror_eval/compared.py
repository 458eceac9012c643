"""What is compared: methods with their predictions, paired patient by patient within the folds that both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput, some

from mirror_eval import subtype
from mirror_eval.concordance import TOLERANCE, weighted_c
from mirror_eval.prediction_tables import fold_order

Task = Literal["subtype", "survival"]
TASKS: tuple[Task, ...] = ("subtype", "survival")
Values = Callable[[pd.DataFrame, tuple[str, ...], np.ndarray], np.ndarray]  # rows (n), classes, weight (B, n): (B,)
_CLOSE = 1e-6  # relative: times written with six digits are the same times


@dataclass(frozen=True)
class Metric:
    """A metric that methods are compared by: higher is better."""

    task: Task
    name: str  # as people write it
    values: Values


def _survival(rows: pd.DataFrame, classes: tuple[str, ...], weight: np.ndarray) -> np.ndarray:
    return weighted_c(rows["time"].to_numpy(float), rows["event"].to_numpy(bool), rows["risk"].to_numpy(float), weight)


def _subtype(name: str) -> Values:
    def values(rows: pd.DataFrame, classes: tuple[str, ...], weight: np.ndarray) -> np.ndarray:
        label = pd.Categorical(rows["label"], categories=list(classes)).codes.astype(np.int64)
        return subtype.METRICS[name](label, rows[[f"prob_{c}" for c in classes]].to_numpy(float), weight)

    return values


METRICS: dict[str, Metric] = {  # the first of a task is its default
    "c_harrell": Metric("survival", "Harrell's C", _survival),
    "auroc": Metric("subtype", "AUROC", _subtype("auroc")),
    "accuracy": Metric("subtype", "accuracy", _subtype("accuracy")),
    "balanced_accuracy": Metric("subtype", "balanced accuracy", _subtype("balanced_accuracy")),
    "macro_f1": Metric("subtype", "macro F1", _subtype("macro_f1")),
    "auprc": Metric("subtype", "AUPRC", _subtype("auprc")),
    "mcc": Metric("subtype", "MCC", _subtype("mcc")),
}


@dataclass(frozen=True)
class Method:
    """Predictions of one method for the test patients of one cohort.

    ``table`` has a row a patient and fold, sorted by both: fold (str), patient_id, and for survival risk, time, event;
    for subtyping label and prob_<class> for each of ``classes``.
    """

    name: str
    table: pd.DataFrame
    fitted: Mapping[str, float]  # fold: patients trained on; NaN where not known
    classes: tuple[str, ...] = ()
    cohort: str = ""  # what is compared by itself: a cohort, a modality; "" if nothing is
    source: str = ""  # where the predictions come from, in words


@dataclass(frozen=True)
class FoldPair:
    """Rows of two methods for the same patients of one fold, in one order."""

    name: str
    first: pd.DataFrame
    second: pd.DataFrame
    fitted: float  # patients trained on, the fewer of the two; NaN where not known


@dataclass(frozen=True)
class Pairing:
    """Two methods on the patients and folds that both predicted."""

    first: Method
    second: Method
    folds: tuple[FoldPair, ...]
    left_out: int  # patients predicted by one of the two only, or in no fold by both

    @property
    def cohort(self) -> str:
        return self.first.cohort

    @property
    def patients(self) -> int:
        return len({patient for fold in self.folds for patient in fold.first["patient_id"]})

    @property
    def sizes(self) -> tuple[float, float]:
        """Patients tested and trained on, averaged over folds."""
        return float(np.mean([len(f.first) for f in self.folds])), float(np.mean([f.fitted for f in self.folds]))


def rest_of(table: pd.DataFrame) -> dict[str, float]:
    """How many patients each fold of a cross-validation was trained on: those of the table outside the fold.

    NaN where the fold holds everybody: it is then not a cross-validation, and nothing is known.
    """
    everybody = table["patient_id"].nunique()
    sizes = table.groupby("fold")["patient_id"].nunique()
    return {str(fold): float(everybody - size) if size < everybody else float("nan") for fold, size in sizes.items()}


def pair_up(first: Method, second: Method) -> Pairing:
    """Keep the patients that both methods predicted in one and the same fold.

    Raises:
        BadInput: ``NO_OVERLAP`` if they share no patient; ``MISMATCH`` if a patient of both is in different folds, or
            has different outcomes, or if the classes are others.
    """
    where = ", ".join(part for part in (first.cohort, f"{first.name} and {second.name}") if part)
    if first.classes != second.classes:
        expected, got = some(first.classes), some(second.classes)
        raise BadInput("MISMATCH", "two methods predict different classes", key=where, expected=expected, got=got)
    by = ["fold", "patient_id"]
    ids = [set(method.table["patient_id"]) for method in (first, second)]
    both = first.table.merge(second.table, on=by, suffixes=("", "_second"))
    if not ids[0] & ids[1]:
        got = f"{len(ids[0])} and {len(ids[1])} patients, none in both"
        hint = "check that ids are written alike and that the cohort is the same"
        raise BadInput("NO_OVERLAP", "two methods predict different patients", key=where, got=got, hint=hint)
    common = set(both["patient_id"])
    if elsewhere := len((ids[0] & ids[1]) - common):
        hint = "compare methods tested on one split, with folds named alike"
        got = f"{elsewhere} patients are in different folds"
        raise BadInput("MISMATCH", "two methods were tested in different folds", key=where, got=got, hint=hint)
    _check_outcomes(both, where)
    folds = []
    for name in sorted(both["fold"].unique(), key=fold_order):
        shared = both.loc[both["fold"] == name, "patient_id"]
        rows = [m.table[(m.table["fold"] == name) & m.table["patient_id"].isin(shared)] for m in (first, second)]
        ordered = [table.sort_values("patient_id", kind="stable", ignore_index=True) for table in rows]
        folds.append(FoldPair(name, *ordered, fitted=float(np.minimum(first.fitted[name], second.fitted[name]))))
    return Pairing(first, second, tuple(folds), len((ids[0] | ids[1]) - common))


def _check_outcomes(both: pd.DataFrame, where: str) -> None:
    """Outcomes are facts about patients: two methods cannot differ on them."""
    for name in ("label", "event", "time"):
        if name not in both:
            continue
        mine, other = both[name].to_numpy(), both[f"{name}_second"].to_numpy()
        same = np.isclose(mine, other, rtol=_CLOSE, atol=0) if name == "time" else mine == other
        if wrong := int((~same).sum()):
            hint = "are both in the same unit and for the same endpoint?" if name == "time" else None
            message = f"two methods were scored by different outcomes: {name}"
            raise BadInput("MISMATCH", message, key=where, got=f"{wrong} of {len(both)} patients and folds", hint=hint)


def constant_in(pairing: Pairing, side: Literal["first", "second"]) -> bool:
    """Whether a method gives every patient of some fold the same value, and so tells nobody apart there."""
    for fold in pairing.folds:
        rows = getattr(fold, side)
        told = rows[[name for name in rows if name == "risk" or str(name).startswith("prob_")]].to_numpy(float)
        if len(told) > 1 and (np.ptp(told, axis=0) <= TOLERANCE).all():
            return True
    return False
