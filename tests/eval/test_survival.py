"""The survival protocol over a run."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Patients, Predictions, Store, open_store, read_patients, schema, write_patients
from mirror_data.store import write_predictions as write
from mirror_eval.brier import brier_curve
from mirror_eval.concordance import harrell_c, uno_c
from mirror_eval.kaplan_meier import log_rank
from mirror_eval.survival import evaluate_survival


@pytest.fixture(scope="module")
def linear(run_store: Store):
    return evaluate_survival(run_store, "planted", resamples=200)


def with_table(store: Store, tmp_path, table: pd.DataFrame) -> Store:
    shutil.copytree(store.url, tmp_path / "copy.zarr")
    copy = open_store(tmp_path / "copy.zarr")
    write_patients(copy, Patients(table), overwrite=True)
    return copy


def test_scores_are_those_of_the_predictions(linear):
    for curve in linear.curves:
        rows = linear.predictions.query("modality == @curve.modality and fold == @curve.fold")
        time, event, risk = (rows[name].to_numpy() for name in ("time_days", "event", "risk"))
        train = (curve.train_time, curve.train_event)
        assert tuple(rows["patient_id"]) == curve.patient_ids
        found = {m: linear.score(curve.modality, m).folds[curve.fold] for m in ("c_harrell", "c_uno", "ibs", "ibs_km")}
        assert found["c_harrell"] == pytest.approx(harrell_c(time, event, risk).c)
        assert found["c_uno"] == pytest.approx(uno_c(*train, time, event, risk, tau=curve.times[-1]))
        brier = brier_curve(*train, time, event, curve.survival, curve.times)
        assert (found["ibs"], found["ibs_km"]) == (
            pytest.approx(brier.integrated),
            pytest.approx(brier.integrated_baseline),
        )
        assert linear.score(curve.modality, "ibs_skill").folds[curve.fold] == pytest.approx(brier.skill)


def test_survival_curves_fall_from_one_and_follow_risk(linear):
    for curve in linear.curves:
        assert curve.survival.shape == (len(curve.patient_ids), 100)
        assert (curve.survival <= 1).all()
        assert (np.diff(curve.survival, axis=1) <= 1e-12).all()
        rows = linear.predictions.query("modality == @curve.modality and fold == @curve.fold")
        order = np.argsort(rows["risk"].to_numpy())
        assert (np.diff(curve.survival[order, -1]) <= 1e-9).all()
        assert curve.times[-1] == pytest.approx(np.quantile(curve.train_time, 0.9))


@pytest.mark.parametrize("head", ["discrete", "cox"])
def test_planted_signal_is_found(run_store: Store, head):
    result = evaluate_survival(run_store, "planted", head=head, resamples=50)
    assert result.head == head
    assert result.score("both", "c_harrell").mean > 0.6
    assert result.score("both", "c_harrell").mean > result.score("slide", "c_harrell").mean
    assert result.score("both", "ibs_skill").mean > 0.03
    rows = result.predictions.query("modality == 'both'")
    test = log_rank(rows["time_days"], rows["event"], rows["group"], rows["fold"])
    assert test.groups == ("high", "low")
    assert test.p < 0.001
    assert test.observed[0] > test.expected[0]  # more deaths than expected at high risk


def test_noise_is_not(run_store: Store):
    null = evaluate_survival(run_store, "planted", control="random", resamples=20)
    assert 0.38 < null.score("both", "c_harrell").mean < 0.62
    assert null.score("both", "ibs_skill").mean < 0.02


def test_groups_are_cut_at_the_median_risk_of_the_patients_fitted_on(run_store: Store, linear):
    from mirror_eval.run_data import load_run
    from mirror_eval.survival_probe import fit_survival_probe

    outcomes = read_patients(run_store).survival()
    row = next(r for r in load_run(run_store, "planted", outcomes.index).rows if (r.modality, r.fold) == ("slide", 2))
    known = outcomes.loc[list(row.develop_ids)]
    probe = fit_survival_probe(row.develop, known["time_days"].to_numpy(), known["event"].to_numpy(), seed=0)
    rows = linear.predictions.query("modality == 'slide' and fold == 2")
    np.testing.assert_allclose(rows["risk"], probe.risk(row.test))
    cut = np.median(probe.risk(row.develop))
    np.testing.assert_array_equal(rows["group"], np.where(rows["risk"] > cut, "high", "low"))


def test_counts(linear):
    counts = linear.counts
    assert (counts.outcome, counts.no_outcome, counts.one_modality, counts.no_embedding) == (157, 3, 7, 1)
    events = linear.predictions.query("modality == 'rna'").groupby("fold")["event"].sum()
    for one in counts.folds:
        assert one.fitted + one.tested == 149
        assert one.tested_events == events[one.fold]
        assert one.fitted_events == events.sum() - events[one.fold]


def test_few_shot_counts_its_events(run_store: Store):
    result = evaluate_survival(run_store, "slides", protocol="few-shot", shots=5, resamples=20)
    assert result.curves == ()
    for one in result.counts.folds:
        assert one.fitted == 20  # four bins
        assert 1 <= one.fitted_events <= 20
    assert result.score("slide", "c_harrell").support_sd > 0
    assert 0.5 < result.score("slide", "c_harrell").mean < 0.7


def test_stored_risks(run_store: Store):
    result = evaluate_survival(run_store, "told", protocol="stored", resamples=50)
    assert (result.head, {score.modality for score in result.scores}) == ("stored", {"stored"})
    assert {score.metric for score in result.scores} == {"c_harrell", "c_uno", "auc_mean"}
    rows = result.predictions.query("fold == 1")
    assert result.score("stored", "c_harrell").folds[1] == pytest.approx(
        harrell_c(rows["time_days"], rows["event"], rows["risk"]).c
    )
    assert set(result.predictions["group"]) == {"high", "low"}


def test_stored_risks_of_test_patients_alone_have_no_groups(run_store: Store, tmp_path):
    store = with_table(run_store, tmp_path, read_patients(run_store).table)
    from mirror_data.store import read_predictions

    for k in range(4):
        table = read_predictions(store, "told", k, "survival").table
        told = Predictions("told", k, "survival", table[table["part"] == "test"])
        write(store, told, parents=store.parents(schema.run("told", k)), overwrite=True)
    result = evaluate_survival(store, "told", protocol="stored", resamples=5)
    assert result.predictions["group"].isna().all()
    broken = Predictions("told", 3, "survival", table.assign(risk=np.nan))
    write(store, broken, parents=store.parents(schema.run("told", 3)), overwrite=True)
    with pytest.raises(BadInput) as raised:
        evaluate_survival(store, "told", protocol="stored")
    assert raised.value.code == "BAD_VALUE"


def test_everyone_censored_is_refused(run_store: Store, tmp_path):
    table = read_patients(run_store).table.copy()
    table.loc[table["event"].notna(), "event"] = 0.0
    with pytest.raises(BadInput) as raised:
        evaluate_survival(with_table(run_store, tmp_path, table), "planted")
    assert raised.value.code == "NOT_ESTIMABLE"


def test_test_parts_without_events_are_refused_not_scored_zero(run_store: Store, tmp_path):
    table = read_patients(run_store).table.copy()
    table.loc[table["event"].notna(), "event"] = 0.0
    table.iloc[20, table.columns.get_loc("event")] = 1.0  # the one event: some fold has none to fit on
    with pytest.raises(BadInput) as raised:
        evaluate_survival(with_table(run_store, tmp_path, table), "planted", resamples=5)
    assert raised.value.code == "NOT_ESTIMABLE"


def test_a_fold_without_events_to_test_on_is_left_out_of_the_means(run_store: Store, tmp_path):
    table = read_patients(run_store).table.copy()
    fold = np.arange(len(table)) % 4 == 1  # the test part of fold 1
    table.loc[fold & table["event"].notna().to_numpy(), "event"] = 0.0
    result = evaluate_survival(with_table(run_store, tmp_path, table), "told", protocol="stored", resamples=20)
    for metric in ("c_harrell", "c_uno", "auc_mean"):
        found = result.score("stored", metric)
        assert np.isnan(found.folds).tolist() == [False, True, False, False]
        assert found.mean == pytest.approx(np.nanmean(found.folds))
    assert result.tests[0].events == table["event"].sum()
    assert np.isnan(result.auc_curves[1].auc).all()


def test_a_study_that_ends_for_many_at_once(run_store: Store, tmp_path):
    table = read_patients(run_store).table.copy()
    late = table["time_days"] > 400
    table.loc[late, "time_days"], table.loc[late, "event"] = 400.0, 0.0
    result = evaluate_survival(with_table(run_store, tmp_path, table), "planted", head="cox", resamples=5)
    assert all(row.tau < 400 for row in result.counts.folds)
    assert result.score("both", "ibs_skill").mean > 0
    assert np.isfinite(result.score("both", "auc_mean").folds).all()


@pytest.mark.parametrize(
    "wrong",
    [{"head": "forest"}, {"protocol": "best"}, {"control": "luck"}, {"protocol": "stored", "control": "random"}],
)
def test_unknown_options_are_refused(run_store: Store, wrong):
    with pytest.raises(BadInput) as raised:
        evaluate_survival(run_store, "planted", **wrong)
    assert raised.value.code == "BAD_OPTION"
