"""Times at which survival is scored, AUC over time of a run, and where they end."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Store
from mirror_eval.censoring import censoring_curve
from mirror_eval.survival import evaluate_survival
from mirror_eval.survival_scores import score_times
from mirror_eval.time_auc import mean_auc, time_auc


def test_times_end_where_nine_in_ten_have_left():
    time = np.arange(1.0, 101.0)
    times = score_times(time, np.ones(100, bool))
    assert len(times) == 100
    assert times[-1] == pytest.approx(np.quantile(time, 0.9))
    np.testing.assert_allclose(np.diff(times), times[0])


def test_times_end_before_the_end_of_a_study_that_censors_many_at_once():
    time, event = np.r_[np.arange(1.0, 71.0), np.full(30, 100.0)], np.r_[np.arange(70) % 2 == 0, np.zeros(30, bool)]
    times = score_times(time, event)
    assert times[-1] == 70.0
    assert (censoring_curve(time, event).at(times) > 0).all()
    event[-1] = True  # a death at that time is not censoring: but nobody is uncensored after it
    assert score_times(time, event)[-1] == 70.0


def test_one_time_for_all_is_refused():
    with pytest.raises(BadInput) as raised:
        score_times(np.full(20, 5.0), np.arange(20) < 3)
    assert raised.value.code == "NOT_ESTIMABLE"


def test_auc_of_a_run_is_that_of_its_predictions(run_store: Store):
    result = evaluate_survival(run_store, "planted", head="cox", resamples=30)
    assert [(c.modality, c.fold) for c in result.auc_curves] == [(c.modality, c.fold) for c in result.curves]
    for curve, survival in zip(result.auc_curves, result.curves, strict=True):
        rows = result.predictions.query("modality == @curve.modality and fold == @curve.fold")
        time, event, risk = (rows[name].to_numpy() for name in ("time_days", "event", "risk"))
        train = (survival.train_time, survival.train_event)
        np.testing.assert_array_equal(curve.times, survival.times)
        np.testing.assert_allclose(curve.auc, time_auc(*train, time, event, risk, curve.times))
        score = result.score(curve.modality, "auc_mean")
        assert score.folds[curve.fold] == pytest.approx(mean_auc(time, event, curve.times, curve.auc))
        assert score.low < score.mean < score.high
    assert result.score("both", "auc_mean").mean > 0.65
    taus = {(row.modality, row.fold): row.tau for row in result.counts.folds}
    assert taus == {(c.modality, c.fold): c.times[-1] for c in result.curves}


def test_support_sets_have_a_mean_auc_but_no_curves(run_store: Store):
    result = evaluate_survival(run_store, "slides", protocol="few-shot", shots=5, resamples=5)
    assert result.auc_curves == ()
    assert result.tests == ()
    assert 0.5 < result.score("slide", "auc_mean").mean < 0.75
    assert result.score("slide", "auc_mean").support_sd > 0
