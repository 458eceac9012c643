"""Metrics against torchsurv and torchmetrics, together in one file: importing them takes longer than every comparison.

Skipped where mirror-eval is installed alone, for it needs no torch.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from mirror_eval.brier import survival_brier
from mirror_eval.calibration import expected_calibration_error
from mirror_eval.censoring import censoring_curve
from mirror_eval.concordance import harrell_c, uno_c
from mirror_eval.time_auc import mean_auc, time_auc

TIMES = np.array([9.5, 20.5, 41.5])


@pytest.fixture(scope="module")
def theirs() -> SimpleNamespace:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SimpleNamespace(
            tensor=pytest.importorskip("torch").tensor,
            cindex=pytest.importorskip("torchsurv.metrics.cindex").ConcordanceIndex,
            auc=pytest.importorskip("torchsurv.metrics.auc").Auc,
            brier=pytest.importorskip("torchsurv.metrics.brier_score").BrierScore,
            ece=pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error,
        )


@pytest.fixture(params=range(5))
def cohort(request) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times without ties (torchsurv keeps float32), events, risks with ties; the last patient is not censored, else
    nobody would be uncensored at the end."""
    rng = np.random.default_rng(request.param)
    time, event = rng.permutation(np.arange(1.0, 71.0)), rng.random(70) < 0.5
    time[0], event[0] = 71.0, True
    return time, event, rng.integers(0, 15, size=70).astype(float)


def test_harrell_and_uno(theirs, cohort):
    time, event, risk = cohort
    told = [theirs.tensor(values) for values in (risk, event, time)]
    assert harrell_c(time, event, risk).c == pytest.approx(float(theirs.cindex()(*told)), abs=1e-6)
    weight = theirs.tensor(1.0 / censoring_curve(time, event).at(time))
    expected = float(theirs.cindex()(*told, weight=weight))
    assert float(uno_c(time, event, time, event, risk)) == pytest.approx(expected, abs=1e-6)


def test_auc_over_time(theirs, cohort):
    time, event, risk = cohort
    weight, at_times = (theirs.tensor(1.0 / censoring_curve(time, event).at(at)) for at in (time, TIMES))
    told = [theirs.tensor(values) for values in (risk, event, time)]
    theirs_auc = theirs.auc()
    expected = theirs_auc(*told, "cumulative", weight, theirs.tensor(TIMES), at_times).numpy()
    found = time_auc(time, event, time, event, risk, TIMES)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert mean_auc(time, event, TIMES, found) == pytest.approx(float(theirs_auc.integral()), abs=1e-6)


def test_brier_score(theirs, cohort):
    time, event, _ = cohort
    survival = np.sort(np.random.default_rng(0).random((70, 3)), axis=1)[:, ::-1].copy()
    weight, at_times = (theirs.tensor(1.0 / censoring_curve(time, event).at(at)) for at in (time, TIMES))
    told = [theirs.tensor(values) for values in (survival, event, time, TIMES)]
    expected = theirs.brier()(*told, weight=weight, weight_new_time=at_times).numpy()
    np.testing.assert_allclose(survival_brier(time, event, time, event, survival, TIMES), expected, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_expected_calibration_error(theirs, classes):
    rng = np.random.default_rng(classes)
    for patients in (1, 7, 80, 300):
        chance, label = rng.dirichlet(np.ones(classes), size=patients), rng.integers(0, classes, size=patients)
        told = (theirs.tensor(chance), theirs.tensor(label))
        expected = float(theirs.ece(*told, num_classes=classes, n_bins=10))
        assert expected_calibration_error(label, chance) == pytest.approx(expected, abs=1e-6)
