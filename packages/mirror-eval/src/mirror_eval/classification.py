"""Metrics of classification as plain NumPy functions. Every one is higher = better except `brier_score`.

Shapes: n patients, K classes. ``label`` (n,) holds class numbers 0..K-1, ``probability`` (n, K) rows that sum to 1.
Every function takes ``weight``: None, (n,), or (B, n) for B weightings of the same patients (the counts of B
bootstrap samples, say); it returns a number, or (B,). NaN says that the metric is not defined: a class that should be
there is not.
"""

from __future__ import annotations

import numpy as np


def confusion(
    label: np.ndarray, predicted: np.ndarray, classes: int, *, weight: np.ndarray | None = None
) -> np.ndarray:
    """Weighted counts (..., K, K): rows are true classes, columns predicted ones."""
    label, weight = _label_and_weight(label, weight)
    cell = np.zeros((len(label), classes * classes))
    cell[np.arange(len(label)), label * classes + np.asarray(predicted, dtype=np.int64)] = 1.0
    return (weight @ cell).reshape(*weight.shape[:-1], classes, classes)


def accuracy(label: np.ndarray, predicted: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Share of patients whose class is predicted, in [0, 1]."""
    label, weight = _label_and_weight(label, weight)
    return _ratio(weight @ (label == np.asarray(predicted)).astype(float), weight.sum(-1))


def balanced_accuracy(
    label: np.ndarray, predicted: np.ndarray, classes: int, *, weight: np.ndarray | None = None
) -> np.ndarray:
    """Mean recall of the classes that occur, in [0, 1]. Brodersen et al. 2010, doi:10.1109/ICPR.2010.764."""
    table = confusion(label, predicted, classes, weight=weight)
    return _mean_defined(_ratio(np.einsum("...kk->...k", table), table.sum(-1)))


def macro_f1(label: np.ndarray, predicted: np.ndarray, classes: int, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean over classes of F1, in [0, 1]; a class neither true nor predicted anywhere is left out.

    Source: Sokolova and Lapalme 2009, doi:10.1016/j.ipm.2009.03.002.
    """
    table = confusion(label, predicted, classes, weight=weight)
    hits = np.einsum("...kk->...k", table)
    return _mean_defined(_ratio(2 * hits, table.sum(-1) + table.sum(-2)))


def matthews(label: np.ndarray, predicted: np.ndarray, classes: int, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Matthews correlation for K classes, in [-1, 1]; 0 where truth or prediction is constant.

    Source: Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006.
    """
    table = confusion(label, predicted, classes, weight=weight)
    true, guessed, total = table.sum(-1), table.sum(-2), table.sum((-1, -2))
    covariance = np.einsum("...kk->...", table) * total - (true * guessed).sum(-1)
    spread = np.sqrt((total**2 - (true**2).sum(-1)) * (total**2 - (guessed**2).sum(-1)))
    return np.where(spread > 0, _ratio(covariance, spread), 0.0)[()]


def auroc(positive: np.ndarray, score: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive scores higher than a negative, ties one half.

    Args:
        positive: (n,) bool. score: (n,) finite, higher = more likely positive.

    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    hits, misses = _by_score(positive, score, weight)  # (..., G) in rising order of score
    below = np.cumsum(misses, axis=-1) - 0.5 * misses
    return _ratio((hits * below).sum(-1), hits.sum(-1) * misses.sum(-1))


def auprc(positive: np.ndarray, score: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Average precision: precision at each threshold, weighted by the gain in recall. No interpolation.

    Args:
        positive: (n,) bool. score: (n,) finite, higher = more likely positive.

    Source: Davis and Goadrich 2006, doi:10.1145/1143844.1143874.
    """
    hits, misses = (counts[..., ::-1] for counts in _by_score(positive, score, weight))
    found = np.cumsum(hits, axis=-1)
    precision = np.nan_to_num(_ratio(found, found + np.cumsum(misses, axis=-1)))  # no weight yet: no gain either
    return _ratio((hits * precision).sum(-1), hits.sum(-1))


def macro_auroc(label: np.ndarray, probability: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """AUROC of class 1 for two classes; for more, the mean of one class against the rest. NaN if a class is absent."""
    label, probability = np.asarray(label), np.asarray(probability, dtype=float)
    if probability.shape[1] == 2:
        return auroc(label == 1, probability[:, 1], weight=weight)
    return np.mean([auroc(label == k, probability[:, k], weight=weight) for k in range(probability.shape[1])], axis=0)


def macro_auprc(label: np.ndarray, probability: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean over classes of the average precision of that class against the rest. NaN if a class is absent.

    For two classes too: unlike AUROC, average precision depends on which class is called positive.
    """
    label, probability = np.asarray(label), np.asarray(probability, dtype=float)
    return np.mean([auprc(label == k, probability[:, k], weight=weight) for k in range(probability.shape[1])], axis=0)


def brier_score(label: np.ndarray, probability: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Half the squared distance of the probabilities to the truth, in [0, 1], lower is better.

    For two classes this is (p - y)^2 of either class. Source: Brier 1950,
    doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    label, weight = _label_and_weight(label, weight)
    truth = np.eye(np.shape(probability)[1])[label]  # (n, K)
    return _ratio(weight @ (0.5 * ((np.asarray(probability) - truth) ** 2).sum(1)), weight.sum(-1))


def _by_score(positive: np.ndarray, score: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, rising: two arrays (..., G)."""
    positive, score = np.asarray(positive, dtype=bool), np.asarray(score, dtype=float)
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, dtype=float)
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    ordered, positive = weight[..., order], positive[order]
    return np.add.reduceat(ordered * positive, starts, axis=-1), np.add.reduceat(ordered * ~positive, starts, axis=-1)


def _label_and_weight(label: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    label = np.asarray(label)
    if label.dtype.kind not in "iub":
        raise ValueError("labels must be class numbers")
    return label.astype(np.int64), np.ones(len(label)) if weight is None else np.asarray(weight, dtype=float)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)[()]


def _mean_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))
