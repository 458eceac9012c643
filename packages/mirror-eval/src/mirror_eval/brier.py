"""Brier score of survival curves over time, its integral, and the Kaplan-Meier baseline.

Patients censored before a time say nothing about it; the others stand for them, weighted by the inverse chance of not
being censored, which is estimated on the training patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror_eval.censoring import censoring_curve
from mirror_eval.kaplan_meier import kaplan_meier


@dataclass(frozen=True)
class BrierCurve:
    """Brier score over time of a model and of the training patients' Kaplan-Meier curve, lower is better."""

    times: np.ndarray  # (T,)
    model: np.ndarray  # (T,)
    baseline: np.ndarray  # (T,)
    integrated: float
    integrated_baseline: float

    @property
    def skill(self) -> float:
        """1 - integrated / integrated_baseline: 0 as good as the baseline, higher is better."""
        return 1.0 - self.integrated / self.integrated_baseline


def survival_brier(
    train_time: np.ndarray,
    train_event: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    survival: np.ndarray,
    times: np.ndarray,
    *,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Censoring-weighted squared error of predicted survival at each of ``times``.

    Args:
        train_time, train_event: (m,) outcomes from which censoring is estimated.
        time, event: (n,) outcomes of the tested patients.
        survival: (n, T) predicted chance to live beyond each time.
        times: (T,) rising, where somebody in training was still uncensored.
        weight: None, (n,) or (B, n).

    Returns:
        (T,) or (B, T), lower is better; 0.25 is what a constant one half scores without censoring.

    Raises:
        ValueError: everybody in training was censored by one of the times.

    Source: Graf et al. 1999, doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5.
    """
    time, event, times = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(times, dtype=float)
    curve = censoring_curve(train_time, train_event)
    at_times, at_end = curve.at(times), curve.at(time)  # (T,), (n,)
    if (at_times <= 0).any():
        raise ValueError("nobody in training is uncensored at the last of the times")
    died = (time[:, None] <= times) & event[:, None]  # (n, T)
    alive = time[:, None] > times
    inverse_end = np.divide(1.0, at_end, out=np.zeros(len(time)), where=at_end > 0)
    error = died * survival**2 * inverse_end[:, None] + alive * (1.0 - survival) ** 2 / at_times  # (n, T)
    weight = np.ones(len(time)) if weight is None else np.asarray(weight, dtype=float)
    return (weight @ error) / weight.sum(-1, keepdims=True)


def integrate(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean over time of a curve (..., T), by trapezoids."""
    return np.trapezoid(values, times, axis=-1) / (times[-1] - times[0])


def brier_curve(
    train_time: np.ndarray,
    train_event: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    survival: np.ndarray,
    times: np.ndarray,
) -> BrierCurve:
    """Brier score over time and its integral, beside the Kaplan-Meier curve of the training patients (see
    `survival_brier` for the arguments): a model that does not beat that curve has learned nothing about time."""
    times = np.asarray(times, dtype=float)
    everyone = np.broadcast_to(kaplan_meier(train_time, train_event).at(times), (len(time), len(times)))
    model = survival_brier(train_time, train_event, time, event, survival, times)
    baseline = survival_brier(train_time, train_event, time, event, everyone, times)
    return BrierCurve(times, model, baseline, float(integrate(times, model)), float(integrate(times, baseline)))
