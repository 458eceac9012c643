"""One elimination under way: the genes left, their Gram matrix, and the machines on it.

Where there are many times more genes than samples, the products that fill the Gram matrix and empty it again are most
of the work. They are then of float32 (twice as fast) as long as there are many genes, and the genes are read once a
round for the decision values that the fit really has. What K b lacks of them goes into the next fit as an offset:
iterative refinement, which ends where an exact K would have ended. How far off the last step may be is estimated from
how far off the one before was, and the genes are read again while that is above a thousandth of what is promised.

Shapes: g genes, n samples, c machines, m samples in the Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror_data.rna.crew import Crew
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.least import Least
from mirror_data.rna.svm import Fit, Machines, signs
from mirror_data.rna.systems import less_outer

_AFRESH = 8  # compute the Gram matrix anew whenever this many times fewer genes are left, against rounding
_FEW_ROUNDS = 25  # samples a round from which reading all genes in each is cheaper than more products
_ROUGH = 16  # genes per sample from which float32 products do
_DOUBT = 1e-12  # in a decision value
_MARGIN = 1000.0  # decision values nearer to 0 than so many times the last step are read again


@dataclass(frozen=True)
class Machine:
    """What is trained each round."""

    C: float = 1.0  # weight of the loss
    intercept: float = 1.0  # value of the intercept's feature


@dataclass(frozen=True)
class Round:
    """A fit of the genes left."""

    scores: np.ndarray  # (c, n): decision values, of samples neither fitted nor scored perhaps 0
    residual: float
    solves: int


class Course:
    """An elimination under way.

    Args:
        matrix: all genes.
        labels: (n,) class indices 0, 1, ...
        machine: what is trained.
        step: genes a round.
        rounds: how many there will be.
        fitted: bool (n,), samples to fit on.
        scored: bool (n,), samples whose decision values are wanted as well.
        standardise: on the samples fitted on.
    """

    def __init__(
        self,
        matrix: GeneMatrix,
        labels: np.ndarray,
        machine: Machine,
        step: int,
        rounds: int,
        *,
        fitted: np.ndarray,
        scored: np.ndarray | None,
        standardise: bool,
        crew: Crew,
    ) -> None:
        self.left = matrix.genes
        few = rounds * _FEW_ROUNDS <= int(np.count_nonzero(fitted))
        # Samples that are only scored need no place in the Gram matrix if the genes are read for them.
        self._reads = few and scored is not None
        self._places = np.flatnonzero(fitted if few or scored is None else fitted | scored)  # (m,)
        self._rough = few and self.left > _ROUGH * len(self._places)
        self._scored = np.zeros_like(fitted) if scored is None else scored
        self._matrix = matrix.standardised_on(np.flatnonzero(fitted), crew) if standardise else matrix
        self._alive = np.ones(self.left, dtype=bool)
        self._machines = Machines(signs(labels, fitted)[:, self._places], machine.C, one_by_one=step == 1)
        self._least = Least(self._matrix, self._alive, crew)
        self._crew = crew
        self._bias = machine.intercept**2  # what the intercept's feature adds to the Gram matrix
        self.beta = np.zeros((0, 0))  # (c, n)
        self._before: np.ndarray | None = None  # (c, m), coefficients of the last fit
        self._offset: np.ndarray | None = None  # (c, m)
        if standardise:
            self._K = self._gram()
        else:
            self._K = (matrix.whole(self._places, crew, rough=self._rough) + self._bias).T
        self._computed_at = self.left

    def fit(self) -> Round:
        """Fit the genes left."""
        machine = self._machines.fit(self._K, offset=self._offset)
        if self._rough or self._reads:
            return self._refined(machine)
        self.beta = self._everyone(machine.beta)
        return Round(self._everyone(machine.scores), machine.residual, machine.solves)

    def drop(self, count: int) -> np.ndarray:
        """Drop the least important genes; returns them, sorted."""
        gone = self._least.find(self.beta, count)
        self._alive[gone] = False
        self.left -= count
        if self._rough and self.left <= _ROUGH * len(self._places):
            self._rough, self._offset = False, None
            self._K, self._computed_at = self._gram(), self.left
        elif self.left * _AFRESH < self._computed_at:
            self._K, self._computed_at = self._gram(), self.left
        elif count > 1:
            self._K -= self._matrix.gram(gone, self._places, self._crew, rough=self._rough).T
        if count == 1:
            gene = self._matrix.rows(gone, self._places)[0]
            if self._computed_at != self.left:
                less_outer(self._K, gene)
            self._machines.feature_gone(gene)
        return gone

    def _refined(self, machine: Fit) -> Round:
        """Read the genes for weights and decision values; with a rough K, fit again until these agree with it."""
        genes, solves = np.flatnonzero(self._alive), machine.solves
        while True:
            beta = self._everyone(machine.beta)
            read = self._matrix.read(genes, beta, self._crew)
            self._least.know(genes, read.weights, beta)
            self.beta, scores = beta, read.scores + self._bias * beta.sum(axis=1, keepdims=True)
            if not self._rough:
                return Round(scores, machine.residual, solves)
            lacking = scores[:, self._places] - machine.scores
            self._offset = lacking if self._offset is None else self._offset + lacking
            last, machine = machine, self._machines.fit(self._K, offset=self._offset)
            solves += machine.solves
            moved, came = _distance(machine.beta, last.beta), _distance(last.beta, self._before)
            self._before = machine.beta
            doubt = float(np.abs(lacking).max()) * moved / max(came, moved, np.finfo(float).tiny)
            step = float(np.abs(machine.scores - last.scores - lacking).max())
            if doubt <= _DOUBT and not self._close(scores, step):
                self.beta = self._everyone(machine.beta)
                scores[:, self._places] = machine.scores
                return Round(scores, machine.residual + doubt, solves)

    def _close(self, scores: np.ndarray, step: float) -> bool:
        """Whether a step of the decision values might turn the class of a scored sample."""
        if not self._scored.any():
            return False
        ordered = np.sort(scores[:, self._scored], axis=0)
        margin = np.abs(ordered[0]) if len(ordered) == 1 else ordered[-1] - ordered[-2]
        return bool(margin.min() < _MARGIN * step)

    def _gram(self) -> np.ndarray:
        """X X' and the intercept over the genes left (m, m), in Fortran order."""
        genes = np.flatnonzero(self._alive)
        return (self._matrix.gram(genes, self._places, self._crew, rough=self._rough) + self._bias).T

    def _everyone(self, values: np.ndarray) -> np.ndarray:
        """(c, m) among all samples (c, n), 0 for the others."""
        out = np.zeros((len(values), len(self._scored)))
        out[:, self._places] = values
        return out


def _distance(one: np.ndarray, other: np.ndarray | None) -> float:
    return float(np.sqrt(((one - (0.0 if other is None else other)) ** 2).sum()))
