"""Do predicted chances come true? Expected calibration error, reliability curve, D-calibration of survival curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Reliability:
    """Bins of predicted probability: all (b,), empty bins left out."""

    predicted: np.ndarray  # mean predicted probability
    observed: np.ndarray  # share that was right
    count: np.ndarray  # patients


@dataclass(frozen=True)
class DCalibration:
    """Pearson's test that predicted survival at the time of death is uniform; a small p says it is not calibrated."""

    statistic: float
    p: float
    share: np.ndarray  # (bins,) of the patients, by predicted survival from 0 to 1; 1 / bins each when calibrated


def reliability(right: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> Reliability:
    """Observed against predicted frequency in bins of equal width.

    Args:
        right: (n,) bool, whether what was predicted came true.
        probability: (n,) in [0, 1], its predicted chance.
    """
    right, probability = np.asarray(right, dtype=float), np.asarray(probability, dtype=float)
    number = _bin(probability, bins)
    count = np.bincount(number, minlength=bins)
    kept = count > 0
    predicted = np.bincount(number, weights=probability, minlength=bins)[kept] / count[kept]
    return Reliability(predicted, np.bincount(number, weights=right, minlength=bins)[kept] / count[kept], count[kept])


def expected_calibration_error(
    label: np.ndarray, probability: np.ndarray, *, bins: int = 10, weight: np.ndarray | None = None
) -> np.ndarray:
    """Gap between confidence and accuracy of the predicted class, averaged over bins of equal width; lower is better.

    Args:
        label: (n,) class numbers. probability: (n, K). weight: None, (n,) or (B, n).

    Returns:
        A number in [0, 1], or (B,). Few patients a bin bias it upwards: compare only at equal n.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    label, probability = np.asarray(label), np.asarray(probability, dtype=float)
    weight = np.ones(len(label)) if weight is None else np.asarray(weight, dtype=float)
    confidence = probability.max(axis=1)
    gap = (probability.argmax(axis=1) == label) - confidence  # (n,)
    member = np.eye(bins)[_bin(confidence, bins)]  # (n, bins)
    return (np.abs(weight @ (gap[:, None] * member)).sum(-1) / weight.sum(-1))[()]


def d_calibration(survival_at_end: np.ndarray, event: np.ndarray, *, bins: int = 10) -> DCalibration:
    """Whether the predicted chance to survive one's own time is uniform over patients.

    A censored patient with predicted survival s would have ended anywhere below s with equal chance, and counts in
    parts accordingly; where most are censored that evens out the bins, and the test finds little.

    Args:
        survival_at_end: (n,) predicted survival at the patient's own last time, in [0, 1].
        event: (n,) True where that was the event.

    Source: Haider et al. 2020, JMLR 21(85):1-63, arXiv:1811.11347.
    """
    survival, event = np.asarray(survival_at_end, dtype=float), np.asarray(event, dtype=bool)
    edges = np.arange(bins) / bins  # (bins,) lower edges
    inside = np.eye(bins)[_bin(survival, bins)]  # (n, bins)
    below = np.clip(survival[:, None] - edges, 0.0, 1.0 / bins)  # (n, bins): length of each bin below s
    spread = np.divide(below, survival[:, None], out=inside.copy(), where=survival[:, None] > 0)
    seen = np.where(event[:, None], inside, spread).sum(axis=0)  # (bins,)
    expected = len(survival) / bins
    statistic = float(((seen - expected) ** 2).sum() / expected)
    return DCalibration(statistic, float(stats.chi2.sf(statistic, bins - 1)), seen / len(survival))


def _bin(probability: np.ndarray, bins: int) -> np.ndarray:
    return np.clip((probability * bins).astype(np.int64), 0, bins - 1)
