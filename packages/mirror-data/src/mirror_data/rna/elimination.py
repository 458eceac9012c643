"""Recursive feature elimination by exact support vector machines.

An elimination trains a machine on all genes, drops those with the smallest squared weights, and begins again (Guyon et
al., Machine Learning 46, 2002; the paper's equation 3). Everything about a fit lies in the Gram matrix of the samples,
so a round costs a small solve, the weights, and taking the dropped genes out of the matrix.

Shapes: g genes, n samples, c machines (one for two classes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mirror_data.errors import BadInput
from mirror_data.rna.course import Course, Machine
from mirror_data.rna.crew import ALONE, Crew
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.svm import decide

Scoring = Literal["accuracy", "balanced-accuracy"]


@dataclass(frozen=True)
class EliminationOptions:
    """How genes are eliminated."""

    step: float = 0.05  # below 1: this share of all genes a round (scikit-learn's meaning); else that many genes
    min_genes: int = 1
    C: float = 1.0
    scoring: Scoring = "accuracy"
    intercept: float = 1.0  # the intercept is the weight of a feature of this value: the larger, the freer it is

    def __post_init__(self) -> None:
        if self.step <= 0 or (self.step >= 1 and self.step != int(self.step)):
            raise BadInput(
                "BAD_OPTION", "the step is a share below 1 or a number of genes", key="--step", got=self.step
            )
        if self.min_genes < 1:
            raise BadInput("BAD_OPTION", "at least one gene must remain", key="--min-genes", got=self.min_genes)
        if not self.C > 0:
            raise BadInput("BAD_OPTION", "C must be positive", key="--c", got=self.C)
        if not self.intercept > 0:
            raise BadInput(
                "BAD_OPTION", "the intercept's value must be positive", key="--intercept", got=self.intercept
            )


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
    crew: Crew = ALONE,
    watch: Callable[[int, int], None] = lambda left, genes: None,
) -> Elimination:
    """Eliminate genes down to ``options.min_genes``.

    Args:
        matrix: all genes.
        labels: (n,) class indices 0, 1, ...
        among: bool (n,), samples to fit on; all if None.
        scored: bool (n,), samples to score each round by (none of those fitted on); nobody if None.
        standardise: bring every gene to mean 0 and spread 1 on the samples fitted on first.
        crew: threads for the heavy blocks; the result does not depend on how many.
        watch: hears genes left and genes in all, each round.

    Raises:
        BadInput: ``BAD_SCALE``, see `mirror_data.rna.svm.fit`.
    """
    genes = matrix.genes
    step, floor = genes_a_round(options.step, genes), min(options.min_genes, genes)
    fitted = np.ones(len(labels), dtype=bool) if among is None else among
    rounds = -(-(genes - floor) // step)
    machine = Machine(options.C, options.intercept)
    course = Course(
        matrix, labels, machine, step, rounds, fitted=fitted, scored=scored, standardise=standardise, crew=crew
    )
    dropped_in = np.zeros(genes, dtype=np.int32)
    sizes: list[int] = []
    scores: list[float] = []
    residual, solves = 0.0, 0
    while True:
        crew.go_on()
        now = course.fit()
        residual, solves = max(residual, now.residual), solves + now.solves
        sizes.append(course.left)
        if scored is not None:
            scores.append(score(decide(now.scores[:, scored]), labels[scored], options.scoring))
        watch(course.left, genes)
        if course.left <= floor:
            return Elimination(dropped_in, tuple(sizes), tuple(scores), residual, solves)
        dropped_in[course.drop(min(step, course.left - floor))] = len(sizes)


def score(predicted: np.ndarray, actual: np.ndarray, scoring: Scoring) -> float:
    """Accuracy, or the mean over the classes of each one's (those that occur)."""
    hit = predicted == actual
    if scoring == "accuracy":
        return float(hit.mean())
    return float(np.mean([hit[actual == k].mean() for k in np.unique(actual)]))
