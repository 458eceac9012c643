"""Which genes an elimination drops next, with as few exact weights as will do.

A weight is a product x b over all samples, and reading every gene for it each round is what an elimination one gene at
a time would spend its time on. After an exact reading at b, a gene's weight at b' is known to within |x| |b' - b|
(Cauchy and Schwarz): genes far enough above the least are not looked at. For those at hand x (b' - b) in float32 gives
the weight to about 1e-5 of that, and the few between which this does not decide are computed exactly. What is decided
is what exact weights of all genes would have decided.

The size of a gene is the length of its weights over the machines: the root of its importance.

Shapes: n samples, c machines, d genes.
"""

from __future__ import annotations

import numpy as np

from mirror_data.rna.crew import ALONE, Crew
from mirror_data.rna.gene_matrix import GeneMatrix

_ROUNDING = 1e-13  # of a weight, against |x| |b|
_SINGLE = 2.0**-24  # half a unit in the last place of float32
_FEW = 64  # one gene in so many or fewer dropped a round: keep genes at hand
_POOLED = 8  # this share of them
_LASTS = 4  # rounds; of a pool that does not last so long, all are kept at hand
_AT_HAND = 2**29  # bytes


class Least:
    """Finds the genes of least importance, round by round.

    Args:
        alive: bool (g,), the genes left; the caller strikes out those it drops.
    """

    def __init__(self, matrix: GeneMatrix, alive: np.ndarray, crew: Crew = ALONE) -> None:
        self._matrix, self._alive, self._crew = matrix, alive, crew
        self._genes = np.zeros(0, dtype=np.intp)  # those read last, in the order of ids
        self._weights = np.zeros((0, 0))  # what they weighed
        self._beta: np.ndarray | None = None  # for these coefficients
        self._pool: _Pool | None = None
        self._share = _POOLED

    def know(self, genes: np.ndarray, weights: np.ndarray, beta: np.ndarray) -> None:
        """Weights (d, c) of all genes left have been read for coefficients (c, n)."""
        self._genes, self._weights, self._beta = genes, weights, beta

    def find(self, beta: np.ndarray, count: int) -> np.ndarray:
        """The ``count`` least important genes for coefficients (c, n), sorted; of equals (to rounding) the first."""
        noise = _ROUNDING * self._matrix.longest * _length(beta)
        if self._pool is not None:
            found = self._pool.find(self._alive, beta, count, noise)
            if found is not None:
                return found
            if self._pool.rounds < _LASTS:
                self._share = 1
            self._pool = self._beta = None
        found = None if self._beta is None else self._by_last_reading(beta, count, noise)
        if found is not None:
            return found
        genes = np.flatnonzero(self._alive)
        self.know(genes, self._matrix.weights(genes, beta, self._crew), beta)
        if count * _FEW < len(genes) and len(genes) // self._share * beta.shape[1] * 4 < _AT_HAND:
            self._pool = _Pool(self._matrix, genes, self._weights, beta, self._share)
        return _least(genes, _sizes(self._weights), count, noise)

    def _by_last_reading(self, beta: np.ndarray, count: int, noise: float) -> np.ndarray | None:
        """By the weights read last, and exact ones where these do not decide; None if that would be too many."""
        assert self._beta is not None
        here = self._alive[self._genes]
        genes, sizes = self._genes[here], _sizes(self._weights)[here]
        drift = self._matrix.longest * _length(beta - self._beta)
        return _decide(self._matrix, genes, sizes, drift, beta, count, noise)


class _Pool:
    """Genes at hand in float32: those that weighed least at some coefficients, and a bound for all others."""

    def __init__(
        self, matrix: GeneMatrix, genes: np.ndarray, weights: np.ndarray, beta: np.ndarray, share: int
    ) -> None:
        self.matrix, self.beta = matrix, beta
        self.outside = np.inf
        if share > 1:
            sizes, count = _sizes(weights), len(genes) // share
            order = np.argpartition(sizes, count)
            self.outside = float(sizes[order[count]])
            chosen = np.sort(order[:count])
            genes, weights = genes[chosen], weights[chosen]
        self.genes, self.weights = genes, weights
        self.rows = matrix.rows(genes, np.arange(matrix.samples), np.float32)  # (d, n)
        self.rounds = 0

    def find(self, alive: np.ndarray, beta: np.ndarray, count: int, noise: float) -> np.ndarray | None:
        """The least of all genes, or None if the pool does not tell."""
        here = alive[self.genes]
        left = np.count_nonzero(here)
        if left < count or 2 * left < len(here):
            return None
        change = beta - self.beta
        weights = self.weights + (change.astype(np.float32) @ self.rows.T).T
        drift = self.matrix.longest * _length(change)
        # Rounding of a product of n terms, of its factors and of the sum with the weight.
        blur = (beta.shape[1] + 4) * _SINGLE * drift
        genes, sizes = self.genes[here], _sizes(weights)[here]
        border = np.partition(sizes, count - 1)[count - 1]
        if border + blur + noise >= self.outside - drift - noise:
            return None
        self.rounds += 1
        return _decide(self.matrix, genes, sizes, blur, beta, count, noise)


def _decide(
    matrix: GeneMatrix,
    genes: np.ndarray,
    sizes: np.ndarray,
    blur: float,
    beta: np.ndarray,
    count: int,
    noise: float,
) -> np.ndarray | None:
    """The least genes by sizes known to within +-blur; None if too many would have to be computed exactly."""
    border = np.partition(sizes, count - 1)[count - 1]  # the true border lies within +-blur of it
    sure = sizes < border - 2 * blur - noise
    doubtful = (sizes <= border + 2 * blur + noise) & ~sure
    if blur == 0:
        return _least(genes, sizes, count, noise)
    if np.count_nonzero(doubtful) > 1 + len(genes) // _POOLED:
        return None
    exact = _sizes(matrix.weights(genes[doubtful], beta))
    rest = _least(genes[doubtful], exact, count - int(np.count_nonzero(sure)), noise)
    return np.sort(np.concatenate([genes[sure], rest]))


def _sizes(weights: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("dc,dc->d", weights, weights))


def _length(beta: np.ndarray) -> float:
    return float(np.sqrt((beta * beta).sum()))


def _least(genes: np.ndarray, sizes: np.ndarray, count: int, noise: float) -> np.ndarray:
    """The ``count`` genes of least size, sorted; of equals (to rounding) those first in the order of ids."""
    border = np.partition(sizes, count - 1)[count - 1]
    below = np.flatnonzero(sizes < border - noise)
    equal = np.flatnonzero(np.abs(sizes - border) <= noise)
    return np.sort(np.concatenate([genes[below], genes[equal[: count - len(below)]]]))
