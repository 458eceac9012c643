"""Ridge Cox regression: partial likelihood with Efron's or Breslow's ties, and Breslow's baseline hazard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mirror_eval.newton import EXACT, Local, minimise
from mirror_eval.ridge import Rotation

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True)
class Cox:
    """A fitted Cox model on D features: hazard(t) = baseline(t) * exp((x - center) . slopes)."""

    slopes: np.ndarray  # (D,)
    center: np.ndarray  # (D,) mean of the fitted patients
    times: np.ndarray  # (T,) distinct times of death
    cumulative: np.ndarray  # (T,) cumulative baseline hazard just after each
    log_likelihood: float  # log partial likelihood at the slopes, without the penalty
    strength: float

    def risk(self, features: np.ndarray) -> np.ndarray:
        """(n,) log hazard ratio to the mean patient, higher = worse."""
        return (np.asarray(features, dtype=float) - self.center) @ self.slopes

    def survival(self, features: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, T): chance to live beyond each time."""
        index = np.searchsorted(self.times, times, side="right")
        baseline = np.r_[0.0, self.cumulative][index]  # (T,)
        return np.exp(-np.exp(self.risk(features))[:, None] * baseline)


@dataclass(frozen=True)
class RiskSets:
    """The order of deaths that the partial likelihood needs; patients are held by falling time."""

    order: np.ndarray  # (n,) patients by falling time
    last: np.ndarray  # (n,) in that order: the last patient with the same time, so [: last + 1] is the risk set
    event: np.ndarray  # (n,) in that order
    fraction: np.ndarray  # (n,) Efron: share of the tied deaths already taken out; 0 under Breslow
    count: int  # distinct times
    number: np.ndarray  # (n,) number of the time of each, from the latest

    @staticmethod
    def of(time: np.ndarray, event: np.ndarray, ties: Ties = "efron") -> RiskSets:
        time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
        order = np.lexsort((~event, -time))
        time, event = time[order], event[order]
        change = np.r_[time[1:] != time[:-1], True]
        ends = np.flatnonzero(change)
        number = np.cumsum(np.r_[0, change[:-1]])
        deaths = np.bincount(number, weights=event, minlength=len(ends))
        starts = np.r_[0, ends[:-1] + 1]
        taken = np.arange(len(time)) - starts[number]  # deaths stand first within a time
        fraction = np.where(event & (ties == "efron"), taken / np.maximum(deaths[number], 1), 0.0)
        return RiskSets(order, ends[number], event, fraction, len(ends), number)

    def totals(self, values: np.ndarray) -> np.ndarray:
        """For each patient the sum of ``values`` over its risk set, tied deaths in part (Efron); (n,), as ordered."""
        dying = np.bincount(self.number, weights=values * self.event, minlength=self.count)[self.number]
        return np.cumsum(values)[self.last] - self.fraction * dying

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The transpose: for each patient the sum of ``values`` over the deaths whose risk sets hold it; (n,)."""
        by_time = np.bincount(self.number, weights=values, minlength=self.count)
        own = np.bincount(self.number, weights=values * self.fraction, minlength=self.count)
        return np.cumsum(by_time[::-1])[::-1][self.number] - self.event * own[self.number]


def partial_likelihood(risk: np.ndarray, sets: RiskSets) -> Local:
    """Negative log partial likelihood of log hazard ratios (n,), with gradient and Hessian products (n,)."""
    ordered = risk[sets.order]
    shift = ordered.max(initial=0.0)
    hazard = np.exp(ordered - shift)  # (n,) by falling time
    whole = sets.totals(hazard)  # (n,) sum over the risk set of each death
    share = np.where(sets.event, 1.0 / whole, 0.0)
    pull = hazard * sets.spread(share)  # (n,) expected deaths of each patient
    gradient = np.empty(len(risk))
    gradient[sets.order] = pull - sets.event

    def product(vector: np.ndarray) -> np.ndarray:
        ordered = vector[sets.order]
        mean = sets.totals(hazard * ordered) * share
        pushed = np.empty(len(vector))
        pushed[sets.order] = pull * ordered - hazard * sets.spread(mean * share)
        return pushed

    return Local(-float((ordered - shift - np.log(whole))[sets.event].sum()), gradient, product)


def fit_cox(features: np.ndarray, time: np.ndarray, event: np.ndarray, strength: float, *, ties: Ties = "efron") -> Cox:
    """Maximise the log partial likelihood - strength / 2 * |slopes|^2.

    Args:
        features: (n, D); scale them first if the penalty is to treat them alike. time: (n,). event: (n,).
        strength: >= 0. (lifelines divides the likelihood by n: its ``penalizer`` is strength / n, with l1_ratio 0.)

    Source: Cox 1972; Efron 1977, doi:10.1080/01621459.1977.10480613.
    """
    features = np.asarray(features, dtype=float)
    center = features.mean(axis=0)
    rotation = Rotation.fit(features - center)
    rotated = rotation.apply(features - center)
    slopes = rotation.axes @ fit_rotated(rotated, rotation.scale, RiskSets.of(time, event, ties), strength)
    risk = (features - center) @ slopes
    times, cumulative = breslow(risk, time, event)
    likelihood = -partial_likelihood(risk, RiskSets.of(time, event, ties)).value
    return Cox(slopes, center, times, cumulative, likelihood, strength)


def fit_rotated(
    rotated: np.ndarray,
    scale: np.ndarray,
    sets: RiskSets,
    strength: float,
    start: np.ndarray | None = None,
    precision: float = EXACT,
) -> np.ndarray:
    """Slopes (r,) for rotated features (n, r)."""

    def local(slopes: np.ndarray) -> Local:
        inner = partial_likelihood(rotated @ slopes, sets)
        return Local(
            inner.value + 0.5 * strength * float(slopes @ slopes),
            rotated.T @ inner.gradient + strength * slopes,
            lambda vector: rotated.T @ inner.product(rotated @ vector) + strength * vector,
        )

    deaths = max(float(sets.event.sum()), 1.0) / len(rotated)
    start = np.zeros(rotated.shape[1]) if start is None else start
    return minimise(local, start, scale**2 * deaths + strength, precision)


def breslow(risk: np.ndarray, time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Breslow's estimate of the cumulative baseline hazard: times of death (T,) and the hazard just after each (T,)."""
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    times, deaths = np.unique(time[event], return_counts=True)
    order = np.argsort(time)
    tail = np.cumsum(np.exp(risk[order])[::-1])[::-1]  # (n,) hazard of those followed at least as long
    return times, np.cumsum(deaths / tail[np.searchsorted(time[order], times)])
