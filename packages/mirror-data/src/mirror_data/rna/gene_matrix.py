"""Expression as an elimination reads it: genes as rows, never moved or written, each through a mean and a scale.

One matrix serves every fold, resample and thread: a fold has its own mean and scale of each gene and its own list of
the genes left, nothing more. Genes are gathered strip by strip into a small float64 buffer, which the processor's
cache holds, whatever type they are stored in.

Shapes: g genes, n samples, c machines; d genes asked for, m samples fitted on.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mirror_data.rna.crew import ALONE, Crew
from mirror_data.rna.standardise import Standardised

_STRIP = 256  # genes in the cache at once
_BLOCK = 4096  # genes in a product, most
_FLAT = 1e-7  # spread in a fold, against the spread in all, of a gene that does not vary there
_FAR = 64.0  # mean over spread from which x b - mean sum(b) would lose digits
_DENSE = 1.6  # rows per gene wanted up to which it is cheaper to read those between than to gather
_RUNS = 16  # runs of neighbouring samples, up to which they are copied as such


@dataclass(frozen=True)
class Read:
    """What one reading of the genes gives."""

    weights: np.ndarray  # (d, c)
    scores: np.ndarray  # (c, n): what these weights give each sample, without the intercept


@dataclass(frozen=True)
class Lens:
    """Mean and scale by which genes are seen."""

    mean: np.ndarray  # float64 (g,)
    scale: np.ndarray  # float64 (g,), 0 for a gene that does not vary
    longest: float  # length of the longest row over the samples that it was made for


class GeneMatrix:
    """Expression with genes as rows (g, n), sorted by gene id, which breaks ties.

    Args:
        values: float32 or float64 (g, n); read only.
        lens: how a value is fitted: as (value - mean) * scale of its gene. None: as it is.
    """

    def __init__(self, values: np.ndarray, lens: Lens | None = None) -> None:
        self.values = np.ascontiguousarray(values)
        self.genes, self.samples = self.values.shape
        self.lensed = lens is not None
        if lens is None:
            squares = np.einsum("gn,gn->g", self.values, self.values, dtype=np.float64)
            lens = Lens(np.zeros(self.genes), np.ones(self.genes), float(np.sqrt(squares.max(initial=0.0))))
        self.mean, self.scale, self.longest = lens.mean, lens.scale, lens.longest
        self._far = np.abs(self.mean * self.scale) > _FAR
        self._whole: dict[bool, np.ndarray] = {}
        self._one_at_a_time = threading.Lock()

    @classmethod
    def of(cls, ready: Standardised) -> GeneMatrix:
        """Standardised genes."""
        return cls(ready.raw, Lens(ready.mean, ready.scale, float(np.sqrt(ready.raw.shape[1]))))

    def standardised_on(self, places: np.ndarray, crew: Crew = ALONE) -> GeneMatrix:
        """The same genes brought to mean 0 and spread 1 on the samples at ``places`` (m,)."""

        def moments(block: np.ndarray) -> np.ndarray:
            out = np.empty((2, len(block)))
            for part in _strips(len(block)):
                rows = _scratch("moments", (part.stop - part.start, len(places)), np.float64)
                _copy_columns(self._gather(block[part]), places, rows)
                out[0, part] = rows.mean(axis=1)
                rows -= out[0, part, None]
                out[1, part] = np.sqrt(np.einsum("dm,dm->d", rows, rows) / len(places))
            return out

        mean, spread = np.concatenate(list(crew.map(moments, _blocks(np.arange(self.genes), _BLOCK))), axis=1)
        return GeneMatrix(self.values, self._lens(mean, spread, len(places)))

    def _lens(self, mean: np.ndarray, spread: np.ndarray, count: int) -> Lens:
        """For genes of this mean and spread (g,) on ``count`` samples."""
        varies = spread * self.scale > _FLAT  # the scale is 0 for a gene that varies nowhere
        scale = np.divide(1.0, spread, where=varies, out=np.zeros(self.genes))
        return Lens(mean, scale, float(np.sqrt(count)))

    def rows(self, genes: np.ndarray, places: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        """Genes as they are fitted (d, m), for the samples at ``places``."""
        out = np.empty((len(genes), len(places)), dtype=dtype)
        for part in _strips(len(genes)):
            out[part] = self._fitted(genes[part], places, np.float64)
        return out

    def gram(self, genes: np.ndarray, places: np.ndarray, crew: Crew = ALONE, *, rough: bool = False) -> np.ndarray:
        """X X' over some genes (m, m), float64.

        Args:
            rough: multiply blocks in float32, at twice the speed (their sum is float64 still).
        """
        # At least two blocks, for two threads; their sizes do not depend on how many there are.
        size = min(max(-(-len(genes) // 2), _STRIP), _BLOCK)

        def product(block: np.ndarray) -> np.ndarray:
            rows = self._fitted(block, places, np.float32 if rough else np.float64)
            return rows.T @ rows

        total = np.zeros((len(places), len(places)))
        for part in crew.map(product, _blocks(genes, size)):
            total += part
        return total

    def whole(self, places: np.ndarray, crew: Crew = ALONE, *, rough: bool = False) -> np.ndarray:
        """`gram` of all genes as a part of everybody's, which is computed once for all folds and resamples."""
        with self._one_at_a_time:
            if rough not in self._whole:
                everyone = np.arange(self.samples)
                self._whole[rough] = self.gram(np.arange(self.genes), everyone, crew, rough=rough)
        return self._whole[rough][np.ix_(places, places)]

    def weights(self, genes: np.ndarray, beta: np.ndarray, crew: Crew = ALONE) -> np.ndarray:
        """Weights (d, c) for coefficients (c, n)."""
        parts = list(crew.map(lambda block: self._weights(block, beta, None), _blocks(genes, _BLOCK)))
        return np.concatenate(parts) if parts else np.zeros((0, len(beta)))

    def read(self, genes: np.ndarray, beta: np.ndarray, crew: Crew = ALONE) -> Read:
        """Weights for coefficients (c, n), and what they give each sample, in one reading."""

        def both(block: np.ndarray) -> Read:
            scores = np.zeros(beta.shape)
            return Read(self._weights(block, beta, scores), scores)

        parts = list(crew.map(both, _blocks(genes, _BLOCK)))
        return Read(np.concatenate([part.weights for part in parts]), sum((p.scores for p in parts), np.zeros(())))

    def _weights(self, genes: np.ndarray, beta: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
        """Weights of a block (d, c); ``scores`` (c, n) are added to where they are given."""
        out = np.empty((len(genes), len(beta)))
        sums = beta.sum(axis=1)  # (c,)
        for part in _strips(len(genes)):
            names = genes[part]
            stored, at = self._among_neighbours(names)
            rows = _scratch("weights", stored.shape, np.float64)
            np.copyto(rows, stored)
            mean, scale, far = self.mean[names], self.scale[names], self._far[names]
            if far.any():
                rows[at[far]] -= mean[far, None]
                mean = np.where(far, 0.0, mean)
            found = (beta @ rows.T)[:, at]  # (c, d)
            if self.lensed:
                found = (found - sums[:, None] * mean) * scale
            out[part] = found.T
            if scores is not None:
                back = np.zeros((len(beta), len(rows)))
                back[:, at] = found * scale
                scores += back @ rows - (back[:, at] @ mean)[:, None]
        return out

    def _fitted(self, genes: np.ndarray, places: np.ndarray, dtype: type) -> np.ndarray:
        """Genes as they are fitted (d, m), in memory that the thread's next call uses again."""
        out = _scratch("fitted", (len(genes), len(places)), dtype)
        for part in _strips(len(genes)):
            names, rows = genes[part], out[part]
            _copy_columns(self._gather(names), places, rows)
            if self.lensed:
                rows -= self.mean[names, None].astype(dtype, copy=False)
                rows *= self.scale[names, None].astype(dtype, copy=False)
        return out

    def _among_neighbours(self, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows as they are stored, perhaps with some between, and where among them the genes are (d,)."""
        span = int(genes[-1] - genes[0]) + 1
        if span > _DENSE * len(genes):
            return self._gather(genes), np.arange(len(genes))
        return self.values[genes[0] : genes[0] + span], genes - genes[0]

    def _gather(self, genes: np.ndarray) -> np.ndarray:
        """Rows as they are stored (d, n): a view where they are neighbours."""
        if len(genes) and genes[-1] - genes[0] == len(genes) - 1:
            return self.values[genes[0] : genes[-1] + 1]
        out = _scratch("gathered", (len(genes), self.samples), self.values.dtype)
        return np.take(self.values, genes, axis=0, out=out, mode="clip")


def _copy_columns(rows: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """out = rows[:, places]."""
    if len(places) == rows.shape[1]:
        np.copyto(out, rows, casting="same_kind")
        return
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    if len(cuts) < _RUNS:
        for start, stop in zip([0, *cuts], [*cuts, len(places)], strict=True):
            out[:, start:stop] = rows[:, places[start] : places[start] + stop - start]
        return
    picked = _scratch("picked", out.shape, rows.dtype)
    np.copyto(out, np.take(rows, places, axis=1, out=picked, mode="clip"), casting="same_kind")


def _blocks(genes: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (genes[start : start + size] for start in range(0, len(genes), size))


def _strips(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _STRIP, count)) for start in range(0, count, _STRIP))


_buffers = threading.local()


def _scratch(name: str, shape: tuple[int, ...], dtype: type | np.dtype) -> np.ndarray:
    """Memory of this thread by name, grown when needed: asking the system for it each time costs more than its use."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    there = getattr(_buffers, name, None)
    if there is None or there.nbytes < size:
        there = np.empty(size, dtype=np.uint8)
        setattr(_buffers, name, there)
    return there[:size].view(kind).reshape(shape)
