"""Expression as a machine wants it: every gene with mean 0 and spread 1 among the training patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK_GENES = 4096


@dataclass(frozen=True)
class Standardised:
    """Genes as rows, fitted on all of the n patients given."""

    values: np.ndarray  # float64 (g, n)
    constant: int  # genes that do not vary (their rows are 0)
    clipped: int  # cells beyond the limit


def standardise(values: np.ndarray, clip: float | None) -> Standardised:
    """Clip, centre and scale each gene.

    Args:
        values: (n, g), the training patients alone.
        clip: z-scores beyond +-clip are set to it first: published z-scores hold outliers of 10^4, which would squash a
            gene's other values. None for logarithms.
    """
    n, g = values.shape
    out = np.empty((g, n), dtype=np.float64)
    constant = clipped = 0
    for start in range(0, g, _BLOCK_GENES):
        block = values[:, start : start + _BLOCK_GENES].T.astype(np.float64)  # (b, n)
        if clip is not None:
            clipped += int((np.abs(block) > clip).sum())
            block = np.clip(block, -clip, clip)
        block -= block.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.einsum("bn,bn->b", block, block) / n)
        flat = spread <= 1e-7 * np.maximum(1.0, np.abs(values[:, start : start + _BLOCK_GENES]).max(axis=0))
        constant += int(flat.sum())
        block /= np.where(flat, 1.0, spread)[:, None]
        block[flat] = 0.0
        out[start : start + _BLOCK_GENES] = block
    return Standardised(out, constant, clipped)
