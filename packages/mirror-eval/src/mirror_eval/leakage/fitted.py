"""Whom were scalers, classes and time bins fitted on? Fitted again here, on each set of patients it could have been.

The checkpoint holds what was fitted, not on whom. So each is computed anew from the store, by the definitions of
docs/training (mirror-model), on the training part, which is right, and on wider sets: what equals one of those leaks.
Shapes: n patients, G genes, P tile features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from mirror_data.store import schema

from mirror_eval.leakage.checkpoint import Checkpoint
from mirror_eval.leakage.cohort import Cohort
from mirror_eval.leakage.parts import FoldParts
from mirror_eval.leakage.records import Finding, Where
from mirror_eval.leakage.runs import TrainedFold, usable

CLOSE = 1e-5  # of a standard deviation: float32 on another machine differs by less, another patient by more
_FEW = 0.5  # added to each count of a class or bin
NO_GENES = "the method reads no genes"
CHECKPOINTS = "say where checkpoints lie with --checkpoints"
AGAIN = "train the fold again with --overwrite, and embed it again"
Fits = Callable[[frozenset[str]], bool]  # whether what was fitted is what these patients give


def fitted_findings(cohort: Cohort, fold: TrainedFold) -> Iterator[Finding]:
    """Scaler of the genes; classes and time bins. The tiles' scaler is another matter: `tile_findings`."""
    if fold.checkpoint is None or fold.parts is None or fold.no_checkpoint:
        if fold.slides_alone:
            yield Finding("scaler", "ok", NO_GENES, fold.where)
        for kind in ("labels",) if fold.slides_alone else ("scaler", "labels"):
            yield Finding(kind, "not checked", fold.no_checkpoint, fold.where, CHECKPOINTS)
        return
    yield _scaler(cohort, fold, fold.checkpoint, fold.parts)
    if "groups" in fold.checkpoint.fitted and not data_settings(fold).get("gene_sets"):
        what = "gene groups were fitted on expression, and are not fitted again here"
        yield Finding("scaler", "not checked", what, fold.where)
    yield _labels(cohort, fold, fold.checkpoint, fold.parts)


def data_settings(fold: TrainedFold) -> Mapping[str, Any]:
    """The section ``data`` of a run's settings; empty where the run keeps none."""
    return fold.run.config.get("data") or {}


def _scaler(cohort: Cohort, fold: TrainedFold, checkpoint: Checkpoint, parts: FoldParts) -> Finding:
    if not checkpoint.gene_ids:
        return Finding("scaler", "ok", NO_GENES, fold.where)
    if cohort.expression is None or cohort.replaced({schema.RNA: fold.parents.get(schema.RNA, "")}):
        return Finding("scaler", "not checked", "the expression was replaced since training", fold.where, AGAIN)
    column = {gene: k for k, gene in enumerate(cohort.expression.gene_ids)}
    if not column.keys() >= set(checkpoint.gene_ids):
        return Finding("scaler", "warning", "it was fitted on genes that the store does not have", fold.where, AGAIN)
    values = cohort.expression.values[:, [column[gene] for gene in checkpoint.gene_ids]].astype(np.float64)
    row = {patient: k for k, patient in enumerate(cohort.expression.patient_ids)}
    quantile = float(data_settings(fold).get("rna_quantile", 0.0))

    def fits(patients: frozenset[str]) -> bool:
        rows = [row[patient] for patient in sorted(patients & row.keys())]
        return len(rows) > 1 and _equal_scaler(values[rows], quantile, checkpoint.fitted)

    wider = wider_sets(parts, frozenset(row))
    return judged("scaler", "the scaler of the genes", fits, (parts.train,), wider, fold.where)


def _equal_scaler(values: np.ndarray, quantile: float, fitted: Mapping[str, np.ndarray]) -> bool:
    """Whether these rows (n, G) give the cuts, means and scales (G,) that were fitted."""
    low, high = np.quantile(values, [quantile, 1 - quantile], axis=0).astype(np.float32)
    cut = np.clip(values, low, high)
    mean, sd = cut.mean(0), cut.std(0)
    room = CLOSE * np.maximum(sd, 1e-6) + 1e-6 * np.abs(mean)
    pairs = ((fitted["low"], low), (fitted["high"], high), (fitted["mean"], mean))
    close = all(bool((np.abs(was - now) <= room).all()) for was, now in pairs)
    return close and bool((np.abs(fitted["scale"] * sd - (fitted["scale"] > 0)) <= 10 * CLOSE).all())


def _labels(cohort: Cohort, fold: TrainedFold, checkpoint: Checkpoint, parts: FoldParts) -> Finding:
    task = checkpoint.task
    if task is None:
        return Finding("labels", "ok", "trained without labels: there are no classes and no time bins", fold.where)
    if cohort.patients is None or cohort.replaced({schema.PATIENTS: fold.parents.get(schema.PATIENTS, "")}):
        return Finding("labels", "not checked", "the outcomes were replaced since training", fold.where, AGAIN)
    possible = usable(cohort, fold)
    subtypes, survival = cohort.patients.subtypes(), cohort.patients.survival()

    def fits(patients: frozenset[str]) -> bool:
        if task["name"] == "subtype":
            own = [subtypes[patient] for patient in patients if patient in subtypes]
            return _equal(task["base"], _class_base(own, task["classes"]))
        rows = survival.loc[sorted(patients & set(survival.index))]
        time, event = rows["time_days"].to_numpy(float), rows["event"].to_numpy(bool)
        edges = _edges(time, event, len(task["edges_days"]))
        return _equal(task["edges_days"], edges) and _equal(task["base"], _hazard_base(time, event, edges))

    right = [parts.train & who for who in possible]
    wider = [(name, people & who) for name, people in wider_sets(parts, frozenset(cohort.known)) for who in possible]
    what = "the share of each class" if task["name"] == "subtype" else "the time bins"
    return judged("labels", what, fits, right, wider, fold.where)


def _class_base(own: list[str], classes: list[str]) -> list[float]:
    return [math.log((own.count(name) + _FEW) / (len(own) + _FEW * len(classes))) for name in classes]


def _edges(time: np.ndarray, event: np.ndarray, bins: int) -> list[float]:
    """Right edges of time bins in days, cut at the quantiles of the times with an event."""
    if not event.any():
        return []
    inner = np.quantile(time[event], np.arange(1, bins) / bins)
    return np.unique([*inner, np.nextafter(time.max(), np.inf)]).tolist()


def _hazard_base(time: np.ndarray, event: np.ndarray, edges: list[float]) -> list[float]:
    bins = np.minimum(np.searchsorted(edges, time, side="right"), len(edges) - 1)
    base = []
    for k in range(len(edges)):
        died = int(np.sum(event & (bins == k)))
        lived = int(np.sum(bins > k) + np.sum(~event & (bins == k)))
        base.append(math.log((died + _FEW) / (lived + _FEW)))
    return base


def _equal(one: Iterable[float], other: Iterable[float]) -> bool:
    one, other = list(one), list(other)
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=1e-9, atol=1e-9))


def wider_sets(parts: FoldParts, everybody: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """Sets that nothing may be fitted on, by what they are called."""
    return [
        ("training and validation patients", parts.train | parts.validation),
        ("training and test patients", parts.train | parts.test),
        ("all patients of the fold", parts.everyone),
        ("all patients of the store", everybody),
        ("test patients", parts.test),
        ("validation patients", parts.validation),
    ]


def judged(
    kind: str,
    thing: str,
    fits: Fits,
    right: Iterable[frozenset[str]],
    wider: Iterable[tuple[str, frozenset[str]]],
    where: Where,
) -> Finding:
    """What was fitted, against the patients it may have been fitted on and then those it may not."""
    right = list(dict.fromkeys(right))
    if any(fits(people) for people in right):
        return Finding(kind, "ok", f"{thing}, computed again, is that of the training patients", where)
    for name, people in wider:
        if people not in right and fits(people):
            return Finding(kind, "leak", f"{thing} was fitted on {name}", where, AGAIN)
    what = f"{thing} is not that of the training patients, nor of any wider set that was tried"
    return Finding(kind, "warning", what, where, AGAIN)
