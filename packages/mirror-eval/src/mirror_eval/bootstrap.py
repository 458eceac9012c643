"""Intervals by drawing the test patients of each fold again, all samples at once as weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from mirror_eval.results import Score

LEVEL = 0.95


@lru_cache(maxsize=32)
def bootstrap_weights(patients: int, resamples: int, seed: tuple[int, ...] | int) -> np.ndarray:
    """How often each patient counts: int64 (1 + resamples, patients).

    The first row is the test set itself, every patient once; each other row counts a sample of as many patients drawn
    with replacement.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(patients, np.full(patients, 1.0 / patients), size=resamples)
    weights = np.concatenate([np.ones((1, patients), dtype=np.int64), drawn])
    weights.setflags(write=False)  # shared by every metric and row of a fold
    return weights


def score(modality: str, metric: str, folds: Mapping[int, Sequence[np.ndarray]]) -> Score:
    """One cell of a table from the values of a metric under `bootstrap_weights`.

    Args:
        folds: for each fold its support sets (one outside few-shot), each (1 + resamples,): the value, then that of
            each bootstrap sample. NaN where not estimable.

    Returns:
        Mean and population sd over the folds that can be estimated, and the percentile interval of that mean: sample b
        of the mean is the mean of every fold's sample b. Source: Efron and Tibshirani 1993, ISBN 0-412-04231-2.
    """
    by_fold = [np.array(sets, dtype=float) for _, sets in sorted(folds.items())]  # (sets, 1 + resamples) each
    table = np.array([mean_defined(sets) for sets in by_fold])  # (folds, 1 + resamples)
    means, values = mean_defined(table), table[:, 0]
    known = values[~np.isnan(values)]
    samples = means[1:][~np.isnan(means[1:])]
    low, high = np.quantile(samples, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]) if len(samples) else (np.nan, np.nan)
    spreads = [np.nanstd(sets[:, 0]) for sets in by_fold if len(sets) > 1 and not np.isnan(sets[:, 0]).all()]
    return Score(
        modality=modality,
        metric=metric,
        folds=tuple(map(float, values)),
        mean=float(means[0]),
        sd=float(np.std(known)) if len(known) else float("nan"),
        low=float(low),
        high=float(high),
        support_sd=float(np.mean(spreads)) if spreads else None,
    )


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
