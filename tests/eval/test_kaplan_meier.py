"""Kaplan-Meier and log-rank against lifelines, scikit-survival and hand calculation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mirror_eval.kaplan_meier import kaplan_meier, log_rank


def cohort(seed: int, n: int = 60, share: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(1, 20, size=n).astype(float), rng.random(n) < share


def test_by_hand():
    curve = kaplan_meier([1, 2, 2, 3, 4], [1, 1, 0, 0, 1])
    np.testing.assert_array_equal(curve.times, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(curve.survival, [1, 4 / 5, 4 / 5 * 3 / 4, 3 / 5, 0])
    np.testing.assert_array_equal(curve.at_risk, [5, 5, 4, 2, 1])
    np.testing.assert_array_equal(curve.events, [0, 1, 1, 0, 1])
    assert curve.median == 4
    np.testing.assert_allclose(curve.at([0, 0.5, 1, 3.9, 4, 9]), [1, 1, 0.8, 0.6, 0, 0])
    np.testing.assert_array_equal(curve.numbers_at_risk([0, 1, 1.5, 4, 5]), [5, 5, 4, 1, 0])


def test_beyond_the_last_censored_patient_nothing_is_known():
    curve = kaplan_meier([1, 2, 5], [1, 0, 0])
    assert np.isnan(curve.at(6))
    assert curve.at(5) == pytest.approx(2 / 3)
    assert curve.median == np.inf


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 80), st.sampled_from([0.0, 0.05, 0.6, 1.0]))
def test_equals_lifelines(seed, n, share):
    from lifelines import KaplanMeierFitter

    time, event = cohort(seed, n, share)
    fitter = KaplanMeierFitter().fit(time, event)
    curve = kaplan_meier(time, event)
    np.testing.assert_allclose(curve.survival, fitter.survival_function_["KM_estimate"].to_numpy(), atol=1e-12)
    np.testing.assert_array_equal(curve.at_risk, fitter.event_table["at_risk"].to_numpy())
    inner = (curve.survival > 0) & (curve.survival < 1)
    bounds = fitter.confidence_interval_.to_numpy()
    np.testing.assert_allclose(np.stack([curve.low, curve.high], 1)[inner], bounds[inner], atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 4), st.sampled_from([0.15, 0.6, 1.0]))
def test_log_rank_equals_lifelines(seed, groups, share):
    from lifelines.statistics import multivariate_logrank_test

    time, event = cohort(seed, 90, share)
    assume(event.sum() >= 3)
    group = np.random.default_rng(seed).integers(0, groups, size=90)
    expected = multivariate_logrank_test(time, group, event)
    found = log_rank(time, event, group)
    assert found.statistic == pytest.approx(expected.test_statistic, rel=1e-8)
    assert found.p == pytest.approx(expected.p_value, rel=1e-7)
    assert found.degrees == groups - 1
    assert found.observed.sum() == pytest.approx(event.sum())
    assert found.expected.sum() == pytest.approx(event.sum())


def test_log_rank_equals_scikit_survival():
    compare, util = pytest.importorskip("sksurv.compare"), pytest.importorskip("sksurv.util")
    time, event = cohort(4, 200)
    group = np.random.default_rng(1).integers(0, 3, size=200)
    statistic, p = compare.compare_survival(util.Surv.from_arrays(event, time), group)
    found = log_rank(time, event, group)
    assert (found.statistic, found.p) == (pytest.approx(statistic), pytest.approx(p))


def test_strata_add_up_before_the_statistic_is_formed():
    time, event = cohort(7, 150)
    rng = np.random.default_rng(8)
    group, strata = rng.integers(0, 2, size=150), rng.integers(0, 5, size=150)
    observed = expected = variance = 0.0
    for s in range(5):
        mine = strata == s
        for t in np.unique(time[mine & event]):
            risk = mine & (time >= t)
            n, n1, d = risk.sum(), (risk & (group == 1)).sum(), (mine & event & (time == t)).sum()
            observed += (mine & event & (time == t) & (group == 1)).sum()
            expected += d * n1 / n
            variance += d * n1 / n * (1 - n1 / n) * (n - d) / (n - 1) if n > 1 else 0
    found = log_rank(time, event, group, strata)
    assert found.statistic == pytest.approx((observed - expected) ** 2 / variance)
    assert found.groups == ("0", "1")
    assert found.observed[1] == observed


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_stratified_log_rank_is_the_score_test_of_a_stratified_cox_model(seed):
    """Of two groups without ties: the slope at 0 against its curvature there, by lifelines' likelihood."""
    from lifelines import CoxPHFitter

    rng = np.random.default_rng(seed)
    time, event = rng.permutation(np.arange(1.0, 61.0)), rng.random(60) < 0.7
    group, strata = rng.integers(0, 2, size=60), rng.integers(0, 3, size=60)
    table = pd.DataFrame({"x": group, "t": time, "e": event, "s": strata})
    step = 1e-3

    def likelihood(slope: float) -> float:
        fitter = CoxPHFitter()
        how = {"max_steps": 0, "precision": 1e-9}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitter.fit(table, "t", "e", strata=["s"], initial_point=np.array([slope]), fit_options=how)
        return fitter.log_likelihood_

    low, here, high = (likelihood(slope) for slope in (-step, 0.0, step))
    expected = ((high - low) / 2) ** 2 / (2 * here - low - high)
    assert log_rank(time, event, group, strata).statistic == pytest.approx(expected, rel=1e-3)


def test_strata_hide_a_difference_between_strata():
    """Two hospitals with different survival, the same in both arms: unstratified an effect, stratified none."""
    rng = np.random.default_rng(0)
    hospital = np.repeat([0, 1], 200)
    group = np.where(rng.random(400) < np.where(hospital == 0, 0.85, 0.15), "high", "low")
    time, event = rng.exponential(np.where(hospital == 0, 1.0, 4.0)), np.ones(400, bool)
    assert log_rank(time, event, group).p < 1e-6
    assert log_rank(time, event, group, hospital).p > 0.01


def test_one_group_or_no_event_has_no_test():
    assert np.isnan(log_rank([1, 2, 3], [1, 1, 1], ["a", "a", "a"]).p)
    assert np.isnan(log_rank([1, 2, 3], [0, 0, 0], ["a", "b", "a"]).p)
