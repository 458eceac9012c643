from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from mirror_eval.survival_calibration import survival_reliability


def planted(patients: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hazards (n,) known exactly, exponential deaths, censoring that does not depend on them."""
    rng = np.random.default_rng(seed)
    hazard = np.exp(rng.normal(scale=0.8, size=patients)) / 1000
    death, leaving = rng.exponential(1 / hazard), rng.exponential(1500, size=patients)
    return hazard, np.minimum(death, leaving), death <= leaving, np.exp(-hazard * 800)


def test_the_truth_is_calibrated_and_a_distortion_is_not():
    _, time, event, survival = planted()
    truth = survival_reliability(survival, time, event, 800)
    assert len(truth.count) == 5
    assert truth.count.tolist() == [800] * 5
    assert (np.diff(truth.predicted) > 0).all()
    assert truth.gap < 0.02
    assert ((truth.low <= truth.predicted) & (truth.predicted <= truth.high)).sum() >= 4
    optimist = survival_reliability(survival**0.5, time, event, 800)
    assert optimist.gap > 0.1
    assert (optimist.predicted > optimist.high).all()


def test_observed_is_lifelines_kaplan_meier_of_each_group():
    _, time, event, survival = planted(300, seed=1)
    found = survival_reliability(survival, time, event, 500, groups=3)
    order = np.argsort(survival)
    for k, mine in enumerate(np.array_split(order, 3)):
        curve = KaplanMeierFitter().fit(time[mine], event[mine])
        interval = curve.confidence_interval_survival_function_
        row = interval.index.searchsorted(500, side="right") - 1
        assert found.observed[k] == pytest.approx(float(curve.predict(500)))
        assert (found.low[k], found.high[k]) == pytest.approx(tuple(interval.iloc[row]))
        assert found.predicted[k] == pytest.approx(survival[mine].mean())


def test_like_predictions_stand_together_whatever_their_order():
    _, time, event, _ = planted(100)
    survival = np.repeat([0.2, 0.8], 50)
    order = np.random.default_rng(0).permutation(100)
    found = survival_reliability(survival, time, event, 500)
    again = survival_reliability(survival[order], time[order], event[order], 500)
    assert found.predicted.tolist() == pytest.approx([0.2, 0.8])
    assert found.count.tolist() == [50, 50]
    assert again.observed == pytest.approx(found.observed)


def test_a_group_that_nobody_followed_so_long_is_left_out_of_the_gap():
    time = np.array([1.0, 2, 3, 4, 50, 60, 70, 80])
    event = np.array([False, False, False, False, True, True, False, False])
    found = survival_reliability(np.linspace(0.1, 0.9, 8), time, event, 55, groups=2)
    assert np.isnan([found.observed[0], found.low[0], found.high[0]]).all()
    assert found.observed[1] == pytest.approx(0.75)
    assert found.gap == pytest.approx(abs(found.predicted[1] - 0.75))
    assert np.isnan(survival_reliability(np.array([0.5]), np.array([1.0]), np.array([False]), 9).gap)
