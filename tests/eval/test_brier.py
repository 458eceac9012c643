"""Brier score of survival against scikit-survival and its published values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval.brier import brier_curve, integrate, survival_brier
from mirror_eval.censoring import censoring_curve
from mirror_eval.cox import fit_cox


def test_gbsg2_published_values():
    datasets, preprocessing = pytest.importorskip("sksurv.datasets"), pytest.importorskip("sksurv.preprocessing")
    table, outcome = datasets.load_gbsg2()
    table = table.assign(tgrade=table["tgrade"].astype(str).str.len())
    features = preprocessing.OneHotEncoder().fit_transform(table).to_numpy(float)
    time, event = outcome["time"], outcome["cens"]
    model = fit_cox(features, time, event, 0.0, ties="efron")
    at = np.array([1825.0])
    found = survival_brier(time, event, time, event, model.survival(features, at), at)
    assert found[0] == pytest.approx(0.20881843, abs=5e-9)
    times = np.arange(365.0, 1826.0)
    curve = brier_curve(time, event, time, event, model.survival(features, times), times)
    assert curve.integrated == pytest.approx(0.1815853064627424, abs=1e-8)
    assert 0 < curve.skill < 0.2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_equals_scikit_survival(seed):
    metrics, util = pytest.importorskip("sksurv.metrics"), pytest.importorskip("sksurv.util")
    rng = np.random.default_rng(seed)
    train_time, train_event = rng.integers(1, 30, size=80).astype(float), rng.random(80) < 0.5
    train_time[0] = 40.0
    time, event = rng.integers(1, 29, size=50).astype(float), rng.random(50) < 0.5
    time[:2] = [1.0, 29.0]
    times = np.array([2.0, 3.5, 7.0, 12.0, 20.0])
    survival = np.sort(rng.random((50, 5)), axis=1)[:, ::-1]
    outcome = util.Surv.from_arrays
    expected = metrics.brier_score(outcome(train_event, train_time), outcome(event, time), survival, times)[1]
    np.testing.assert_allclose(survival_brier(train_time, train_event, time, event, survival, times), expected)
    whole = metrics.integrated_brier_score(outcome(train_event, train_time), outcome(event, time), survival, times)
    curve = brier_curve(train_time, train_event, time, event, survival, times)
    assert curve.integrated == pytest.approx(whole)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.03, 0.5, 1.0]), st.integers(1, 30))
def test_equals_the_definition_one_patient_at_a_time(seed, share, n):
    rng = np.random.default_rng(seed)
    train_time, train_event = np.r_[rng.integers(1, 12, size=30), 20].astype(float), np.r_[rng.random(30) < 0.5, True]
    time, event, times = rng.integers(1, 12, size=n).astype(float), rng.random(n) < share, np.array([1.0, 4.5, 11.0])
    survival = rng.random((n, 3))
    chance = censoring_curve(train_time, train_event)
    expected = np.zeros(3)
    for k, at in enumerate(times):
        for i in range(n):
            if time[i] <= at and event[i]:
                expected[k] += survival[i, k] ** 2 / chance.at(time[i]) / n
            elif time[i] > at:
                expected[k] += (1 - survival[i, k]) ** 2 / chance.at(at) / n
    np.testing.assert_allclose(survival_brier(train_time, train_event, time, event, survival, times), expected)


def test_without_censoring_it_is_the_squared_error():
    time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, bool)
    survival = np.array([[0.2], [0.4], [0.9], [0.5]])
    found = survival_brier(time, event, time, event, survival, [2.0])
    assert found[0] == pytest.approx(np.mean([0.2**2, 0.4**2, 0.1**2, 0.5**2]))
    half = survival_brier(time, event, time, event, np.full((4, 1), 0.5), [2.0])
    assert half[0] == pytest.approx(0.25)


def test_weights_count_a_patient_several_times():
    rng = np.random.default_rng(2)
    time, event, times = rng.integers(1, 20, size=30).astype(float), rng.random(30) < 0.6, np.array([4.0, 9.0])
    survival, weight = rng.random((30, 2)), rng.integers(0, 3, size=(3, 30))
    found = survival_brier(time, event, time, event, survival, times, weight=weight)
    for row, value in zip(weight, found, strict=True):
        repeated = (np.repeat(values, row, axis=0) for values in (time, event, survival))
        np.testing.assert_allclose(value, survival_brier(time, event, *repeated, times))


def test_the_baseline_has_no_skill_over_itself():
    from mirror_eval.kaplan_meier import kaplan_meier

    rng = np.random.default_rng(3)
    time, event, times = rng.exponential(10, size=200), rng.random(200) < 0.7, np.linspace(1, 15, 30)
    everyone = np.tile(kaplan_meier(time, event).at(times), (200, 1))
    curve = brier_curve(time, event, time, event, everyone, times)
    assert curve.skill == pytest.approx(0.0)
    np.testing.assert_allclose(curve.model, curve.baseline)


def test_a_time_at_which_nobody_is_uncensored_is_refused():
    with pytest.raises(ValueError, match="uncensored"):
        survival_brier([1, 2, 3], [1, 1, 0], [1, 2], [1, 1], np.ones((2, 1)), [3.0])


def test_censoring_curve_lets_events_come_first():
    curve = censoring_curve([1, 1, 2, 3], [1, 0, 0, 1])
    np.testing.assert_allclose(curve.at([0.5, 1, 2, 3, 9]), [1, 2 / 3, 1 / 3, 1 / 3, 1 / 3])


def test_integral_is_a_mean_over_time():
    assert integrate(np.array([0.0, 1.0, 3.0]), np.array([2.0, 2.0, 2.0])) == pytest.approx(2.0)
    assert integrate(np.array([0.0, 2.0]), np.array([[0.0, 1.0]]))[0] == pytest.approx(0.5)
