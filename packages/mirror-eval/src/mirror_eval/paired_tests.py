"""Tests of paired differences over folds, as plain functions of NumPy and SciPy.

Shapes: k folds. A difference is that of two methods in one fold, on the same patients; its sign says who is higher.
Every p is two-sided. NaN says that there is nothing to test: fewer than two folds, or differences that do not vary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from mirror_data.errors import BadInput
from scipy import optimize, stats

LEVEL = 0.05
POWER = 0.8
WILCOXON_FOLDS = 6  # the fewest whose smallest two-sided p, 2 / 2^k, is below 0.05
_ENUMERATED = 13  # folds up to which all 2^k signs are gone through, ties and zeros or not
_EVEN = 1e-12  # differences this close, relative to their size, are the same number but for rounding


@dataclass(frozen=True)
class PairedT:
    """A t-test of k paired differences."""

    mean: float
    error: float  # standard error of the mean, as the test sees it
    t: float
    p: float  # two-sided, k - 1 degrees of freedom
    folds: int  # k


def corrected_t(differences: np.ndarray, test_to_train: float) -> PairedT:
    """The corrected resampled t-test: the folds of a cross-validation share most of their training patients.

    The variance of the mean is s^2 (1/k + n_test / n_train) with the sample variance s^2 (divided by k - 1), in place
    of s^2 / k. With ``test_to_train = 0`` this is the plain paired t-test, which takes folds as independent and finds
    differences that are not there.

    Args:
        differences: (k,) finite.
        test_to_train: patients tested on over patients trained on, both averaged over folds; at least 0, NaN if not
            known.

    Returns:
        The test. Differences that are all 0 have t = 0 and p = 1; all the same but not 0, or a single one, NaN.

    Source: Nadeau and Bengio 2003, doi:10.1023/A:1024068626366.
    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all() or test_to_train < 0:
        raise ValueError("differences must be a finite vector and the ratio of sizes at least 0")
    folds, mean = len(values), float(values.mean()) if len(values) else float("nan")
    if folds > 1 and not values.any():
        return PairedT(0.0, 0.0, 0.0, 1.0, folds)
    if folds < 2 or np.isnan(test_to_train) or np.ptp(values) <= _EVEN * np.abs(values).max():
        return PairedT(mean, float("nan"), float("nan"), float("nan"), folds)
    error = float(values.std(ddof=1) * np.sqrt(1.0 / folds + test_to_train))
    t = mean / error
    return PairedT(mean, error, t, float(2.0 * stats.t.sf(abs(t), folds - 1)), folds)


def resolvable(test: PairedT, *, power: float | None = None, level: float = LEVEL) -> float:
    """The smallest difference that this test could have told from none, given how much the folds vary.

    Args:
        power: None asks for the difference which, had it been observed, would have p equal to ``level``:
            t_(1 - level/2, k - 1) times the standard error. A number in (level, 1) asks for the true difference that
            such a test would find with this probability: the noncentrality at which the two-sided t-test has this
            power, times the standard error.

    Returns:
        A difference above 0, in the unit of the metric; NaN where the test is.

    Source: Cohen 1988, ISBN 0-8058-0283-5, with the noncentral t distribution in place of its tables.
    """
    if not test.error > 0:
        return float("nan")
    df = test.folds - 1
    return test.error * (float(stats.t.isf(level / 2, df)) if power is None else _noncentrality(df, level, power))


@lru_cache
def _noncentrality(df: int, level: float, power: float) -> float:
    bar = float(stats.t.isf(level / 2, df))

    def short(shift: float) -> float:
        wrong_side = np.nan_to_num(stats.nct.cdf(-bar, df, shift))  # SciPy gives NaN for some that are next to 0
        return float(stats.nct.sf(bar, df, shift) + wrong_side) - power

    return float(optimize.root_scalar(short, bracket=(0.0, 10.0 * bar), method="brentq").root)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of the signed-rank test, exact up to 13 folds; folds without a difference are dropped.

    Like the plain t-test it takes the folds as independent.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` below six folds, where no result can have p < 0.05.

    Source: Wilcoxon 1945, doi:10.2307/3001968.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < WILCOXON_FOLDS:
        smallest = f"the smallest p it can give on {len(values)} folds is {0.5 ** (len(values) - 1):.4g}"
        raise BadInput(
            "NOT_ESTIMABLE",
            f"the Wilcoxon test cannot tell any difference here: {smallest}",
            key="--test",
            expected=f"{WILCOXON_FOLDS} folds or more",
            got=f"{len(values)} folds",
            hint="use --test corrected-t, or cross-validation repeated with other folds",
        )
    if not values.any():
        return 1.0
    method = stats.PermutationMethod(n_resamples=2**_ENUMERATED) if len(values) <= _ENUMERATED else "auto"
    return float(stats.wilcoxon(values, method=method).pvalue)


def bootstrap_p(samples: np.ndarray) -> float:
    """Two-sided p of a difference from its bootstrap samples: twice the smaller share on one side of 0.

    The percentile interval of a level excludes 0 when this p is below 1 - level, but for the 1 added to both counts,
    by which p is never 0: 2 / (B + 1) at least. Samples of exactly 0 count on both sides.

    Args:
        samples: (B,) differences of the bootstrap samples; NaN, not estimable, is left out.

    Returns:
        p in (0, 1]; NaN without samples.

    Source: Davison and Hinkley 1997, doi:10.1017/CBO9780511802843, chapter 4.
    """
    known = np.asarray(samples, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan")
    fewer = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2.0 * (fewer + 1) / (len(known) + 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p: calling those below a level differences makes even one false claim at most that often.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none falls below the one before it, or above 1.

    Args:
        p: (m,) in [0, 1], or NaN for a comparison that could not be tested: it counts in m and stays NaN.

    Returns:
        (m,), in the order given.

    Source: Holm 1979, https://www.jstor.org/stable/4615733.
    """
    given = np.asarray(p, dtype=float)
    if ((given < 0) | (given > 1)).any():
        raise ValueError("p must lie in [0, 1]")
    order = np.argsort(given, kind="stable")  # NaN last
    factor = len(given) - np.arange(len(given))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factor * given[order]))
    return adjusted
