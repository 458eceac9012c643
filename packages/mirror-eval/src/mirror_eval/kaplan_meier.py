"""Kaplan-Meier curves with numbers at risk, and the (stratified) log-rank test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier estimate: a right-continuous step function that starts at time 0 with survival 1.

    Shapes: everything (T,), ``times`` rising, the first 0. ``at_risk[k]`` patients were still followed just before
    ``times[k]``; ``low`` and ``high`` bound ``survival`` with the stated confidence (log-log transformed Greenwood).
    """

    times: np.ndarray
    survival: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, times: np.ndarray | float) -> np.ndarray:
        """Survival just after each time; NaN beyond the last time anyone was followed, unless the curve is at 0."""
        times = np.asarray(times, dtype=float)
        found = self.survival[np.maximum(np.searchsorted(self.times, times, side="right") - 1, 0)]
        beyond = (times > self.times[-1]) & (self.survival[-1] > 0)
        return np.where(beyond, np.nan, found)

    def numbers_at_risk(self, times: np.ndarray | float) -> np.ndarray:
        """How many patients were still followed just before each time (for the row under a plot)."""
        after = np.searchsorted(self.times, np.asarray(times, dtype=float), side="left")
        return np.append(self.at_risk, 0)[after]

    @property
    def median(self) -> float:
        """First time at which survival is at most one half; infinite if it never is."""
        below = np.flatnonzero(self.survival <= 0.5)
        return float(self.times[below[0]]) if len(below) else float("inf")


@dataclass(frozen=True)
class LogRank:
    """A log-rank test: chi-squared statistic, degrees of freedom, p, and the events seen and expected in each group."""

    statistic: float
    p: float
    degrees: int
    groups: tuple[str, ...]
    observed: np.ndarray  # float64 (G,)
    expected: np.ndarray  # float64 (G,)


def kaplan_meier(time: np.ndarray, event: np.ndarray, *, confidence: float = 0.95) -> Curve:
    """Kaplan-Meier estimate of survival.

    Args:
        time: (n,) follow-up times, at least 0.
        event: (n,) True where the event was seen, False where the patient was censored. A patient censored at a time
            counts as at risk for the events of that time.
        confidence: of the pointwise interval.

    Source: Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452; variance of Greenwood, log(-log) interval.
    """
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    times, inverse = np.unique(time, return_inverse=True)
    events = np.bincount(inverse, weights=event, minlength=len(times))  # (T,)
    leaving = np.bincount(inverse, minlength=len(times))  # (T,)
    at_risk = len(time) - np.concatenate([[0], np.cumsum(leaving)[:-1]]).astype(int)  # (T,)
    survival = np.cumprod(1.0 - events / at_risk)
    low, high = _interval(survival, events, at_risk, confidence)
    if len(times) == 0 or times[0] > 0:
        times, events = np.r_[0.0, times], np.r_[0.0, events]
        survival, at_risk = np.r_[1.0, survival], np.r_[len(time), at_risk]
        low, high = np.r_[1.0, low], np.r_[1.0, high]
    return Curve(times, survival, at_risk, events, low, high)


def _interval(
    survival: np.ndarray, events: np.ndarray, at_risk: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise bounds of a survival curve; where it is 1 or 0 the log(-log) scale has none, and they equal it."""
    left = at_risk - events
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(np.where(left > 0, events / (at_risk * np.maximum(left, 1)), np.inf))
        log = np.log(survival)
        spread = stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(variance) / log
        low, high = survival ** np.exp(-spread), survival ** np.exp(spread)
    inner = (survival > 0) & (survival < 1)
    return np.where(inner, low, survival), np.where(inner, high, survival)


def log_rank(time: np.ndarray, event: np.ndarray, group: np.ndarray, strata: np.ndarray | None = None) -> LogRank:
    """Log-rank test that the groups share one survival curve, within each stratum.

    Observed minus expected events and their covariance are summed over strata (outer folds, say) before the statistic
    is formed, so that risks are only ever compared within a stratum.

    Args:
        time: (n,) follow-up times.
        event: (n,) True where the event was seen.
        group: (n,) labels of at least two groups.
        strata: (n,) labels, or None for one stratum.

    Returns:
        NaN statistic and p where there is one group only or no event.

    Source: Mantel 1966; Peto and Peto 1972, doi:10.2307/2344317.
    """
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    names, codes = np.unique(np.asarray(group), return_inverse=True)
    strata = np.zeros(len(time), dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    count = len(names)
    observed, expected, covariance = np.zeros(count), np.zeros(count), np.zeros((count, count))
    for stratum in np.unique(strata):
        mine = strata == stratum
        seen, hoped, spread = _one_stratum(time[mine], event[mine], np.eye(count)[codes[mine]])
        observed, expected, covariance = observed + seen, expected + hoped, covariance + spread
    inner = covariance[:-1, :-1]
    degrees = int(np.linalg.matrix_rank(inner)) if count > 1 else 0
    statistic, p = float("nan"), float("nan")
    if degrees:
        difference = (observed - expected)[:-1]
        statistic = float(difference @ np.linalg.pinv(inner, hermitian=True) @ difference)
        p = float(stats.chi2.sf(statistic, degrees))
    return LogRank(statistic, p, degrees, tuple(map(str, names)), observed, expected)


def _one_stratum(time: np.ndarray, event: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed and expected events (G,) and the covariance (G, G) of one stratum; member is one-hot (n, G)."""
    times, inverse = np.unique(time, return_inverse=True)
    leaving = np.zeros((len(times), member.shape[1]))
    np.add.at(leaving, inverse, member)  # (T, G)
    at_risk = np.cumsum(leaving[::-1], axis=0)[::-1]  # (T, G): followed just before each time
    events = np.bincount(inverse, weights=event, minlength=len(times))  # (T,)
    kept = events > 0
    total, events, share = at_risk.sum(1)[kept], events[kept], (at_risk / at_risk.sum(1, keepdims=True))[kept]
    expected = events @ share
    factor = np.where(total > 1, events * (total - events) / np.maximum(total - 1, 1), 0.0)  # (T',) hypergeometric
    covariance = np.diag(factor @ share) - (share * factor[:, None]).T @ share
    return member[event].sum(0), expected, covariance
