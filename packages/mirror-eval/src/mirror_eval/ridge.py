"""What every linear model of the protocol shares: scaling, a rotation that makes many features cheap, strengths, a
solver.

Shapes: n patients, D features, r <= min(n, D) rotated features. All models are sum of losses + strength / 2 *
|slopes|^2 with free intercepts: convex, so the answer does not depend on where the solver starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from mirror_data.errors import BadInput

HeldOutLosses = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows to fit on, rows held out -> loss a strength
RELATIVE_STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-4, 5))  # times the number of features
_TINY = 1e-10  # directions with less than this share of the largest variance are rounding


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each feature over the patients it was fitted on, (D,) each."""

    mean: np.ndarray
    sd: np.ndarray  # 1 for a feature that never varies: it becomes 0

    @staticmethod
    def fit(features: np.ndarray) -> Scaler:
        """Fit on the rows given: only ever development patients."""
        features = np.asarray(features, dtype=float)
        sd = features.std(axis=0)
        return Scaler(features.mean(axis=0), np.where(sd > 1e-12 * np.abs(features).max(initial=1e-300), sd, 1.0))

    def apply(self, features: np.ndarray) -> np.ndarray:
        return (np.asarray(features, dtype=float) - self.mean) / self.sd


@dataclass(frozen=True)
class Rotation:
    """The directions that n patients span. Ridge slopes always lie in their span: nothing is lost by fitting there."""

    axes: np.ndarray  # (D, r) orthonormal
    scale: np.ndarray  # (r,) root of the sum of squares along each axis

    @staticmethod
    def fit(features: np.ndarray) -> Rotation:
        """Directions of the rows of ``features`` (n, D), the widest first."""
        n, width = features.shape
        square = features.T @ features if width <= n else features @ features.T
        values, vectors = np.linalg.eigh(square)
        kept = np.flatnonzero(values > _TINY * max(values[-1], 1e-300))[::-1]
        scale = np.sqrt(values[kept])
        axes = vectors[:, kept] if width <= n else features.T @ (vectors[:, kept] / scale)
        return Rotation(axes, scale)

    def apply(self, features: np.ndarray) -> np.ndarray:
        return features @ self.axes


def strengths(features: int) -> np.ndarray:
    """The ridge strengths tried, (9,) rising: 0.01 to 100 times the number of features."""
    return features * np.array(RELATIVE_STRENGTHS)


def choose_strength(held_out_losses: HeldOutLosses, parts: np.ndarray, candidates: np.ndarray) -> float:
    """The strength with the least loss on held-out patients; of equals the greatest.

    Args:
        held_out_losses: of one part, for every candidate, (S,), summed over the held-out rows.
        parts: (n,) part of each row; each part is held out once.
        candidates: (S,) strengths to try, rising.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` if a held-out part has no finite loss at any strength: there are too few patients.
    """
    losses = np.zeros(len(candidates))
    for part in np.unique(parts):
        losses += held_out_losses(np.flatnonzero(parts != part), np.flatnonzero(parts == part))
    if not np.isfinite(losses).any():
        raise BadInput(
            "NOT_ESTIMABLE",
            "there are too few patients or events to choose how strongly to regularise",
            got=f"{len(parts)} patients to fit on",
            hint="use fewer folds, or more patients",
        )
    best = np.nanmin(losses)
    return float(max(candidates[losses <= best + 1e-9 * abs(best)]))


def deal(strata: np.ndarray, parts: int, seed: Sequence[int] | int) -> np.ndarray:
    """Deal rows to ``parts`` parts, every stratum evenly: (n,) part of each row."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.flatnonzero(strata == s)) for s in np.unique(strata)])
    part = np.empty(len(strata), dtype=np.int64)
    part[order] = np.arange(len(strata)) % parts
    return part
