"""Concordance of risks with survival: Harrell's C in O(n log n), Uno's C, and both under the weights of a bootstrap.

A pair of patients is comparable when it is known who died first: i had the event, and j was followed longer, or was
censored at the very time of i's event. Two events at one time are not comparable. A comparable pair is concordant
when i has the higher risk, and counts one half when the two risks differ by at most ``tolerance``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror_eval.censoring import censoring_curve
from mirror_eval.pairs import count_pairs

TOLERANCE = 1e-8
_MATRIX_MOST = 10_000  # patients up to which bootstrap samples share one matrix of pairs
_BLOCK = 4_000_000  # entries of that matrix held at once


@dataclass(frozen=True)
class Concordance:
    """Harrell's C and the pairs behind it. ``c`` is NaN when no pair is comparable."""

    c: float
    concordant: int
    discordant: int
    tied: int

    @property
    def comparable(self) -> int:
        return self.concordant + self.discordant + self.tied


def harrell_c(time: np.ndarray, event: np.ndarray, risk: np.ndarray, *, tolerance: float = TOLERANCE) -> Concordance:
    """Harrell's concordance index, in O(n log n).

    Args:
        time: (n,) follow-up times.
        event: (n,) True where the event was seen, False where the patient was censored.
        risk: (n,) finite, higher = worse (lifelines takes the opposite sign).
        tolerance: risks are tied when |difference| <= tolerance, decided pair by pair.

    Returns:
        ``c`` in [0, 1]: 0.5 says nothing, 1 means that the higher risk always dies first.

    Raises:
        ValueError: lengths differ, or a time or risk is not finite.

    Source: Harrell et al. 1982, doi:10.1001/jama.1982.03320430047030.
    """
    time, event, risk = checked(time, event, risk)
    pairs = count_pairs(time, event, risk, tolerance)
    comparable = pairs.concordant + pairs.discordant + pairs.tied
    c = (pairs.concordant + 0.5 * pairs.tied) / comparable if comparable else float("nan")
    return Concordance(c, pairs.concordant, pairs.discordant, pairs.tied)


def weighted_c(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weight: np.ndarray, *, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Harrell's C of several weightings of the same patients; with bootstrap counts, that of each bootstrap sample.

    Up to 10,000 patients the samples share one matrix of pairs, so that 1,000 of them cost two matrix products.

    Args:
        time, event, risk, tolerance: as for `harrell_c`, (n,).
        weight: (B, n), not negative; how often each patient counts.

    Returns:
        (B,), NaN where no pair is comparable.
    """
    time, event, risk = checked(time, event, risk)
    weight = np.asarray(weight)
    if len(time) <= _MATRIX_MOST or weight.dtype.kind not in "iu":
        return _matrix_c(time, event, event, risk, np.ones(len(time)), tolerance, weight)
    samples = [np.repeat(np.arange(len(time)), row) for row in weight]
    return np.array([harrell_c(time[s], event[s], risk[s], tolerance=tolerance).c for s in samples])


def uno_c(
    train_time: np.ndarray,
    train_event: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    *,
    tau: float | None = None,
    tolerance: float = TOLERANCE,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Uno's concordance index: Harrell's, each pair divided by the squared chance that its event was not censored.

    Args:
        train_time, train_event: (m,) outcomes of the training patients, from which that chance is estimated.
        time, event: (n,) outcomes of the tested patients.
        risk: (n,) finite, higher = worse.
        tau: only events before this time count; the last training time if None. State it beside the result.
        tolerance: risks this close are tied.
        weight: (B, n) weights of the tested patients, for a bootstrap; one weighting of ones if None.

    Returns:
        (B,), in [0, 1], higher is better; NaN where no pair is comparable. Without ``weight`` a single number, ().

    Source: Uno et al. 2011, doi:10.1002/sim.4154.
    """
    time, event, risk = checked(time, event, risk)
    tau = float(np.max(train_time)) if tau is None else tau
    chance = censoring_curve(train_time, train_event).at(time)  # (n,)
    asks = event & (time < tau) & (chance > 0)
    factor = np.where(asks, 1.0 / np.where(asks, chance, 1.0) ** 2, 0.0)  # (n,)
    found = _matrix_c(time, event, asks, risk, factor, tolerance, np.ones((1, len(time))) if weight is None else weight)
    return found[0] if weight is None else found


def checked(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    time, event, risk = np.asarray(time, dtype=float), np.asarray(event, dtype=bool), np.asarray(risk, dtype=float)
    if not time.shape == event.shape == risk.shape or time.ndim != 1:
        raise ValueError(f"time, event, risk must be vectors of one length, got {time.shape, event.shape, risk.shape}")
    if not (np.isfinite(time).all() and np.isfinite(risk).all()):
        raise ValueError("time and risk must be finite")
    return time, event, risk


def _matrix_c(
    time: np.ndarray,
    event: np.ndarray,
    asks: np.ndarray,
    risk: np.ndarray,
    factor: np.ndarray,
    tolerance: float,
    weight: np.ndarray,
) -> np.ndarray:
    """C over the pairs (i asks, j), pair weight factor_i * weight_i * weight_j, for each row of weight (B, n)."""
    kind = np.float32 if weight.dtype.kind in "iu" else np.float64  # sums of small counts and halves are exact
    weights = weight.astype(kind)
    scale = weight * factor  # (B, n)
    found, possible = np.zeros(len(weight)), np.zeros(len(weight))
    asking = np.flatnonzero(asks)
    rows = max(1, _BLOCK // max(len(time), 1))
    for start in range(0, len(asking), rows):
        mine = asking[start : start + rows]  # (m,)
        later = (time > time[mine, None]) | ((time == time[mine, None]) & ~event)  # (m, n)
        gap = risk[mine, None] - risk  # (m, n)
        score = later * (0.5 * (gap >= -tolerance) + 0.5 * (gap > tolerance))  # 1, 1/2 where tied, 0
        found += ((weights @ score.T.astype(kind)) * scale[:, mine]).sum(axis=1)
        possible += ((weights @ later.T.astype(kind)) * scale[:, mine]).sum(axis=1)
    return np.divide(found, possible, out=np.full(len(weight), np.nan), where=possible > 0)
