"""Recursive feature elimination by exact support vector machines, its cross-validation, and stability selection.

An elimination trains a machine on all genes, drops those with the smallest squared weights, and begins again (Guyon et
al., Machine Learning 46, 2002; the paper's equation 3). Everything about a fit lies in the Gram matrix of the samples,
so a round costs one small solve, one product X b for the weights, and taking the dropped genes out of the matrix.

Shapes: g genes, n samples, c machines (one for two classes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from mirror_data.errors import BadInput
from mirror_data.rna.gene_matrix import GeneMatrix, take_out
from mirror_data.rna.svm import decide, fit, signs

Scoring = Literal["accuracy", "balanced-accuracy"]
_AFRESH = 8  # compute the Gram matrix anew whenever this many times fewer genes are left, against rounding
_ROUNDING = 1e-13


@dataclass(frozen=True)
class EliminationOptions:
    """How genes are eliminated."""

    step: float = 0.05  # below 1: this share of all genes a round (scikit-learn's meaning); else that many genes
    min_genes: int = 1
    C: float = 1.0
    scoring: Scoring = "accuracy"

    def __post_init__(self) -> None:
        if self.step <= 0 or (self.step >= 1 and self.step != int(self.step)):
            raise BadInput(
                "BAD_OPTION", "the step is a share below 1 or a number of genes", key="--step", got=self.step
            )
        if self.min_genes < 1:
            raise BadInput("BAD_OPTION", "at least one gene must remain", key="--min-genes", got=self.min_genes)
        if not self.C > 0:
            raise BadInput("BAD_OPTION", "C must be positive", key="--C", got=self.C)


@dataclass(frozen=True)
class Elimination:
    """One elimination down to the least number of genes."""

    dropped_in: np.ndarray  # int32 (g,): round in which a gene went, counted from 1; 0 = it was there at the end
    sizes: tuple[int, ...]  # genes in each round, falling
    scores: tuple[float, ...]  # of the samples left out, in each round; empty if none was
    residual: float  # the worst of all fits
    solves: int

    def ranking(self, size: int) -> np.ndarray:
        """int32 (g,) at one of the sizes: 1 = kept, 2 = dropped in the last round before, and so on up."""
        rounds = self.sizes.index(size)  # so many were needed to come down to it
        gone = (self.dropped_in > 0) & (self.dropped_in <= rounds)
        return np.where(gone, rounds - self.dropped_in + 2, 1).astype(np.int32)


def one_thread() -> AbstractContextManager:
    """BLAS on one thread: faster for these sizes (see svm.py), and the same bits whatever the machine's core count."""
    return threadpool_limits(1, user_api="blas")


def genes_a_round(step: float, genes: int) -> int:
    """How many genes a round drops: a share of the original count, or a count; at least one."""
    return int(max(1, step * genes)) if step < 1 else int(step)


def eliminate(
    matrix: GeneMatrix,
    labels: np.ndarray,
    options: EliminationOptions,
    *,
    among: np.ndarray | None = None,
    scored: np.ndarray | None = None,
    standardise: bool = False,
    watch: Callable[[int, int], None] = lambda left, genes: None,
) -> Elimination:
    """Eliminate genes down to ``options.min_genes``.

    Args:
        matrix: all genes; restored first.
        labels: (n,) class indices 0, 1, ...
        among: bool (n,), samples to fit on; all if None.
        scored: bool (n,), samples to score each round by (none of those fitted on); nobody if None.
        standardise: bring every gene to mean 0 and spread 1 on the samples fitted on first.
        watch: hears genes left and genes in all, each round.

    Raises:
        BadInput: ``BAD_SCALE``, see `mirror_data.rna.svm.fit`.
    """
    matrix.restore(among if standardise else None)
    genes = matrix.left
    step, floor = genes_a_round(options.step, genes), min(options.min_genes, genes)
    y = signs(labels, among)
    K, computed_at = matrix.whole(), genes
    dropped_in = np.zeros(genes, dtype=np.int32)
    sizes: list[int] = []
    scores: list[float] = []
    warm, residual, solves = None, 0.0, 0
    while True:
        machine = fit(K, y, options.C, warm)
        warm, residual, solves = machine.active, max(residual, machine.residual), solves + machine.solves
        sizes.append(matrix.left)
        if scored is not None:
            scores.append(score(decide(machine.scores[:, scored]), labels[scored], options.scoring))
        watch(matrix.left, genes)
        if matrix.left <= floor:
            break
        noise = _ROUNDING * matrix.longest * float(np.sqrt((machine.beta**2).sum()))
        rows = matrix.least(matrix.importance(machine.beta), min(step, matrix.left - floor), noise)
        gone = matrix.take_away(rows)
        dropped_in[matrix.order[matrix.left : matrix.left + len(gone)]] = len(sizes)
        if matrix.left * _AFRESH < computed_at:
            K, computed_at = matrix.gram(), matrix.left
        else:
            take_out(K, gone)
    return Elimination(dropped_in, tuple(sizes), tuple(scores), residual, solves)


def score(predicted: np.ndarray, actual: np.ndarray, scoring: Scoring) -> float:
    """Accuracy, or the mean over the classes of each one's (those that occur)."""
    hit = predicted == actual
    if scoring == "accuracy":
        return float(hit.mean())
    return float(np.mean([hit[actual == k].mean() for k in np.unique(actual)]))


@dataclass(frozen=True)
class Curve:
    """Cross-validated score by number of genes."""

    sizes: tuple[int, ...]
    mean: np.ndarray  # (sizes,)
    sd: np.ndarray  # (sizes,): over the folds, of the population
    best: int  # the fewest genes of the highest mean
    residual: float


def cross_validate(
    matrix: GeneMatrix,
    labels: np.ndarray,
    fold_of: np.ndarray,
    options: EliminationOptions,
    *,
    standardise: bool = True,
    watch: Callable[[int, int], None] = lambda left, genes: None,
    finished: Callable[[], None] = lambda: None,
) -> Curve:
    """Eliminate without each fold in turn, scoring it at every size.

    Args:
        fold_of: (n,) the inner fold of each sample, 0, 1, ...
        standardise: do it anew without each fold. Genes centred on everybody make the samples sum to zero, so that
            those held out lie opposite to the others: with more genes than samples that cost 0.18 of accuracy (0.655
            against 0.834, TCGA-BRCA subtypes, 1,558 genes), and less the fewer genes are left: the fewest won.
        finished: hears of each elimination's end.
    """
    every = []
    for fold in range(int(fold_of.max()) + 1):
        held = fold_of == fold
        every.append(eliminate(matrix, labels, options, among=~held, scored=held, standardise=standardise, watch=watch))
        finished()
    scores = np.array([one.scores for one in every])  # (folds, sizes)
    total = np.round(scores.sum(axis=0), 12)  # equal to rounding is equal
    sizes = every[0].sizes
    best = max(range(len(sizes)), key=lambda i: (total[i], -sizes[i]))
    residual = max(one.residual for one in every)
    return Curve(sizes, scores.mean(axis=0), scores.std(axis=0), sizes[best], residual)


def stability(
    matrix: GeneMatrix,
    labels: np.ndarray,
    resamples: Sequence[np.ndarray],
    size: int,
    options: EliminationOptions,
    *,
    watch: Callable[[int, int], None] = lambda left, genes: None,
    finished: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Share of resamples whose elimination down to ``size`` genes keeps each gene: float32 (g,).

    Stability selection (Meinshausen and Buehlmann, J. R. Stat. Soc. B 72, 2010), with eliminations.

    Args:
        resamples: bool (n,) each, the samples to fit on.
    """
    down = EliminationOptions(options.step, size, options.C, options.scoring)
    kept = np.zeros(len(matrix.values))
    for among in resamples:
        kept += eliminate(matrix, labels, down, among=among, watch=watch).dropped_in == 0
        finished()
    return (kept / max(len(resamples), 1)).astype(np.float32)
