"""Hazard ratios against lifelines and the published rossi example."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval.hazard_ratio import hazard_ratio


def cohort(seed: int, n: int = 120, strata: int = 4):
    """Variable, covariates (n, 2), time with ties, event and strata with different baseline hazards."""
    rng = np.random.default_rng(seed)
    features, stratum = rng.normal(size=(n, 3)), rng.integers(0, strata, size=n)
    features[:, 1] = np.round(features[:, 1])
    death = rng.exponential(np.exp(-0.6 * features[:, 0] - 0.3 * features[:, 1]) * 8 * (1 + stratum))
    leaving = rng.exponential(15, size=n)
    return features[:, 0], features[:, 1:], np.ceil(np.minimum(death, leaving)), death <= leaving, stratum


def lifelines(variable, adjust, time, event, stratum):
    from lifelines import CoxPHFitter

    table = pd.DataFrame(adjust, columns=["b", "c"]).assign(a=variable, t=time, e=event, s=stratum)
    fitted = CoxPHFitter().fit(table, "t", "e", strata=["s"], fit_options={"precision": 1e-12}).summary
    return fitted.loc["a", ["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%", "p"]].to_numpy(float)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_equals_lifelines_within_strata_and_adjusted(seed):
    variable, adjust, time, event, stratum = cohort(seed)
    found = hazard_ratio(variable, time, event, strata=stratum, adjust=adjust)
    expected = lifelines(variable, adjust, time, event, stratum)
    np.testing.assert_allclose([found.ratio, found.low, found.high, found.p], expected, rtol=1e-5)
    assert (found.patients, found.events) == (120, event.sum())


def test_rossi_published_values():
    from lifelines.datasets import load_rossi

    table = load_rossi()
    time, event = table["week"].to_numpy(float), table["arrest"].to_numpy() == 1
    adjust = table[["age", "race", "wexp", "mar", "paro", "prio"]].to_numpy(float)
    found = hazard_ratio(table["fin"].to_numpy(float), time, event, adjust=adjust)
    assert (round(found.ratio, 3), round(found.low, 2), round(found.high, 2)) == (0.684, 0.47, 1.0)
    assert round(found.p, 4) == 0.0474
    assert np.log(found.ratio) == pytest.approx(-0.37942, abs=5e-6)


def test_unit_and_direction():
    variable, _, time, event, _ = cohort(3, 400)
    one = hazard_ratio(variable, time, event)
    assert one.ratio > one.low > 1
    tenth = hazard_ratio(10 * variable, time, event)
    assert tenth.ratio**10 == pytest.approx(one.ratio)
    assert tenth.p == pytest.approx(one.p)
    assert hazard_ratio(-variable, time, event).ratio == pytest.approx(1 / one.ratio)
    narrow = hazard_ratio(variable, time, event, confidence=0.5)
    assert one.low < narrow.low < narrow.high < one.high


def test_strata_hide_a_difference_between_strata():
    rng = np.random.default_rng(0)
    hospital = np.repeat([0, 1], 200)
    variable = hospital + 0.3 * rng.normal(size=400)
    time, event = rng.exponential(np.where(hospital == 0, 4.0, 1.0)), np.ones(400, bool)
    assert hazard_ratio(variable, time, event).p < 1e-6
    assert hazard_ratio(variable, time, event, strata=hospital).p > 0.01


def test_what_has_no_estimate_is_nan_and_never_a_huge_number():
    time, all_dead = np.array([1.0, 2, 3, 4]), np.ones(4, bool)
    for variable, event, strata in (
        ([4, 3, 2, 1], all_dead, None),  # perfect order: the likelihood rises for ever
        ([1, 1, 1, 1], all_dead, None),
        ([1, 1, 2, 2], all_dead, [0, 0, 1, 1]),  # constant within strata
        ([1, 2, 1, 3], ~all_dead, None),
        ([], [], None),
    ):
        found = hazard_ratio(variable, time[: len(variable)], event, strata=strata)
        assert np.isnan([found.ratio, found.low, found.high, found.p]).all()
    one_event = hazard_ratio([1, 3, 2, 4], time, [0, 1, 0, 0])
    assert one_event.events == 1
    assert np.isfinite([one_event.ratio, one_event.p]).all()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**31))
def test_few_patients_give_a_finite_ratio_or_none_and_no_warning(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 14))
    time, event = rng.integers(1, 6, size=n).astype(float), rng.random(n) < rng.choice([0.2, 0.6, 1.0])
    adjust, strata = rng.normal(size=(n, int(rng.integers(0, 3)))), rng.integers(0, 3, size=n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = hazard_ratio(rng.integers(0, 3, size=n), time, event, strata=strata, adjust=adjust)
    values = [found.ratio, found.low, found.high, found.p]
    assert np.isnan(values).all() or (np.isfinite(values).all() and found.low <= found.ratio <= found.high)


def test_covariates_without_information_change_nothing():
    variable, adjust, time, event, stratum = cohort(5)
    plain = hazard_ratio(variable, time, event, strata=stratum, adjust=adjust)
    idle = np.c_[adjust, np.ones(len(time)), stratum, 2 * adjust[:, 0]]  # constant, constant in strata, collinear
    found = hazard_ratio(variable, time, event, strata=stratum, adjust=idle)
    np.testing.assert_allclose([found.ratio, found.low, found.p], [plain.ratio, plain.low, plain.p], rtol=1e-6)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="length"):
        hazard_ratio([1, 2], [1, 2, 3], [1, 1, 1])
    with pytest.raises(ValueError, match="finite"):
        hazard_ratio([1, np.nan], [1, 2], [1, 1])
    with pytest.raises(ValueError, match="finite"):
        hazard_ratio([1, 2], [1, 2], [1, 1], adjust=np.array([[1.0], [np.inf]]))
