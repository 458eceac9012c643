"""Gene selection for every outer fold of a split, on its training patients alone.

Per fold: standardise on the training patients, choose the number of genes by cross-validation inside them, eliminate
down to it, count how often resamples keep each gene, and add the curated cancer genes. One fold is one unit of work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mirror_data.cohort.strata import deal, draw_order
from mirror_data.errors import BadInput
from mirror_data.rna.cancer_genes import match_cancer_genes
from mirror_data.rna.elimination import (
    Curve,
    EliminationOptions,
    cross_validate,
    eliminate,
    one_thread,
    stability,
)
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.standardise import standardise
from mirror_data.rna.svm import RESIDUAL
from mirror_data.store import Expression, GeneSelection, Patients
from mirror_data.tables import file_digest

Watch = Callable[[float], None]  # hears the share of a fold's work that is done


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
) -> Selected:
    """Select genes on the patients of ``train`` that have expression and the target.

    Args:
        train: patient ids; nobody else's values are looked at.

    Raises:
        BadInput: ``BAD_OPTION``, ``NO_OVERLAP``, ``BAD_SCALE``, ``TOO_FEW`` if a class has fewer patients than folds.
    """
    target = _target(patients, options.target)
    place = {patient: row for row, patient in enumerate(expression.patient_ids)}
    strata = {patient: target[patient] for patient in sorted(train) if patient in place and patient in target}
    classes = sorted(set(strata.values()))
    _check_classes(classes, list(strata.values()), options)
    labels = np.array([classes.index(label) for label in strata.values()])
    clip = options.clip if expression.unit == "zscore" else None
    ready = standardise(expression.values[[place[patient] for patient in strata]], clip)
    found = _eliminate_all(ready.values, labels, strata, fold, options, watch)
    cancer = None if options.cancer_genes is None else match_cancer_genes(options.cancer_genes, expression.symbols)
    listed = np.zeros(len(found.ranking), dtype=bool) if cancer is None else cancer.listed
    kept = np.flatnonzero((found.ranking == 1) | listed)
    parameters = asked(options, expression.unit) | {
        "classes": classes,
        "eliminated_to": found.curve.best,
        "constant_genes": ready.constant,
        "clipped_cells": ready.clipped,
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
class _Found:
    ranking: np.ndarray  # int32 (g,)
    curve: Curve
    stability: np.ndarray | None  # float32 (g,)
    residual: float


def _eliminate_all(
    values: np.ndarray,
    labels: np.ndarray,
    strata: dict[str, str],
    fold: int,
    options: SelectionOptions,
    watch: Watch,
) -> _Found:
    """Cross-validation, the elimination of everybody, and the resamples, on one Gram matrix."""
    inner = deal(strata, [1.0] * options.folds, options.seed, f"inner folds {fold}")
    halves = [_half(strata, options.seed, f"resample {fold}/{r}") for r in range(options.resamples)]
    total, done = options.folds + 1 + options.resamples, 0

    def heard(left: int, genes: int) -> None:
        watch(min(1.0, (done + 1 - left / genes) / total))

    def next_one() -> None:
        nonlocal done
        done += 1

    how = options.elimination
    with one_thread():
        matrix = GeneMatrix(values)
        fold_of = np.array([inner[patient] for patient in strata])
        curve = cross_validate(matrix, labels, fold_of, how, watch=heard, finished=next_one)
        final = eliminate(matrix, labels, how, watch=heard)
        next_one()
        shares = None
        if halves:
            masks = [np.array([patient in half for patient in strata]) for half in halves]
            shares = stability(matrix, labels, masks, curve.best, how, watch=heard, finished=next_one)
    return _Found(final.ranking(curve.best), curve, shares, max(curve.residual, final.residual))


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


def _half(strata: dict[str, str], seed: int, purpose: str) -> frozenset[str]:
    """Half of each class's patients."""
    chosen: list[str] = []
    for name in sorted(set(strata.values())):
        members = draw_order([patient for patient, label in strata.items() if label == name], seed, purpose)
        chosen += members[: max(1, len(members) // 2)]
    return frozenset(chosen)
