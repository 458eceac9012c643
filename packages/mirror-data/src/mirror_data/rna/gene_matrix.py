"""Expression as an elimination wants it: genes as rows that can be taken away, and the Gram matrix of what is left.

Shapes: g genes, n samples, c machines. float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import get_blas_funcs

_BLOCK = 4096  # genes
_FLAT = 1e-7  # spread below which a gene does not vary
_rank_one = get_blas_funcs("ger", dtype=np.float64)


@dataclass(frozen=True)
class _Lens:
    """Genes brought to mean 0 and spread 1 on some of the samples."""

    share: np.ndarray  # (n,): 1 / count for each of those samples, else 0; a row's mean is row @ share
    scale: np.ndarray  # (g,), by gene: 1 / spread, 0 for a gene that does not vary among them


class GeneMatrix:
    """Expression with genes as rows, from which genes are taken away: float64 (g, n), those left always in front.

    Args:
        values: (g, n), standardised; owned and reordered by this object. Rows sorted by gene id, which breaks ties.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = np.ascontiguousarray(values, dtype=np.float64)
        self.order = np.arange(len(values))  # which gene stands in each row
        self.left = len(values)
        self.longest = float(np.sqrt(np.einsum("gn,gn->g", self.values, self.values).max(initial=0.0)))
        self._lens: _Lens | None = None
        self._whole: np.ndarray | None = None  # the Gram matrix of all genes as they are, once it was asked for

    def restore(self, among: np.ndarray | None = None) -> None:
        """All genes are back (in some order); as they are, or standardised on the samples ``among``, bool (n,)."""
        self.left = len(self.values)
        self._lens = None if among is None else self._standardised_on(among)

    def _standardised_on(self, among: np.ndarray) -> _Lens:
        share = among / among.sum()
        scale = np.zeros(len(self.values))
        for start in range(0, len(self.values), _BLOCK):
            rows = self.values[start : start + _BLOCK][:, among]
            spread = rows.std(axis=1)
            scale[self.order[start : start + _BLOCK]] = np.divide(1.0, spread, where=spread > _FLAT, out=0 * spread)
        return _Lens(share, scale)

    def _seen(self, start: int, stop: int) -> np.ndarray:
        """Rows as they are to be fitted: a view, or standardised (d, n)."""
        rows = self.values[start:stop]
        if self._lens is None:
            return rows
        return (rows - (rows @ self._lens.share)[:, None]) * self._lens.scale[self.order[start:stop], None]

    def _blocks(self) -> Iterator[np.ndarray]:
        size = max(self.left, 1) if self._lens is None else _BLOCK
        return (self._seen(start, min(start + size, self.left)) for start in range(0, self.left, size))

    def gram(self) -> np.ndarray:
        """X X' + 1 over the genes left (n, n)."""
        n = self.values.shape[1]
        return sum((rows.T @ rows for rows in self._blocks()), np.zeros((n, n))) + 1.0

    def whole(self) -> np.ndarray:
        """`gram` of all genes, right after `restore`: one's own copy. Computed once where genes are as they are."""
        if self._lens is not None:
            return self.gram()
        if self._whole is None:
            self._whole = self.gram()
        return self._whole.copy()

    def importance(self, beta: np.ndarray) -> np.ndarray:
        """Squared weights of the genes left, summed over the machines (left,), for coefficients (c, n)."""
        if self._lens is None:
            weights = self.values[: self.left] @ beta.T  # (left, c)
        else:
            centred = beta - beta.sum(axis=1, keepdims=True) * self._lens.share  # (x - mean) b = x (b - sum(b) share)
            weights = (self.values[: self.left] @ centred.T) * self._lens.scale[self.order[: self.left], None]
        return np.einsum("gc,gc->g", weights, weights)

    def least(self, importance: np.ndarray, count: int, noise: float) -> np.ndarray:
        """Rows of the ``count`` least important genes; of equals (to rounding) those first in the order of ids."""
        border = np.partition(importance, count - 1)[count - 1]
        slack = 2 * np.sqrt(border) * noise + noise**2
        below = np.flatnonzero(importance < border - slack)
        equal = np.flatnonzero(np.abs(importance - border) <= slack)
        equal = equal[np.argsort(self.order[equal], kind="stable")]
        return np.sort(np.concatenate([below, equal[: count - len(below)]]))

    def take_away(self, rows: np.ndarray) -> np.ndarray:
        """Move rows behind those left; returns them as they were fitted (d, n), in the order of ids."""
        edge, end = self.left - len(rows), self.left
        keepers = np.setdiff1d(np.arange(edge, end), rows, assume_unique=True)
        leavers = rows[rows < edge]  # as many as keepers
        behind = np.concatenate([self.values[leavers], self.values[rows[rows >= edge]]])
        names = np.concatenate([self.order[leavers], self.order[rows[rows >= edge]]])
        self.values[leavers], self.order[leavers] = self.values[keepers], self.order[keepers]
        by_id = np.argsort(names)
        self.values[edge:end], self.order[edge:end] = behind[by_id], names[by_id]
        self.left = edge
        return self._seen(edge, end)


def take_out(K: np.ndarray, gone: np.ndarray) -> None:
    """K -= gone' gone, in place (n, n)."""
    if len(gone) == 1:
        _rank_one(-1.0, gone[0], gone[0], a=K.T, overwrite_x=False, overwrite_y=False, overwrite_a=True)
    else:
        K -= gone.T @ gone
