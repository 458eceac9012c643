"""The linear protocol's survival model: discrete-time hazards in four bins, fitted as a convex problem.

Times are cut at the quartiles of the development patients' uncensored times. In bin k (0-based) a patient still
followed dies with hazard h_k = sigmoid(logit_k), and S_k = prod_{j <= k} (1 - h_j) is the chance to live beyond the
right edge of bin k. A death in bin y costs -log S_{y-1} - log h_y, a censoring in bin y costs -log S_y. Risk = -sum_k
S_k, higher = worse. A patient censored within a bin thus counts as having lived through it, which makes absolute
survival too high where bins are wide: `cox.py` has the better Brier scores, ranks being alike. Source: Zadeh and
Schmid 2021, doi:10.1109/TPAMI.2020.2979450; design of the bins as in PORPOISE and MCAT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, log_expit

from mirror_eval.newton import EXACT, Local, minimise
from mirror_eval.ridge import Rotation

BINS = 4
Slopes = Literal["shared", "per-bin"]


@dataclass(frozen=True)
class TimeBins:
    """K bins of time: bin 0 is [0, edges[0]), bin k is [edges[k - 1], edges[k]); later times belong to the last bin."""

    edges: np.ndarray  # float64 (K,), days: the right edges, rising

    @staticmethod
    def fit(time: np.ndarray, event: np.ndarray, bins: int = BINS) -> TimeBins:
        """Cut at the quantiles of the uncensored times given; the last edge is the last time of all.

        Raises:
            ValueError: nobody had the event.
        """
        time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
        if not event.any():
            raise ValueError("no event to cut bins by")
        inner = np.quantile(time[event], np.arange(1, bins) / bins)
        return TimeBins(np.unique(np.r_[inner, np.nextafter(time.max(), np.inf)]))

    def of(self, time: np.ndarray) -> np.ndarray:
        """The bin of each time."""
        return np.minimum(np.searchsorted(self.edges, time, side="right"), len(self.edges) - 1)


@dataclass(frozen=True)
class DiscreteHazard:
    """A fitted discrete-time linear hazard model on D features and K bins."""

    bins: TimeBins
    slopes: np.ndarray  # (D, K)
    intercepts: np.ndarray  # (K,)
    strength: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(n, K): log odds of the hazard in each bin."""
        return features @ self.slopes + self.intercepts

    def survival_at_edges(self, features: np.ndarray) -> np.ndarray:
        """(n, K): chance to live beyond the right edge of each bin."""
        return survival_of(self.logits(features))

    def risk(self, features: np.ndarray) -> np.ndarray:
        """(n,), higher = worse."""
        return -self.survival_at_edges(features).sum(axis=1)

    def survival(self, features: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, T): chance to live beyond each time, the hazard being constant within a bin; NaN beyond the last edge."""
        knots = np.r_[0.0, self.bins.edges]
        log_survival = np.log(np.maximum(self.survival_at_edges(features), 1e-300))
        heights = np.concatenate([np.zeros((len(features), 1)), log_survival], axis=1)  # (n, K + 1)
        index = np.clip(np.searchsorted(knots, times, side="right"), 1, len(knots) - 1)  # (T,) right knot
        part = (times - knots[index - 1]) / (knots[index] - knots[index - 1])
        found = np.exp(heights[:, index - 1] * (1.0 - part) + heights[:, index] * part)
        return np.where(np.asarray(times) <= knots[-1], found, np.nan)


def survival_of(logits: np.ndarray) -> np.ndarray:
    """Logits of hazards (n, K) to survival at the right edges (n, K)."""
    return np.exp(np.cumsum(log_expit(-logits), axis=1))


def hazard_losses(logits: np.ndarray, bin_number: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each patient, (n,), lower is better.

    Args:
        logits: (n, K). bin_number: (n,) bin of the last time. event: (n,) True for death in that bin.
    """
    reached, died = _exposure(logits.shape, bin_number, event)
    return -_log_likelihoods(logits, reached, died).sum(axis=1)


def fit_hazard(
    features: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    strength: float,
    *,
    slopes: Slopes = "shared",
    bins: TimeBins | None = None,
) -> DiscreteHazard:
    """Minimise the summed loss + strength / 2 * |slopes|^2 with a free intercept a bin.

    Every bin also holds half a death and half a survivor of average features, so that a bin in which nobody was seen
    to die keeps a hazard above 0 (Jeffreys' prior of a proportion).

    Args:
        features: (n, D). time: (n,) days. event: (n,). strength: >= 0.
        slopes: one slope vector for all bins ("shared", proportional odds), or one each ("per-bin", K times as many
            parameters).
        bins: cut on these patients if None.
    """
    bins = TimeBins.fit(time, event) if bins is None else bins
    rotation = Rotation.fit(features)
    found = fit_rotated(rotation.apply(features), rotation.scale, bins, time, event, strength, slopes)
    return hazard_model(rotation.axes, bins, found, strength)


def hazard_model(axes: np.ndarray, bins: TimeBins, found: np.ndarray, strength: float) -> DiscreteHazard:
    """The model of a solution of `fit_rotated`; ``axes`` (D, r) lead back to the original features."""
    count = len(bins.edges)
    flat = axes.shape[1] == 0  # features that never vary have no slope
    slopes = np.zeros((len(axes), 1)) if flat else axes @ found[:-count].reshape(axes.shape[1], -1)  # (D, 1) or (D, K)
    return DiscreteHazard(bins, np.broadcast_to(slopes, (len(slopes), count)).copy(), found[-count:], strength)


def fit_rotated(
    rotated: np.ndarray,
    scale: np.ndarray,
    bins: TimeBins,
    time: np.ndarray,
    event: np.ndarray,
    strength: float,
    slopes: Slopes,
    start: np.ndarray | None = None,
    precision: float = EXACT,
) -> np.ndarray:
    """Slopes, (r,) if shared, else (r, K), and intercepts (K,) for rotated features (n, r), as one vector."""
    n, r = rotated.shape
    count = len(bins.edges)
    columns = 1 if slopes == "shared" else count
    reached, died = _exposure((n, count), bins.of(time), event)
    base = (died.sum(axis=0) + 0.5) / (reached.sum(axis=0) + 1.0)  # (K,)
    bend = reached.sum(axis=0) / n * base * (1.0 - base)  # (K,) mean second derivative of the loss in a logit
    bend_slopes = np.full(1, bend.sum()) if slopes == "shared" else bend

    def local(parameters: np.ndarray) -> Local:
        theta, intercepts = parameters[: r * columns].reshape(r, columns), parameters[r * columns :]
        logits = rotated @ theta + intercepts  # (n, K)
        hazard = np.where(reached, expit(logits), 0.0)

        average = expit(intercepts)  # (K,) hazard of the added half death and half survivor

        def back(rest: np.ndarray, theta: np.ndarray, added: np.ndarray) -> np.ndarray:
            pulled = rest.sum(axis=1, keepdims=True) if columns == 1 else rest
            return np.concatenate([(rotated.T @ pulled + strength * theta).ravel(), rest.sum(axis=0) + added])

        def product(vector: np.ndarray) -> np.ndarray:
            theta, shift = vector[: r * columns].reshape(r, columns), vector[r * columns :]
            pushed = hazard * (1.0 - hazard) * (rotated @ theta + shift)  # (n, K)
            return back(pushed, theta, average * (1.0 - average) * shift)

        loss = 0.5 * strength * float((theta**2).sum()) - float(_log_likelihoods(logits, reached, died).sum())
        loss -= 0.5 * float((log_expit(intercepts) + log_expit(-intercepts)).sum())
        return Local(loss, back(hazard - died, theta, average - 0.5), product)

    if start is None:
        start = np.concatenate([np.zeros(r * columns), np.log(base / (1.0 - base))])
    bend_intercepts = n * bend + base * (1.0 - base)  # the added patient too: nobody else may have reached a bin
    curvature = np.concatenate([(scale[:, None] ** 2 * bend_slopes + strength).ravel(), bend_intercepts])
    return minimise(local, start, curvature, precision)


def _log_likelihoods(logits: np.ndarray, reached: np.ndarray, died: np.ndarray) -> np.ndarray:
    """Log-likelihood of each patient in each bin, (n, K): log(1 - h) where it lived on, log h where it died."""
    return np.where(reached, log_expit(np.where(died, logits, -logits)), 0.0)


def _exposure(shape: tuple[int, ...], bin_number: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which bins each patient entered, and in which it died: two bool arrays (n, K)."""
    bin_number, event = np.asarray(bin_number), np.asarray(event, dtype=bool)
    steps = np.arange(shape[1])
    died = (steps == bin_number[:, None]) & event[:, None]
    return steps <= bin_number[:, None], died
