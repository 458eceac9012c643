"""Gene selection for every outer fold of a split, on its training patients alone.

Per fold: standardise on the training patients, choose the number of genes by cross-validation inside them, eliminate
down to it, count how often resamples keep each gene, and add the curated cancer genes. One fold is one unit of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mirror_data.cohort.strata import deal, draw_order
from mirror_data.errors import BadInput
from mirror_data.rna.cancer_genes import match_cancer_genes
from mirror_data.rna.crew import Crew, crew
from mirror_data.rna.elimination import EliminationOptions
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.resampling import Curve, Watch, stability, validate
from mirror_data.rna.standardise import Standardised, standardise
from mirror_data.rna.svm import RESIDUAL
from mirror_data.store import Expression, GeneSelection, Patients
from mirror_data.tables import file_digest


@dataclass(frozen=True)
class SelectionOptions:
    """How genes are selected; see the command ``genes``."""

    name: str
    target: str = "subtype"
    elimination: EliminationOptions = field(default_factory=EliminationOptions)
    folds: int = 5  # of the cross-validation inside
    resamples: int = 0  # of stability selection
    cancer_genes: str | None = None
    clip: float = 10.0  # of z-scores
    seed: int = 0


@dataclass(frozen=True)
class Selected:
    """A fold's genes, and how exactly its machines were solved."""

    genes: GeneSelection
    residual: float  # worst violation of the optimality conditions over all fits


def select_genes(
    expression: Expression,
    patients: Patients,
    train: Sequence[str],
    fold: int,
    options: SelectionOptions,
    watch: Watch = lambda share: None,
    threads: int = 1,
    device: str = "cpu",
) -> Selected:
    """Select genes on the patients of ``train`` that have expression and the target.

    Args:
        train: patient ids; nobody else's values are looked at.
        watch: hears the share of the work that is done.
        threads: for the heavy products; the result does not depend on it.
        device: where these run: "cpu", or torch's name of a GPU.

    Raises:
        BadInput: ``BAD_OPTION``, ``NO_OVERLAP``, ``BAD_SCALE``, ``TOO_FEW`` if a class has fewer patients than folds.
    """
    target = _target(patients, options.target)
    there = set(expression.patient_ids)
    strata = {patient: target[patient] for patient in sorted(train) if patient in there and patient in target}
    classes = sorted(set(strata.values()))
    _check_classes(classes, list(strata.values()), options)
    with crew(threads) as hands:
        cohort = _cohort(expression, strata, fold, options, device, hands)
        found = _eliminate_all(cohort, options, watch, hands)
    cancer = None if options.cancer_genes is None else match_cancer_genes(options.cancer_genes, expression.symbols)
    listed = np.zeros(len(found.ranking), dtype=bool) if cancer is None else cancer.listed
    kept = np.flatnonzero((found.ranking == 1) | listed)
    parameters = asked(options, expression.unit) | {
        "classes": classes,
        "eliminated_to": found.curve.best,
        "constant_genes": cohort.constant,
        "clipped_cells": cohort.clipped,
        "cancer_symbols": 0 if cancer is None else cancer.symbols,
        "cancer_symbols_unmatched": [] if cancer is None else list(cancer.unmatched),
    }
    genes = GeneSelection(
        name=options.name,
        fold=fold,
        kept=tuple(sorted(expression.gene_ids[i] for i in kept)),
        gene_ids=expression.gene_ids,
        ranking=found.ranking,
        cancer=listed.astype(np.uint8),
        stability=found.stability,
        curve=pd.DataFrame({"genes": found.curve.sizes, "score": found.curve.mean, "sd": found.curve.sd}),
        fitted_on=tuple(strata),
        parameters=parameters,
    )
    return Selected(genes, found.residual)


def asked(options: SelectionOptions, unit: str) -> dict[str, Any]:
    """The parameters of a selection that are known before it is made."""
    how = options.elimination
    return {
        "target": options.target,
        "step": how.step,
        "C": how.C,
        "intercept": how.intercept,
        "scoring": how.scoring,
        "min_genes": how.min_genes,
        "inner_folds": options.folds,
        "resamples": options.resamples,
        "seed": options.seed,
        "clip": options.clip if unit == "zscore" else None,
        "standardised": "mean 0, sd 1 per gene over fitted_on; in cross-validation over those fitted on",
        "cancer_list_sha256": None if options.cancer_genes is None else file_digest(options.cancer_genes),
        "solver": f"squared-hinge SVM on the Gram matrix, float64, residual below {RESIDUAL:g}",
    }


@dataclass(frozen=True)
class _Cohort:
    """The training patients of a fold."""

    matrix: GeneMatrix
    labels: np.ndarray  # (n,) class indices
    fold_of: np.ndarray  # (n,) inner folds
    halves: tuple[np.ndarray, ...]  # bool (n,) each, resamples
    constant: int  # genes that do not vary
    clipped: int  # cells


def _cohort(
    expression: Expression, strata: dict[str, str], fold: int, options: SelectionOptions, device: str, hands: Crew
) -> _Cohort:
    place = {patient: row for row, patient in enumerate(expression.patient_ids)}
    classes = sorted(set(strata.values()))
    inner = deal(strata, [1.0] * options.folds, options.seed, f"inner folds {fold}")
    fitted = sorted(strata, key=lambda patient: (inner[patient], patient))  # a fold's samples are neighbours
    clip = options.clip if expression.unit == "zscore" else None
    ready = standardise(expression.values, clip, np.array([place[patient] for patient in fitted]), hands)
    return _Cohort(
        _matrix(ready, device),
        labels=np.array([classes.index(strata[patient]) for patient in fitted]),
        fold_of=np.array([inner[patient] for patient in fitted]),
        halves=tuple(np.array([p in half for p in fitted]) for half in _halves(strata, fold, options)),
        constant=ready.constant,
        clipped=ready.clipped,
    )


def _matrix(ready: Standardised, device: str) -> GeneMatrix:
    if device == "cpu":
        return GeneMatrix.of(ready)
    try:
        from mirror_data.rna.torch_matrix import TorchGeneMatrix
    except ImportError as error:
        hint = "install mirror-data[slides]"
        raise BadInput("BAD_OPTION", "a GPU needs torch", key="--device", got=device, hint=hint) from error
    return TorchGeneMatrix.on(ready, device)


@dataclass(frozen=True)
class _Found:
    ranking: np.ndarray  # int32 (g,)
    curve: Curve
    stability: np.ndarray | None  # float32 (g,)
    residual: float


def _eliminate_all(cohort: _Cohort, options: SelectionOptions, watch: Watch, hands: Crew) -> _Found:
    """Cross-validation, the elimination of everybody, and the resamples."""
    first = options.folds + 1
    total = first + len(cohort.halves)
    how, matrix, labels = options.elimination, cohort.matrix, cohort.labels
    found = validate(matrix, labels, cohort.fold_of, how, crew=hands, watch=lambda share: watch(share * first / total))
    shares = None
    if cohort.halves:
        shares = stability(
            matrix,
            labels,
            cohort.halves,
            found.curve.best,
            how,
            crew=hands,
            watch=lambda share: watch((first + share * len(cohort.halves)) / total),
        )
    ranking = found.everybody.ranking(found.curve.best)
    return _Found(ranking, found.curve, shares, max(found.curve.residual, found.everybody.residual))


def _target(patients: Patients, column: str) -> dict[str, str]:
    table = patients.table
    if column not in table or pd.api.types.is_numeric_dtype(table[column]):
        got = ", ".join(str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name]))
        message = f"patients have no column {column} of classes"
        raise BadInput("BAD_OPTION", message, key="--target", expected="a column of text", got=got or "none")
    return {str(patient): str(label) for patient, label in table[column].dropna().items()}


def _check_classes(classes: Sequence[str], labels: Sequence[str], options: SelectionOptions) -> None:
    if options.folds < 2:
        raise BadInput("BAD_OPTION", "at least two inner folds are needed", key="--folds", got=options.folds)
    if not classes:
        hint = "check that expression, clinical table and split hold the same patients (`mirror-data info`)"
        raise BadInput("NO_OVERLAP", "no training patient has expression and the target", key=options.target, hint=hint)
    rare = [name for name in classes if labels.count(name) < options.folds]
    if len(classes) < 2 or rare:
        what = f"{len(rare)} of {len(classes)} classes have fewer training patients than inner folds"
        raise BadInput(
            "TOO_FEW",
            what if len(classes) > 1 else "there is one class only",
            key=options.target,
            hint="read the clinical table with --subtypes naming the classes to tell apart, or use fewer --folds",
        )


def _halves(strata: dict[str, str], fold: int, options: SelectionOptions) -> list[frozenset[str]]:
    """Half of each class's patients, as often as resamples are asked for."""
    found = []
    for resample in range(options.resamples):
        chosen: list[str] = []
        for name in sorted(set(strata.values())):
            members = [patient for patient, label in strata.items() if label == name]
            drawn = draw_order(members, options.seed, f"resample {fold}/{resample}")
            chosen += drawn[: max(1, len(drawn) // 2)]
        found.append(frozenset(chosen))
    return found
