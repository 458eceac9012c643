"""By how much a risk score multiplies the hazard: Cox regression within strata, adjusted for covariates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mirror_eval.cox import RiskSets, Ties, partial_likelihood
from mirror_eval.newton import Local, minimise

_FLAT = 1e-3  # share of its curvature at 0 below which the likelihood counts as having no maximum
_ENDLESS = 100.0  # a log hazard ratio beyond which an interval says that there is none
_NOTHING = 1e-9  # information a patient, at sd 1, that is rounding


@dataclass(frozen=True)
class HazardRatio:
    """Hazard ratio for one unit more of a variable, Wald interval and p; above 1 = worse.

    NaN where the likelihood has no maximum: nobody died, the variable is constant within strata, or parts the dead from
    the living without exception.
    """

    ratio: float
    low: float
    high: float
    p: float
    patients: int
    events: int


def hazard_ratio(
    variable: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    adjust: np.ndarray | None = None,
    ties: Ties = "efron",
    confidence: float = 0.95,
) -> HazardRatio:
    """Hazard ratio of a variable by Cox regression.

    Args:
        variable: (n,) finite; the ratio is for one unit more of it.
        time: (n,) follow-up times.
        event: (n,) True where the event was seen.
        strata: (n,) labels. Each stratum has a baseline hazard of its own, so that risks of different models (outer
            folds, say) are never compared; one stratum if None.
        adjust: (n, q) finite covariates that are held constant.
        confidence: of the interval.

    Raises:
        ValueError: lengths differ, or a value is not finite.

    Source: Cox 1972, doi:10.1111/j.2517-6161.1972.tb00899.x; ties as Efron 1977, doi:10.1080/01621459.1977.10480613.
    """
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    parts = [np.asarray(variable, dtype=float)[:, None]] + ([] if adjust is None else [np.asarray(adjust, dtype=float)])
    if not all(len(part) == len(time) == len(event) for part in parts):
        raise ValueError(f"variable, time, event, adjust differ in length: {[len(p) for p in (*parts, time, event)]}")
    design = np.concatenate(parts, axis=1)  # (n, 1 + q)
    if not (np.isfinite(design).all() and np.isfinite(time).all()):
        raise ValueError("variable, time and adjust must be finite")
    nothing = HazardRatio(*(float("nan"),) * 4, patients=len(time), events=int(event.sum()))
    if not event.any():
        return nothing
    scale = design.std(axis=0)
    scale[scale == 0] = 1.0
    local = _stratified((design - design.mean(axis=0)) / scale, time, event, strata, ties)
    start = np.zeros(design.shape[1])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # where there is no maximum slopes run away
        slopes = minimise(local, start, np.full(len(start), float(event.sum())))
        known = _information(local(slopes))
    if not known > max(_FLAT * _information(local(start)), _NOTHING * len(time)):
        return nothing
    slope, error = slopes[0] / scale[0], 1.0 / (np.sqrt(known) * scale[0])
    half = stats.norm.ppf(0.5 + confidence / 2) * error
    if abs(slope) + half > _ENDLESS:
        return nothing
    ratio, low, high = (float(np.exp(slope + sign * half)) for sign in (0, -1, 1))
    return HazardRatio(ratio, low, high, float(2 * stats.norm.sf(abs(slope / error))), len(time), int(event.sum()))


def _stratified(
    scaled: np.ndarray, time: np.ndarray, event: np.ndarray, strata: np.ndarray | None, ties: Ties
) -> Callable[[np.ndarray], Local]:
    """Negative log partial likelihood of slopes (p,) for features (n, p): the sum of those of the strata."""
    groups = np.zeros(len(time), dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    strata_of = [(scaled[mine], RiskSets.of(time[mine], event[mine], ties)) for mine in members]

    def local(slopes: np.ndarray) -> Local:
        here = [(features, partial_likelihood(features @ slopes, sets)) for features, sets in strata_of]
        value, gradient = 0.0, np.zeros(len(slopes))
        for features, part in here:
            value, gradient = value + part.value, gradient + features.T @ part.gradient

        def product(vector: np.ndarray) -> np.ndarray:
            return np.sum([features.T @ part.product(features @ vector) for features, part in here], axis=0)

        return Local(value, gradient, product)

    return local


def _information(here: Local) -> float:
    """Information on the first slope when the others are estimated too: 1 / the first cell of the inverse Hessian."""
    hessian = np.stack([here.product(unit) for unit in np.eye(len(here.gradient))])
    rest = hessian[1:, 1:]
    return float(hessian[0, 0] - hessian[0, 1:] @ np.linalg.pinv(rest, rcond=1e-10, hermitian=True) @ hessian[1:, 0])
