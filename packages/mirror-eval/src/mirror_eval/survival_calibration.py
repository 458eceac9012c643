"""Does predicted survival come true? Predicted beside Kaplan-Meier survival at one time, patients of like outlook
together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mirror_eval.kaplan_meier import kaplan_meier


@dataclass(frozen=True)
class SurvivalReliability:
    """Groups of patients by predicted survival at one time, the least first: all (g,)."""

    predicted: np.ndarray  # mean predicted survival
    observed: np.ndarray  # Kaplan-Meier survival; NaN where nobody of the group was followed so long
    low: np.ndarray  # 95 % interval of `observed`
    high: np.ndarray
    count: np.ndarray  # patients

    @property
    def gap(self) -> float:
        """Mean distance of predicted from observed, weighted by patients; lower is better, NaN where none is known."""
        known = ~np.isnan(self.observed)
        gap = np.abs(self.predicted - self.observed)[known]
        return float(np.average(gap, weights=self.count[known])) if known.any() else float("nan")


def survival_reliability(
    survival: np.ndarray, time: np.ndarray, event: np.ndarray, at: float, *, groups: int = 5
) -> SurvivalReliability:
    """Observed against predicted survival at one time, in groups of about equal size.

    Whether a censored patient lived on is not known, so that a share cannot be counted; each group's Kaplan-Meier
    curve says it. Patients with the same prediction stand in the same group.

    Args:
        survival: (n,) predicted chance to live beyond ``at``.
        time, event: (n,) follow-up, and whether it ended with the event.
        at: the time, in the unit of ``time``. groups: at most.

    Source: D'Agostino and Nam 2003, doi:10.1016/S0169-7161(03)23001-7; Austin et al. 2020, doi:10.1002/sim.8570.
    """
    survival, time, event = np.asarray(survival, dtype=float), np.asarray(time, dtype=float), np.asarray(event, bool)
    rank = (stats.rankdata(survival) - 0.5) / max(len(survival), 1)  # in (0, 1), ties share one
    group = np.minimum((rank * groups).astype(int), groups - 1)
    rows = []
    for one in np.unique(group):
        mine = group == one
        curve = kaplan_meier(time[mine], event[mine])
        step = np.searchsorted(curve.times, at, side="right") - 1
        observed = float(curve.at(at))
        low, high = (curve.low[step], curve.high[step]) if observed == observed else (np.nan, np.nan)
        rows.append((survival[mine].mean(), observed, low, high, mine.sum()))
    predicted, observed, low, high, count = np.array(rows, dtype=float).reshape(-1, 5).T
    return SurvivalReliability(predicted, observed, low, high, count.astype(int))
