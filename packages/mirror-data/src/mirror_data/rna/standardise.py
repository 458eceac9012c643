"""Expression as a machine wants it: every gene with mean 0 and spread 1 among the training patients.

The values stay as they came (float32: half the memory and half the traffic of float64, and exact), with a mean and a
scale for each gene, by which whoever reads them brings them to mean 0 and spread 1 in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror_data.rna.crew import ALONE, Crew

_BLOCK_GENES = 512
_FLAT = 1e-7  # spread, against the largest value, of a gene that does not vary


@dataclass(frozen=True)
class Standardised:
    """Genes as rows, with the scale fitted on all of the n patients given."""

    raw: np.ndarray  # (g, n), as given but clipped
    mean: np.ndarray  # float64 (g,)
    scale: np.ndarray  # float64 (g,): 1 / spread; 0 for a gene that does not vary
    constant: int  # genes that do not vary
    clipped: int  # cells beyond the limit

    @property
    def values(self) -> np.ndarray:
        """float64 (g, n), mean 0 and spread 1, or 0."""
        return (self.raw - self.mean[:, None]) * self.scale[:, None]


def standardise(
    values: np.ndarray, clip: float | None, rows: np.ndarray | None = None, crew: Crew = ALONE
) -> Standardised:
    """Clip, and find each gene's mean and spread.

    Args:
        values: (N, g).
        clip: z-scores beyond +-clip are set to it first: published z-scores hold outliers of 10^4, which would squash a
            gene's other values. None for logarithms.
        rows: the n training patients, in the order wanted; nobody else's values are looked at. All if None.
        crew: threads for blocks of genes.
    """
    rows = np.arange(len(values)) if rows is None else rows
    n, g = len(rows), values.shape[1]
    raw = np.empty((g, n), dtype=values.dtype)
    mean, scale = np.empty(g), np.zeros(g)

    def fit(start: int) -> int:
        """One block; how many of its cells were clipped."""
        genes = slice(start, min(start + _BLOCK_GENES, g))
        block = np.ascontiguousarray(values[rows, genes].T)  # (b, n)
        largest = np.abs(block).max(axis=1)
        beyond = 0
        if clip is not None:
            beyond = int((np.abs(block) > clip).sum())
            block = np.clip(block, -clip, clip)
        raw[genes] = block
        exact = block.astype(np.float64)
        mean[genes] = exact.mean(axis=1)
        exact -= mean[genes, None]
        spread = np.sqrt(np.einsum("bn,bn->b", exact, exact) / n)
        varies = spread > _FLAT * np.maximum(1.0, largest)
        np.divide(1.0, spread, where=varies, out=scale[genes])
        return beyond

    clipped = sum(crew.map(fit, range(0, g, _BLOCK_GENES)))
    return Standardised(raw, mean, scale, int((scale == 0).sum()), clipped)
