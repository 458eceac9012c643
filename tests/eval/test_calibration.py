"""Calibration: hand calculation, and what must hold for calibrated predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval.calibration import d_calibration, expected_calibration_error, reliability
from scipy.stats import chisquare


def test_expected_calibration_error_by_hand():
    chance = np.array([[0.95, 0.05], [0.91, 0.09], [0.35, 0.65], [0.62, 0.38]])
    label = np.array([0, 1, 1, 1])  # bin 0.9: confidence .93, right .5; bin 0.6: confidence .635, right .5
    expected = 0.5 * abs(0.5 - 0.93) + 0.5 * abs(0.5 - 0.635)
    assert expected_calibration_error(label, chance) == pytest.approx(expected)
    weight = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    second = 0.5 * abs(1 - 0.95) + 0.5 * abs(0.5 - 0.635)
    np.testing.assert_allclose(expected_calibration_error(label, chance, weight=weight), [expected, second])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_reliability_equals_scikit_learn(seed, n):
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(seed)
    chance = rng.random(n)
    right = rng.random(n) < chance
    right[0] = True
    observed, predicted = calibration_curve(np.r_[right, False], np.r_[chance, 0.001], n_bins=7)
    found = reliability(np.r_[right, False], np.r_[chance, 0.001], bins=7)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)


def counted(survival, event, bins):
    """Share of patients a bin, one patient and one bin at a time: Haider et al. 2020, section 3.5."""
    share = [0.0] * bins
    for s, died in zip(survival, event, strict=True):
        own = min(int(s * bins), bins - 1)
        if died or s == 0:
            share[own] += 1.0
            continue
        share[own] += (s - own / bins) / s  # its own bin as far as s
        for lower in range(own):
            share[lower] += (1.0 / bins) / s  # every bin below, whole
    return np.array(share) / len(survival)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=1, max_size=60),
    st.sampled_from([2, 4, 8, 16]),
)
def test_d_calibration_equals_counting_by_hand(told, bins):
    survival, event = np.array([s for s, _ in told]) / 64, [died for _, died in told]  # on and between edges
    found = d_calibration(survival, event, bins=bins)
    expected = counted(survival, event, bins)
    np.testing.assert_allclose(found.share, expected, atol=1e-12)
    n = len(survival)
    statistic, p = chisquare(expected * n, np.full(bins, n / bins))
    assert found.statistic == pytest.approx(statistic, abs=1e-9)
    assert found.p == pytest.approx(p, abs=1e-9)


def test_reliability_leaves_empty_bins_out():
    found = reliability([True, False, True], [0.05, 0.08, 1.0], bins=10)
    np.testing.assert_allclose(found.predicted, [0.065, 1.0])
    np.testing.assert_allclose(found.observed, [0.5, 1.0])
    np.testing.assert_array_equal(found.count, [2, 1])


def test_d_calibration_of_the_true_model_and_of_a_wrong_one():
    rng = np.random.default_rng(0)
    scale = rng.uniform(1, 5, size=4000)
    death, leaving = rng.exponential(scale), rng.exponential(6, size=4000)
    time, event = np.minimum(death, leaving), death <= leaving
    right = d_calibration(np.exp(-time / scale), event)
    assert right.p > 0.01
    assert right.share.sum() == pytest.approx(1.0)
    assert d_calibration(np.exp(-time / 2), event).p < 1e-6


def test_d_calibration_spreads_a_censored_patient_below_its_survival():
    found = d_calibration([0.25], [False], bins=10)
    np.testing.assert_allclose(found.share, [0.4, 0.4, 0.2, 0, 0, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(d_calibration([0.0, 1.0], [False, True], bins=2).share, [0.5, 0.5])
