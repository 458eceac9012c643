"""Harrell's and Uno's C against definitions, scikit-survival, lifelines and published numbers."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval import pairs
from mirror_eval.concordance import harrell_c, uno_c, weighted_c


def by_definition(time, event, risk, tolerance=1e-8):
    """Every pair, one at a time: concordant, discordant, tied."""
    counts = [0, 0, 0]
    for i in np.flatnonzero(event):
        for j in range(len(time)):
            if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                gap = risk[i] - risk[j]
                counts[2 if abs(gap) <= tolerance else 0 if gap > 0 else 1] += 1
    return tuple(counts)


@st.composite
def cohorts(draw, most=60):
    """Times and risks with many ties; some risks differ by less, some by just more than the tolerance."""
    n = draw(st.integers(1, most))
    time = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    event = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    step = draw(st.sampled_from([1.0, 6e-9, 1e-8, 3e-9]))
    level = draw(st.lists(st.integers(-6, 6), min_size=n, max_size=n))
    return np.array(time, float), np.array(event), np.array(level) * step + draw(st.sampled_from([0.0, -4.0, 1e3]))


@settings(max_examples=150, deadline=None)
@given(cohorts())
def test_pairs_are_those_of_the_definition(cohort):
    found = harrell_c(*cohort)
    assert (found.concordant, found.discordant, found.tied) == by_definition(*cohort)


@settings(max_examples=150, deadline=None)
@given(cohorts())
def test_sorting_counts_what_the_table_of_times_and_levels_counts(cohort):
    with patch.multiple(pairs, _TABLE_LEAST=0, _TABLE_MOST=0):  # as if there were too many times and levels
        found = harrell_c(*cohort)
    assert found == harrell_c(*cohort) or np.isnan(found.c)
    assert (found.concordant, found.discordant, found.tied) == by_definition(*cohort)


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.integers(0, 2**31))
def test_weights_count_a_patient_several_times(cohort, seed):
    weight = np.random.default_rng(seed).integers(0, 4, size=(3, len(cohort[0])))
    expected = [harrell_c(*(np.repeat(values, row) for values in cohort)).c for row in weight]
    np.testing.assert_allclose(weighted_c(*cohort, weight), expected, rtol=1e-12)
    np.testing.assert_allclose(weighted_c(*cohort, weight.astype(float)), expected, rtol=1e-12)


def test_large_cohorts_go_through_every_level_of_the_counting():
    rng = np.random.default_rng(0)
    time, event = np.ceil(rng.exponential(300, size=3000)), rng.random(3000) < 0.6
    risks = (rng.normal(size=3000), rng.integers(0, 400, size=3000), rng.integers(0, 5, size=3000))
    for risk in (*risks, rng.normal(size=3000) * 1e-8):
        found = harrell_c(time, event, risk)
        gap = risk[event, None] - risk
        later = (time > time[event, None]) | ((time == time[event, None]) & ~event)
        assert found.tied == (later & (np.abs(gap) <= 1e-8)).sum()
        assert found.concordant == (later & (gap > 1e-8)).sum()
        assert found.comparable == later.sum()


def test_more_patients_than_the_matrix_of_pairs_holds():
    rng = np.random.default_rng(1)
    time, event, risk = rng.exponential(size=10_050), rng.random(10_050) < 0.5, rng.normal(size=10_050)
    weight = rng.multinomial(10_050, np.full(10_050, 1 / 10_050), size=2)
    expected = [harrell_c(*(np.repeat(values, row) for values in (time, event, risk))).c for row in weight]
    np.testing.assert_array_equal(weighted_c(time, event, risk, weight), expected)
    np.testing.assert_allclose(weighted_c(time, event, risk, weight[:1].astype(float)), expected[:1], rtol=1e-12)


def test_worked_ties():
    first = harrell_c([2, 2, 3, 4, 4, 5, 6], [1, 0, 1, 1, 1, 0, 1], [0.9, 0.9, 0.5, 0.7, 0.2, 0.5, 0.1])
    assert round(first.c, 4) == 0.7857
    second = harrell_c([1, 2, 3, 4], [1, 1, 1, 0], [-4, -4 + 5e-9, -3.999, -3.999])
    assert round(second.c, 4) == 0.1667


def test_closeness_is_decided_pair_by_pair():
    chain = np.array([0.0, 0.8e-8, 1.6e-8])  # neighbours are tied, the ends are not
    assert by_definition([1, 2, 3], [1, 1, 1], chain) == (0, 1, 2)
    found = harrell_c([1, 2, 3], [1, 1, 1], chain)
    assert (found.concordant, found.discordant, found.tied) == (0, 1, 2)


def test_direction_higher_risk_dies_first():
    assert harrell_c([1, 2, 3], [1, 1, 1], [3, 2, 1]).c == 1.0
    assert harrell_c([1, 2, 3], [1, 1, 1], [1, 2, 3]).c == 0.0
    assert harrell_c([1, 2, 3], [1, 1, 1], [5, 5, 5]).c == 0.5


def test_nothing_comparable_is_nan_and_never_zero():
    assert np.isnan(harrell_c([1, 2], [0, 0], [1, 2]).c)
    assert np.isnan(harrell_c([2, 2], [1, 1], [1, 2]).c)
    assert np.isnan(harrell_c([], [], []).c)
    assert np.isnan(weighted_c([1, 2], [0, 0], [1, 2], np.ones((1, 2), int))[0])


@pytest.mark.parametrize("wrong", [([1, 2], [1], [1, 2]), ([1, np.nan], [1, 0], [1, 2]), ([1, 2], [1, 0], [np.inf, 2])])
def test_unequal_lengths_and_missing_values_are_refused(wrong):
    with pytest.raises(ValueError, match=r"length|finite"):
        harrell_c(*wrong)


def test_equals_lifelines_which_takes_the_opposite_sign():
    from lifelines.utils import concordance_index

    rng = np.random.default_rng(3)
    for _ in range(20):
        time, event = rng.integers(1, 30, size=80), rng.random(80) < 0.5
        risk = rng.integers(0, 9, size=80).astype(float)
        assert harrell_c(time, event, risk).c == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(cohorts())
def test_equals_scikit_survival(cohort):
    metrics = pytest.importorskip("sksurv.metrics")
    time, event, risk = cohort
    found = harrell_c(time, event, risk)
    if found.comparable == 0:
        return
    expected = metrics.concordance_index_censored(event, time, risk)
    assert found.c == pytest.approx(expected[0], abs=1e-12)
    assert (found.concordant, found.discordant, found.tied) == expected[1:4]


@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("levels", [1, 3])
def test_hardly_an_event_or_hardly_a_difference(share, levels):
    from lifelines.utils import concordance_index

    rng = np.random.default_rng(int(100 * share) + levels)
    for _ in range(20):
        time, risk = rng.integers(1, 9, size=40).astype(float), rng.integers(0, levels, size=40).astype(float)
        event = np.full(40, share == 1.0)
        event[: int(40 * share + 0.5)] = True  # 0, 1 or 40 events
        counts = by_definition(time, event, risk)
        found = harrell_c(time, event, risk)
        assert (found.concordant, found.discordant, found.tied) == counts
        if sum(counts) == 0:
            assert np.isnan(found.c)
            continue
        assert found.c == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)
        if levels == 1:
            assert found.c == 0.5


def test_uno_worked_example():
    time, event = np.array([11, 11, 26, 89, 128, 299, 300]), np.array([1, 0, 0, 1, 0, 1, 0])
    risk = [-0.02, 1.2, -0.56, -1.33, -0.81, 1.02, -1.29]
    assert uno_c(time, event, time, event, risk, tau=299) == pytest.approx(0.37427, abs=5e-6)


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.integers(0, 2**31))
def test_uno_equals_scikit_survival(cohort, seed):
    metrics, util = pytest.importorskip("sksurv.metrics"), pytest.importorskip("sksurv.util")
    time, event, risk = cohort
    rng = np.random.default_rng(seed)
    train_time, train_event = rng.integers(0, 14, size=40).astype(float), rng.random(40) < 0.5
    train_time[0], train_event[0] = 20.0, True  # training is followed longer than any test patient
    tau = 9.0
    found = uno_c(train_time, train_event, time, event, risk, tau=tau)
    if np.isnan(found):
        return
    outcome = util.Surv.from_arrays
    expected = metrics.concordance_index_ipcw(outcome(train_event, train_time), outcome(event, time), risk, tau=tau)
    assert found == pytest.approx(expected[0], abs=1e-9)


def test_uno_under_weights_is_uno_of_the_repeated_patients():
    rng = np.random.default_rng(5)
    time, event, risk = rng.integers(1, 40, size=50), rng.random(50) < 0.6, rng.normal(size=50)
    weight = rng.integers(0, 3, size=(4, 50))
    found = uno_c(time, event, time, event, risk, tau=30, weight=weight)
    for row, value in zip(weight, found, strict=True):
        repeated = (np.repeat(values, row) for values in (time, event, risk))
        assert value == pytest.approx(uno_c(time, event, *repeated, tau=30), abs=1e-12)


def test_veterans_lung_cancer_pairs():
    datasets, preprocessing = pytest.importorskip("sksurv.datasets"), pytest.importorskip("sksurv.preprocessing")
    from mirror_eval.cox import fit_cox

    table, outcome = datasets.load_veterans_lung_cancer()
    features = preprocessing.OneHotEncoder().fit_transform(table).to_numpy(float)
    time, event = outcome["Survival_in_days"], outcome["Status"]
    found = harrell_c(time, event, fit_cox(features, time, event, 0.0, ties="breslow").risk(features))
    assert (found.concordant, found.discordant) == (6482, 2322)
    assert round(found.c, 5) == 0.73626


def test_all_55_published_cells(shared: Path):
    told = pd.read_csv(shared / "data/mcat_patient_predictions.csv.gz")
    published = pd.read_csv(shared / "data/mcat_published_cindex.csv").set_index(["exp", "cohort"])
    assert len(published) == 55
    for cell, rows in told.groupby(["exp", "cohort"]):
        folds = [harrell_c(fold["t"], fold["c"] == 0, fold["risk"]).c for _, fold in rows.groupby("fold")]
        assert round(np.mean(folds), 3) == pytest.approx(published.loc[cell, "mean"], abs=1e-9)
        assert round(np.std(folds), 3) == pytest.approx(published.loc[cell, "sd"], abs=1e-9)
