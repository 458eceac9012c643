"""Paired tests over folds, against SciPy, scikit-learn's worked example, closed testing and simulation."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_data.errors import BadInput
from mirror_eval.paired_tests import PairedT, bootstrap_p, corrected_t, holm, resolvable, wilcoxon_p
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

DIFFERENCES = st.lists(st.integers(-400, 400).map(lambda x: x / 1000), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(DIFFERENCES)
def test_uncorrected_is_the_paired_t_test(values):
    found = corrected_t(np.array(values), 0.0)
    if len(set(values)) == 1:
        assert (found.p == 1.0) if values[0] == 0 else np.isnan(found.p)
        return
    expected = stats.ttest_rel(np.array(values) + 0.5, np.full(len(values), 0.5))
    assert found.t == pytest.approx(expected.statistic, rel=1e-6)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(DIFFERENCES, st.floats(0.01, 2))
def test_correction_only_ever_weakens_a_claim(values, ratio):
    plain, corrected = corrected_t(np.array(values), 0.0), corrected_t(np.array(values), ratio)
    if np.isnan(plain.p) or plain.error == 0:
        return
    assert corrected.error == pytest.approx(plain.error * np.sqrt(1 + len(values) * ratio))
    assert corrected.p >= plain.p
    other = corrected_t(-np.array(values), ratio)
    assert (other.t, other.p) == (pytest.approx(-corrected.t), pytest.approx(corrected.p))


def test_worked_example_of_scikit_learn():
    """Statistical comparison of models by grid search: p one-sided there (t above 0), two-sided here."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    scores = [
        cross_val_score(SVC(kernel=kernel, random_state=0), x, y, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    ]
    differences = scores[0] - scores[1]
    corrected, plain = corrected_t(differences, 10 / 90), corrected_t(differences, 0.0)
    assert (round(corrected.t, 3), round(corrected.p / 2, 3)) == (0.750, 0.227)
    assert (round(plain.t, 3), round(plain.p / 2, 3)) == (2.611, 0.005)
    assert corrected.folds == 100


def test_nothing_to_test_is_nan_and_nonsense_is_refused():
    for values, ratio in (([0.1], 0.25), ([], 0.25), ([0.1, 0.1, 0.1], 0.25), ([0.1, 0.2], float("nan"))):
        assert np.isnan(corrected_t(np.array(values), ratio).p)
    assert np.isnan(corrected_t(np.array([0.1, 0.1 + 1e-17, 0.3 - 0.2]), 0.25).p)  # the same but for rounding
    assert corrected_t(np.zeros(4), 0.25).p == 1.0
    for values, ratio in (([0.1, np.nan], 0.2), ([0.1, 0.2], -0.1)):
        with pytest.raises(ValueError, match="finite"):
            corrected_t(np.array(values), ratio)


@settings(max_examples=40, deadline=None)
@given(DIFFERENCES, st.floats(0, 1))
def test_a_difference_of_the_resolvable_size_has_p_at_the_level(values, ratio):
    test = corrected_t(np.array(values), ratio)
    least = resolvable(test)
    if np.isnan(least):
        assert not test.error > 0
        return
    moved = np.array(values) - np.mean(values) + least
    assert corrected_t(moved, ratio).p == pytest.approx(0.05, rel=1e-6)
    assert resolvable(test, power=0.8) > least


@pytest.mark.parametrize("folds", [2, 3, 5, 10, 100])
def test_power_is_what_simulation_finds(folds):
    sd = 0.03
    known = PairedT(0.0, sd / np.sqrt(folds), 0.0, 1.0, folds)
    true = resolvable(known, power=0.8)
    drawn = np.random.default_rng(0).normal(true, sd, size=(folds, 20_000))
    found = stats.ttest_1samp(drawn, 0.0).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.012)  # four standard errors


def exact_signed_rank(values: np.ndarray) -> float:
    """All signs gone through; folds of no difference dropped."""
    kept = values[values != 0]
    ranks = stats.rankdata(np.abs(kept))
    mid = ranks.sum() / 2
    seen = abs(ranks[kept > 0].sum() - mid)
    sums = [abs(ranks @ np.array(signs) - mid) for signs in product((0, 1), repeat=len(kept))]
    return float(np.mean(np.array(sums) >= seen - 1e-9))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=6, max_size=10))
def test_wilcoxon_goes_through_all_signs(values):
    differences = np.array(values) / 100
    expected = exact_signed_rank(differences) if differences.any() else 1.0
    assert wilcoxon_p(differences) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_needs_six_folds():
    assert wilcoxon_p(np.arange(1, 7) / 100) == pytest.approx(2 / 2**6)
    with pytest.raises(BadInput) as raised:
        wilcoxon_p(np.arange(1, 6) / 100)
    assert raised.value.code == "NOT_ESTIMABLE"
    assert "0.0625" in str(raised.value)
    assert stats.wilcoxon(np.arange(1, 6)).pvalue == 0.0625  # what the refusal says


def test_bootstrap_p_counts_the_smaller_side():
    samples = np.concatenate([np.full(30, -0.1), np.full(969, 0.2)])
    assert bootstrap_p(samples) == pytest.approx(2 * 31 / 1000)
    assert bootstrap_p(-samples) == bootstrap_p(samples)
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)  # never 0
    assert bootstrap_p(np.zeros(99)) == 1.0
    assert bootstrap_p(np.append(samples, np.nan)) == bootstrap_p(samples)
    assert np.isnan(bootstrap_p(np.array([np.nan])))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_bootstrap_p_and_percentile_interval_agree(seed):
    rng = np.random.default_rng(seed)
    samples = rng.normal(rng.normal(scale=2), 1, size=1999)
    low, high = np.quantile(samples, [0.025, 0.975])
    p = bootstrap_p(samples)
    if abs(p - 0.05) > 0.002:  # the interval interpolates, the count does not
        assert (p < 0.05) == (low > 0 or high < 0)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.5])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)
    found = holm(np.array([0.01, np.nan, 0.02]))  # three were asked, though one has no answer
    assert found[[0, 2]] == pytest.approx([0.03, 0.04])
    assert np.isnan(found[1])
    with pytest.raises(ValueError, match="p must lie"):
        holm(np.array([1.2]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_holm_is_closed_testing_with_bonferroni(values, random):
    """Rejecting i must reject every set of hypotheses that holds i, each by Bonferroni's test."""
    p = np.array(values)
    closed = [
        max(
            min(1.0, len(chosen) * p[list(chosen)].min())
            for size in range(1, len(p) + 1)
            for chosen in combinations(range(len(p)), size)
            if i in chosen
        )
        for i in range(len(p))
    ]
    found = holm(p)
    assert found == pytest.approx(closed)
    assert (found >= p).all()
    order = list(range(len(p)))
    random.shuffle(order)
    assert holm(p[order]) == pytest.approx(found[order])
