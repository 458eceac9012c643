"""Calibration: hand calculation, and what must hold for calibrated predictions."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_eval.calibration import d_calibration, expected_calibration_error, reliability


def test_expected_calibration_error_by_hand():
    chance = np.array([[0.95, 0.05], [0.91, 0.09], [0.35, 0.65], [0.62, 0.38]])
    label = np.array([0, 1, 1, 1])  # bin 0.9: confidence .93, right .5; bin 0.6: confidence .635, right .5
    expected = 0.5 * abs(0.5 - 0.93) + 0.5 * abs(0.5 - 0.635)
    assert expected_calibration_error(label, chance) == pytest.approx(expected)
    weight = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    second = 0.5 * abs(1 - 0.95) + 0.5 * abs(0.5 - 0.635)
    np.testing.assert_allclose(expected_calibration_error(label, chance, weight=weight), [expected, second])


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
