"""Subtyping by a run of the cohort store: linear probe, few-shot probe, or the run's own predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput, StoreError, some
from mirror_data.store import Store, read_patients, schema

from mirror_eval import classification as metrics
from mirror_eval.bootstrap import bootstrap_weights, score
from mirror_eval.calibration import expected_calibration_error
from mirror_eval.few_shot import DRAWS, Shots
from mirror_eval.prediction_tables import fold_order, read_classes
from mirror_eval.probe import fit_probe
from mirror_eval.results import Cohort, Control, Counts, FoldCounts, Protocol, Score, SubtypeResult, Watch, check_how
from mirror_eval.ridge import Scaler
from mirror_eval.run_data import FoldRow, load_predictions, load_run

TASK = "subtype"  # of stored predictions
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _on_class(metric: Callable[..., np.ndarray]) -> Metric:
    """A metric of predicted classes as one of probabilities."""
    return lambda label, probability, weight: metric(
        label, probability.argmax(axis=1), probability.shape[1], weight=weight
    )


METRICS: dict[str, Metric] = {  # label (n,), probability (n, K), weight (B, n) -> (B,)
    "accuracy": lambda label, p, weight: metrics.accuracy(label, p.argmax(axis=1), weight=weight),
    "balanced_accuracy": _on_class(metrics.balanced_accuracy),
    "macro_f1": _on_class(metrics.macro_f1),
    "auroc": lambda label, p, weight: metrics.macro_auroc(label, p, weight=weight),
    "auprc": lambda label, p, weight: metrics.macro_auprc(label, p, weight=weight),
    "mcc": _on_class(metrics.matthews),
    "brier": lambda label, p, weight: metrics.brier_score(label, p, weight=weight),
    "ece": lambda label, p, weight: expected_calibration_error(label, p, weight=weight),
}

NO_INTERVAL = {"ece"}  # drawing patients twice makes a model look worse calibrated: percentiles would miss the value


@dataclass(frozen=True)
class Tested:
    """Predictions for the test patients of one fold, row and support set."""

    modality: str
    fold: int
    draw: int
    patient_ids: tuple[str, ...]
    probability: np.ndarray  # (m, K)
    fitted: int | None  # patients; None where not known
    strength: float | None


def evaluate_subtype(
    store: Store,
    run: str,
    *,
    protocol: Protocol = "linear",
    cohort: Cohort = "paired",
    control: Control = "none",
    shots: int = 10,
    draws: int = DRAWS,
    seed: int = 0,
    resamples: int = 1000,
    watch: Watch = lambda done, total: None,
) -> SubtypeResult:
    """Subtyping scores of a run over its outer folds, patient by patient.

    ``linear``: frozen embeddings, scaled and classified by ridge logistic regression fitted on the fold's train and
    validation parts together, its strength chosen by 5 inner parts of them. ``few-shot``: the same on ``shots``
    patients a class, over ``draws`` support sets; the scaler sees all development patients, labels come from the set
    alone. ``stored``: predictions that the run wrote itself. The test part is predicted once and never fitted on.

    Args:
        cohort: "paired" scores the same patients in every row; "all" everyone who has what a row needs.
        control: "shuffled" or "random" for a null control (see `FoldRow.under`); not for stored predictions.
        seed: deals inner parts, draws support sets and bootstrap samples.
        resamples: bootstrap samples behind each interval.
        watch: hears how many folds of rows are fitted, and of how many.

    Raises:
        StoreError: ``MISSING`` run, embeddings, predictions or patients.
        BadInput: ``NO_OVERLAP``, ``NOT_ESTIMABLE``, ``BAD_OPTION``.
    """
    check_how(protocol, control)
    labels = read_patients(store).subtypes()
    if len(set(labels.values())) < 2:
        hint = "give the store subtypes with mirror-data outcomes --subtype-column"
        got = f"{len(set(labels.values()))} subtypes"
        raise BadInput("NOT_ESTIMABLE", "subtyping needs two subtypes", key=schema.PATIENTS, got=got, hint=hint)
    if protocol == "stored":
        tested, classes, counts = _stored(store, run, labels)
    else:
        data = load_run(store, run, labels, cohort)
        classes = tuple(sorted({labels[patient] for row in data.rows for patient in row.develop_ids + row.test_ids}))
        few = Shots(shots, draws) if protocol == "few-shot" else None
        rows = [row.under(control, seed) for row in data.rows]
        tested = []
        for done, row in enumerate(rows, 1):
            tested += _predicted(row, labels, classes, few, seed)
            watch(done, len(rows))
        counts = data.counts(cohort, _fold_counts(tested))
    scores = _scores(tested, labels, classes, seed, resamples)
    return SubtypeResult(run, protocol, classes, scores, _table(tested, labels, classes), counts, control)


def score_class_table(path: str | Path, *, seed: int = 0, resamples: int = 1000) -> SubtypeResult:
    """Subtyping scores of anybody's table of class probabilities; see `prediction_tables.read_classes`."""
    found = read_classes(path)
    columns = [f"prob_{name}" for name in found.classes]
    number = {fold: k for k, fold in enumerate(sorted(found.table["fold"].unique(), key=fold_order))}
    labels = dict(zip(found.table["patient_id"], found.table["label"], strict=True))
    tested = []
    for _, rows in found.table.groupby(["modality", "fold", "draw"], sort=True):
        modality, fold, draw = rows.iloc[0][["modality", "fold", "draw"]]
        ids = tuple(rows["patient_id"])
        tested.append(Tested(modality, number[fold], draw, ids, rows[columns].to_numpy(float), None, None))
    scores = _scores(tested, labels, found.classes, seed, resamples)
    counts = Counts("all", len(number), len(labels), 0, 0, 0, _fold_counts(tested))
    return SubtypeResult(Path(path).name, "stored", found.classes, scores, found.table, counts)


def _predicted(
    row: FoldRow, labels: dict[str, str], classes: tuple[str, ...], few: Shots | None, seed: int
) -> Iterator[Tested]:
    """Fit on the development patients of one fold and row, predict its test patients."""
    label = _codes(row.develop_ids, labels, classes)
    if (absent := len(classes) - len(np.unique(label))) > 0:
        got = f"{absent} of {len(classes)} classes absent"
        message = "a subtype has no patient to fit on"
        raise BadInput("NOT_ESTIMABLE", message, key=f"fold {row.fold}, {row.modality}", got=got)
    scaler = Scaler.fit(row.develop)
    sets = [np.arange(len(label))] if few is None else few.sets(label, (seed, row.fold))
    for draw, chosen in enumerate(sets):
        probe = fit_probe(row.develop[chosen], label[chosen], len(classes), seed=seed, scaler=scaler)
        strength = probe.model.strength if few is None else None
        yield Tested(row.modality, row.fold, draw, row.test_ids, probe.probability(row.test), len(chosen), strength)


def _stored(store: Store, run: str, labels: dict[str, str]) -> tuple[list[Tested], tuple[str, ...], Counts]:
    """The run's own predictions for the test patients of every fold."""
    stored = load_predictions(store, run, TASK, labels)
    names = [[str(c)[5:] for c in table if str(c).startswith("prob_")] for table in stored.test]
    classes = tuple(sorted(names[0]))
    if any(tuple(sorted(found)) != classes for found in names) or not set(labels.values()) <= set(classes):
        got, expected = some(sorted({name for found in names for name in found})), some(sorted(set(labels.values())))
        message = "the predicted classes are not the store's subtypes"
        raise StoreError("MISMATCH", message, key=f"runs/{run}", expected=expected, got=got)
    columns = [f"prob_{name}" for name in classes]
    tested = [
        Tested("stored", fold, 0, tuple(table["patient_id"]), table[columns].to_numpy(float), fitted, None)
        for fold, table, fitted in zip(stored.folds, stored.test, map(len, stored.develop_ids), strict=True)
    ]
    return tested, classes, stored.counts(_fold_counts(tested))


def _codes(patients: tuple[str, ...], labels: dict[str, str], classes: tuple[str, ...]) -> np.ndarray:
    number = {name: k for k, name in enumerate(classes)}
    return np.array([number[labels[patient]] for patient in patients], dtype=np.int64)


def _fold_counts(tested: list[Tested]) -> tuple[FoldCounts, ...]:
    return tuple(
        FoldCounts(one.modality, one.fold, one.fitted, len(one.patient_ids), one.strength)
        for one in tested
        if one.draw == 0
    )


def _scores(
    tested: list[Tested], labels: dict[str, str], classes: tuple[str, ...], seed: int, resamples: int
) -> tuple[Score, ...]:
    """Every metric of every row; few-shot values are means over the support sets of a fold."""
    values = {}  # modality, fold, metric: one (1 + resamples,) a support set
    for one in tested:
        weight = bootstrap_weights(len(one.patient_ids), resamples, (seed, one.fold))
        label = _codes(one.patient_ids, labels, classes)
        for name, metric in METRICS.items():
            found = metric(label, one.probability, weight if name not in NO_INTERVAL else weight[:1])
            values.setdefault((one.modality, name), {}).setdefault(one.fold, []).append(found)
    return tuple(score(modality, name, folds) for (modality, name), folds in values.items())


def _table(tested: list[Tested], labels: dict[str, str], classes: tuple[str, ...]) -> pd.DataFrame:
    parts = []
    for one in tested:
        part = pd.DataFrame({"fold": one.fold, "patient_id": one.patient_ids, "modality": one.modality})
        part["draw"] = one.draw
        part["label"] = [labels[patient] for patient in one.patient_ids]
        parts.append(part.join(pd.DataFrame(one.probability, columns=[f"prob_{name}" for name in classes])))
    return pd.concat(parts, ignore_index=True)
