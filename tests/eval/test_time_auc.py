"""AUC over time against its definition, scikit-survival, torchsurv and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval.censoring import censoring_curve
from mirror_eval.kaplan_meier import kaplan_meier
from mirror_eval.time_auc import mean_auc, time_auc


def by_definition(train_time, train_event, time, event, risk, at, tolerance=1e-8):
    """Every case and control, one pair at a time."""
    chance = censoring_curve(train_time, train_event).at(time)
    found = possible = 0.0
    for i in np.flatnonzero((time <= at) & event):
        for j in np.flatnonzero(time > at):
            gap = risk[i] - risk[j]
            found += (1.0 if gap > tolerance else 0.5 if gap >= -tolerance else 0.0) / chance[i]
            possible += 1.0 / chance[i]
    return found / possible if possible else float("nan")


@st.composite
def cohorts(draw, most=40):
    """Training followed longer than any test patient; ties in times and risks, some risks within the tolerance."""
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    time = rng.integers(1, draw(st.sampled_from([2, 12, 40])), size=n).astype(float)
    event = rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    step = draw(st.sampled_from([0.0, 1.0, 6e-9, 1e-8]))
    risk = rng.integers(-6, 7, size=n) * step
    train_time, train_event = rng.integers(1, 40, size=60).astype(float), rng.random(60) < 0.5
    train_time[0], train_event[0] = 50.0, True
    return train_time, train_event, time, event, risk


@settings(max_examples=100, deadline=None)
@given(cohorts())
def test_is_the_share_of_rightly_ordered_pairs(cohort):
    times = np.array([0.5, 1.0, 3.5, 7.0, 12.0, 39.0])
    expected = [by_definition(*cohort, at) for at in times]
    np.testing.assert_allclose(time_auc(*cohort, times), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.integers(0, 2**31))
def test_equals_scikit_survival(cohort, seed):
    metrics, util = pytest.importorskip("sksurv.metrics"), pytest.importorskip("sksurv.util")
    train_time, train_event, time, event, risk = cohort
    if np.ptp(risk) and np.diff(np.unique(risk)).min() < 1e-6:
        risk = np.round(risk / 6e-9)  # scikit-survival ties chains of close risks, we decide pair by pair
    time, event, risk = np.r_[1.0, 41.0, time], np.r_[True, False, event], np.r_[0.5, 0.5, risk]
    times = np.sort(np.random.default_rng(seed).choice(np.arange(1.0, 41.0, 0.5), size=6, replace=False))
    outcome = util.Surv.from_arrays
    each, mean = metrics.cumulative_dynamic_auc(outcome(train_event, train_time), outcome(event, time), risk, times)
    found = time_auc(train_time, train_event, time, event, risk, times)
    np.testing.assert_allclose(found, each, atol=1e-12)
    assert mean_auc(time, event, times, found) == pytest.approx(mean, abs=1e-12)


def test_without_censoring_it_is_the_area_under_the_roc_curve():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    time, event, risk = rng.exponential(10, size=80), np.ones(80, bool), rng.integers(0, 9, size=80)
    times = np.array([2.0, 5.0, 15.0])
    expected = [roc_auc_score(time <= at, risk) for at in times]
    np.testing.assert_allclose(time_auc(time, event, time, event, risk, times), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 2**31))
def test_under_weights_it_is_that_of_the_repeated_patients(cohort, seed):
    train_time, train_event, time, event, risk = cohort
    times = np.array([1.0, 2.5, 6.0, 20.0])
    weight = np.random.default_rng(seed).integers(0, 3, size=(4, len(time)))
    found = time_auc(*cohort, times, weight=weight)
    means = mean_auc(time, event, times, found, weight=weight)
    for row, each, mean in zip(weight, found, means, strict=True):
        repeated = [np.repeat(values, row) for values in (time, event, risk)]
        expected = time_auc(train_time, train_event, *repeated, times)
        np.testing.assert_allclose(each, expected, atol=1e-12)
        np.testing.assert_allclose(mean, mean_auc(*repeated[:2], times, expected), atol=1e-12)


def test_the_mean_counts_a_time_by_the_fall_of_the_survival_curve_before_it():
    rng = np.random.default_rng(2)
    time, event = rng.integers(1, 30, size=50).astype(float), rng.random(50) < 0.6
    times, auc = np.array([3.0, 8.0, 9.0, 25.0]), np.array([0.2, 0.9, np.nan, 0.6])
    fall = -np.diff(np.r_[1.0, kaplan_meier(time, event).at(times)])
    known = ~np.isnan(auc)
    assert mean_auc(time, event, times, auc) == pytest.approx((auc * fall)[known].sum() / fall[known].sum())


def test_direction_ties_and_what_cannot_be_estimated():
    time, event, times = np.array([1.0, 2, 3, 4]), np.array([1, 1, 0, 0]), np.array([0.5, 2.0, 3.5])
    train = (np.array([1.0, 2, 3, 9]), np.array([1, 1, 1, 1]))
    np.testing.assert_array_equal(time_auc(*train, time, event, [4, 3, 2, 1], times), [np.nan, 1, 1])
    np.testing.assert_array_equal(time_auc(*train, time, event, [1, 2, 3, 4], times), [np.nan, 0, 0])
    np.testing.assert_array_equal(time_auc(*train, time, event, [7, 7, 7, 7], times), [np.nan, 0.5, 0.5])
    nobody = time_auc(*train, time, np.zeros(4), [1, 2, 3, 4], times)
    assert np.isnan(nobody).all()
    assert np.isnan(mean_auc(time, np.zeros(4), times, nobody))
    assert np.isnan(time_auc(*train, time, event, [1, 2, 3, 4], [4.0])).all()  # nobody is alive any more
    with pytest.raises(ValueError, match="uncensored"):
        time_auc([1, 2], [1, 0], time, event, [1, 2, 3, 4], [2.0])
    with pytest.raises(ValueError, match="finite"):
        time_auc(*train, time, event, [1, 2, 3, np.nan], times)


def test_many_patients_are_compared_in_blocks():
    rng = np.random.default_rng(4)
    time, event, risk = rng.exponential(10, size=2500), rng.random(2500) < 0.9, rng.normal(size=2500)
    times = np.array([1.0, 5.0, 12.0])
    chance = censoring_curve(time, event).at(time)
    expected = []
    for at in times:
        case, control = event & (time <= at), time > at
        right = (risk[case, None] > risk[control]).sum(1) / control.sum()
        expected.append((right / chance[case]).sum() / (1 / chance[case]).sum())
    np.testing.assert_allclose(time_auc(time, event, time, event, risk, times), expected, atol=1e-12)
