"""AUC over time: of those who have died by a time and those alive beyond it, do the former carry the higher risks?

Patients censored before a time are neither; those who died stand for them, weighted by the inverse chance of not being
censored, which is estimated on the training patients.
"""

from __future__ import annotations

import numpy as np

from mirror_eval.censoring import censoring_curve
from mirror_eval.concordance import TOLERANCE, checked

_BLOCK = 4_000_000  # pairs compared at once


def time_auc(
    train_time: np.ndarray,
    train_event: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    times: np.ndarray,
    *,
    tolerance: float = TOLERANCE,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Cumulative/dynamic AUC at each of ``times``: the chance that a patient dead by then has a higher risk than one
    alive beyond it.

    Args:
        train_time, train_event: (m,) outcomes from which censoring is estimated.
        time, event: (n,) outcomes of the tested patients.
        risk: (n,) finite, higher = worse. Risks at most ``tolerance`` apart count one half, decided pair by pair.
        times: (T,) rising, where somebody in training was still uncensored.
        weight: (B, n), not negative; with bootstrap counts, every row is a sample.

    Returns:
        (T,), or (B, T) with weights; in [0, 1], higher is better, 0.5 says nothing. NaN where nobody has died yet or
        nobody is alive any more.

    Raises:
        ValueError: everybody in training was censored by one of the times, or as `harrell_c`.

    Source: Uno et al. 2007, doi:10.1198/016214507000000149; Hung and Chiang 2010, doi:10.1002/cjs.10046.
    """
    time, event, risk = checked(time, event, risk)
    times, weights = np.asarray(times, dtype=float), np.ones((1, len(time))) if weight is None else weight.astype(float)
    curve = censoring_curve(train_time, train_event)
    if (curve.at(times) <= 0).any():
        raise ValueError("nobody in training is uncensored at the last of the times")
    gone = np.searchsorted(times, time)  # (n,) the first of the times by which each has left; T beyond all of them
    cases = event & (gone < len(times))
    dead = weights * np.where(cases, 1.0 / np.where(cases, curve.at(time), 1.0), 0.0)  # (B, n)
    change = _change_of_pairs(gone, cases, risk, tolerance, dead, weights)  # (B, n)
    left = (gone[:, None] <= np.arange(len(times))).astype(float)  # (n, T) whether each has left by a time
    right = change @ left  # (B, T)
    pairs = (dead[:, cases] @ left[cases]) * (weights @ (1.0 - left))
    found = np.divide(right, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0).clip(0.0, 1.0)  # sums round
    return found[0] if weight is None else found


def _change_of_pairs(
    gone: np.ndarray, cases: np.ndarray, risk: np.ndarray, tolerance: float, dead: np.ndarray, alive: np.ndarray
) -> np.ndarray:
    """How much the weight of rightly ordered pairs grows when each patient leaves (B, n).

    A patient who dies opens a pair with everyone who leaves at a later of the times, and one who leaves closes those
    with all who died before; so one matrix of pairs serves every time.
    """
    change = np.zeros_like(alive)
    asking, rows = np.flatnonzero(cases), max(1, _BLOCK // max(len(gone), 1))
    for start in range(0, len(asking), rows):
        mine = asking[start : start + rows]  # (c,)
        gap = risk[mine, None] - risk  # (c, n)
        right = (gone > gone[mine, None]) * (0.5 * (gap >= -tolerance) + 0.5 * (gap > tolerance))  # 1, 1/2 if tied, 0
        change[:, mine] += dead[:, mine] * (alive @ right.T)
        change -= alive * (dead[:, mine] @ right)
    return change


def mean_auc(
    time: np.ndarray, event: np.ndarray, times: np.ndarray, auc: np.ndarray, *, weight: np.ndarray | None = None
) -> np.ndarray:
    """One number for an AUC over time: its mean, each time counted by the share of the tested patients who died since
    the time before it (the fall of their Kaplan-Meier curve).

    Args:
        time, event: (n,) outcomes of the tested patients.
        times: (T,) rising. auc: (T,), or (B, T) with ``weight`` (B, n), as `time_auc` gives it.

    Returns:
        A number, or (B,); over the times at which the AUC is known, NaN if there are none.

    Source: Lambert and Chevret 2016, doi:10.1177/0962280213515571.
    """
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    weights = np.ones((1, len(time))) if weight is None else weight.astype(float)
    curves = np.atleast_2d(auc)  # (B, T)
    survival = _survival(time, event, np.asarray(times, dtype=float), weights)  # (B, T)
    fall = np.where(np.isnan(curves), 0.0, -np.diff(survival, axis=1, prepend=1.0))
    whole = fall.sum(axis=1)
    total = (np.nan_to_num(curves) * fall).sum(axis=1)
    found = np.divide(total, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found[0] if weight is None else found


def _survival(time: np.ndarray, event: np.ndarray, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kaplan-Meier survival just after each of the times (B, T), of each weighting (B, n)."""
    steps = np.unique(time[event])  # (U,)
    at_risk = weights @ (time[:, None] >= steps).astype(float)  # (B, U)
    deaths = weights[:, event] @ (time[event, None] == steps).astype(float)
    share = np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=at_risk > 0)
    survival = np.concatenate([np.ones((len(weights), 1)), np.cumprod(1.0 - share, axis=1)], axis=1)
    return survival[:, np.searchsorted(steps, times, side="right")]
