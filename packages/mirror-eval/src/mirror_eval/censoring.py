"""The chance of not being censored yet: what censored data are weighted by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CensoringCurve:
    """Kaplan-Meier estimate of the chance G(t) to be uncensored after time t; a right-continuous step function."""

    times: np.ndarray  # (T,) rising, distinct
    chance: np.ndarray  # (T,)

    def at(self, times: np.ndarray | float) -> np.ndarray:
        """G at each time; its last value beyond the last time."""
        index = np.searchsorted(self.times, np.asarray(times, dtype=float), side="right")
        return np.r_[1.0, self.chance][index]


def censoring_curve(time: np.ndarray, event: np.ndarray) -> CensoringCurve:
    """Estimate the censoring distribution.

    A patient who dies at a time was not at risk of being censored at that time (events come first).

    Args:
        time: (n,) follow-up times.
        event: (n,) True where the event was seen.
    """
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    times, inverse = np.unique(time, return_inverse=True)
    leaving = np.bincount(inverse, minlength=len(times))  # (T,)
    events = np.bincount(inverse, weights=event, minlength=len(times))  # (T,)
    followed = len(time) - np.cumsum(leaving) + leaving - events  # (T,) could be censored at each time
    censored = leaving - events
    share = np.divide(censored, followed, out=np.zeros(len(times)), where=followed > 0)
    return CensoringCurve(times, np.cumprod(1.0 - share))
