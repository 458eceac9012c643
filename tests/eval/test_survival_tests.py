"""Tests over all folds of a row against lifelines and hand-made cases."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.store import Patients, Store, open_store, read_patients, write_patients
from mirror_eval import survival_scores
from mirror_eval.calibration import d_calibration
from mirror_eval.results import SurvivalResult
from mirror_eval.survival import evaluate_survival
from mirror_eval.survival_tests import row_tests, standardised

NOBODY = pd.DataFrame(index=pd.Index([], name="patient_id"))


@pytest.fixture(scope="module")
def aged(run_store: Store, tmp_path_factory) -> Store:
    """The store with ages, one unknown, and stages, of which some cannot be read."""
    url = tmp_path_factory.mktemp("aged") / "copy.zarr"
    shutil.copytree(run_store.url, url)
    store, rng = open_store(url), np.random.default_rng(0)
    table = read_patients(store).table.copy()
    table["age"] = rng.integers(30, 85, size=len(table)).astype(float)
    table.iloc[40, table.columns.get_loc("age")] = np.nan
    table["stage"] = rng.choice(["Stage I", "Stage IIA", "Stage IIIB", "Stage IV", "Stage X"], size=len(table))
    write_patients(store, Patients(table), overwrite=True)
    return store


@pytest.fixture(scope="module")
def result(aged: Store) -> SurvivalResult:
    return evaluate_survival(aged, "planted", head="cox", resamples=5)


def lifelines(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Ratio, low, high and p of the first of the columns, folds as strata."""
    from lifelines import CoxPHFitter

    table = rows[[*names, "time_days", "event", "fold"]].astype(float)
    fitted = CoxPHFitter().fit(table, "time_days", "event", strata=["fold"], fit_options={"precision": 1e-12}).summary
    return fitted.loc[names[0], ["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%", "p"]].to_numpy(float)


def told(found) -> list[float]:
    return [found.ratio, found.low, found.high, found.p]


@pytest.mark.parametrize("modality", ["slide", "rna", "both"])
def test_hazard_ratios_are_those_of_lifelines_on_the_predictions(result, aged, modality):
    test = next(test for test in result.tests if test.modality == modality)
    rows = result.predictions.query("modality == @modality").copy()
    rows["sd"] = rows.groupby("fold")["risk"].transform(lambda risk: (risk - risk.mean()) / risk.std(ddof=0))
    rows["high"] = (rows["group"] == "high").astype(float)
    rows = rows.join(read_patients(aged).table[["age", "stage"]], on="patient_id")
    rows["number"] = rows["stage"].map({"Stage I": 1, "Stage IIA": 2, "Stage IIIB": 3, "Stage IV": 4})
    known = rows.dropna(subset=["age", "number"])
    np.testing.assert_allclose(told(test.per_sd), lifelines(rows, ["sd"]), rtol=1e-5)
    np.testing.assert_allclose(told(test.high_low), lifelines(rows, ["high"]), rtol=1e-5)
    np.testing.assert_allclose(told(test.per_sd_adjusted), lifelines(known, ["sd", "age", "number"]), rtol=1e-5)
    np.testing.assert_allclose(told(test.high_low_adjusted), lifelines(known, ["high", "age", "number"]), rtol=1e-5)
    assert test.adjusted_for == ("age", "stage")
    assert test.absent == ()
    assert (test.patients, test.events) == (len(rows), rows["event"].sum())
    assert test.per_sd_adjusted.patients == len(known) < len(rows)


def test_planted_risk_multiplies_the_hazard_and_survival_is_calibrated(result):
    both = next(test for test in result.tests if test.modality == "both")
    assert both.per_sd.low > 1.2
    assert both.high_low.ratio > both.per_sd.ratio
    assert both.log_rank.p < 0.001
    assert both.log_rank.groups == ("high", "low")
    assert both.d_calibration.p > 0.01
    assert both.d_calibration.share.sum() == pytest.approx(1.0)


def test_a_store_without_age_and_stage_says_so(run_store: Store):
    found = evaluate_survival(run_store, "told", protocol="stored", resamples=5).tests
    (test,) = found
    assert (test.modality, test.adjusted_for) == ("stored", ())
    assert test.per_sd_adjusted is None
    assert test.high_low_adjusted is None
    assert test.d_calibration is None
    assert test.absent == (
        "not adjusted for age: the store holds none",
        "not adjusted for stage: the store holds none",
        "no calibration: the run gives risks, not chances of survival",
    )
    assert test.per_sd.ratio > 1.2
    assert test.log_rank.p < 0.01


def part_of(fold: int, ids: str, risk: list[float], cut: float = 0.0) -> survival_scores.Tested:
    time, event = np.arange(1.0, len(ids) + 1), np.arange(len(ids)) % 2 == 0
    return survival_scores.Tested(
        modality="both", fold=fold, draw=0, patient_ids=tuple(ids), risk=np.array(risk), time=time, event=event,
        train_time=time, train_event=event, cut=cut, times=np.array([1.0, 2.0]), survival=None, own=None,
        fitted=len(ids), fitted_events=int(event.sum()), strength=None,
    )  # fmt: skip


def test_patients_of_several_test_parts_are_not_counted_twice():
    (test,) = row_tests([part_of(0, "abc", [1, -1, 2]), part_of(1, "cde", [1, -1, 2])], NOBODY)
    assert test.per_sd is None
    assert test.absent == ("no tests: some patients stand in the test parts of several folds",)


def test_groups_that_cannot_be_had():
    (one_side,) = row_tests([part_of(0, "abcd", [1, 3, 2, 5])], NOBODY)
    assert one_side.high_low is None
    assert "no risk groups: all test patients fall on one side of the cut" in one_side.absent
    (uncut,) = row_tests([part_of(0, "abcd", [1, 3, 5, 2], np.nan)], NOBODY)
    assert uncut.log_rank is None
    assert "no risk groups: the risks of the patients fitted on are not known" in uncut.absent
    assert np.isfinite(uncut.per_sd.ratio)


def test_equal_risks_have_no_ratio():
    np.testing.assert_array_equal(standardised(np.array([3.0, 3.0])), [0, 0])
    np.testing.assert_allclose(standardised(np.array([1.0, 3.0])), [-1, 1])
    (test,) = row_tests([part_of(0, "abcd", [1, 1, 1, 1]), part_of(1, "efgh", [2, 2, 2, 2])], NOBODY)
    assert np.isnan(test.per_sd.ratio)


def test_calibration_pools_the_folds():
    own = [survival_scores.OwnSurvival(np.array([0.15, 0.4, 0.95]), np.array([True, False, True]))]
    own.append(survival_scores.OwnSurvival(np.array([0.5, 0.5, 0.5]), np.array([False, False, False])))
    parts = [part_of(0, "abc", [1, -1, 2]), part_of(1, "def", [1, -1, 2])]
    (test,) = row_tests([replace(part, own=one) for part, one in zip(parts, own, strict=True)], NOBODY)
    expected = d_calibration([0.15, 0.4, 0.95, 0.5, 0.5, 0.5], [1, 0, 1, 0, 0, 0])
    assert test.d_calibration.p == pytest.approx(expected.p)
    np.testing.assert_allclose(test.d_calibration.share, expected.share)


@pytest.mark.parametrize("head", ["discrete", "cox"])
def test_survival_at_ones_own_time_lies_on_the_curve(run_store: Store, head, monkeypatch: pytest.MonkeyPatch):
    from mirror_eval import survival

    seen: list = []
    monkeypatch.setattr(survival, "row_tests", lambda once, _patients: seen.extend(once) or ())
    evaluate_survival(run_store, "planted", head=head, resamples=2)
    assert len(seen) == 12
    for one in seen:
        inside = (one.time >= one.times[0]) & (one.time <= one.times[-1])
        index = np.searchsorted(one.times, one.time[inside], side="right") - 1
        rows = np.flatnonzero(inside)
        assert (one.own.survival[inside] <= one.survival[rows, index] + 1e-12).all()
        after = np.minimum(index + 1, 99)
        assert (one.own.survival[inside] >= one.survival[rows, after] - 1e-12).all()
        late = one.time > one.train_time.max()
        assert not one.own.event[late].any()
        assert np.isfinite(one.own.survival).all()


def test_command_prints_and_tells_them(aged: Store, capsys, tmp_path: Path):
    import json

    from mirror_data.cli.app import run
    from mirror_eval.cli.main import cli

    how = ["cindex", "--store", str(aged.url), "--run", "planted", "--resamples", "5", "--head", "cox"]
    assert run(cli, how) == 0
    text = capsys.readouterr().out
    assert run(cli, [*how, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lines = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    both = next(test for test in found["tests"] if test["modality"] == "both")
    ratio = both["per_sd"]
    assert (
        f"{ratio['ratio']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] p < 0.001"
        in lines["hazard ratio, a sd of risk"]
    )
    assert "adjusted for age and stage" in text
    spread = f"D-calibration spreads the {both['patients'] - both['events']} censored of {both['patients']} over bins"
    assert (spread in text) == (2 * both["events"] < both["patients"])
    few = ["--protocol", "few-shot", "--shots", "5"]
    assert run(cli, ["cindex", "--store", str(aged.url), "--run", "slides", "--resamples", "2", *few]) == 0
    assert "no tests over all folds" in capsys.readouterr().out
    assert f"p = {both['d_calibration']['p']:.3f}" in lines["D-calibration (low p: not calibrated)"]
    assert len(both["d_calibration"]["share"]) == 10
    taus = [row["tau"] for row in found["counts"]["folds"] if row["modality"] == "both"]
    listed = ", ".join(f"fold {k} {tau:.0f}" for k, tau in enumerate(taus))
    assert f"tau of Uno's C and last time scored, days: {listed}" in text
    curve = next(c for c in found["auc_over_time"] if (c["modality"], c["fold"]) == ("both", 2))
    assert len(curve["times"]) == len(curve["auc"]) == 100
    assert curve["times"][-1] == taus[2]
    mean = next(s for s in found["scores"] if (s["modality"], s["metric"]) == ("both", "auc_mean"))
    assert f"{mean['mean']:.3f} ± {mean['sd']:.3f}" in lines["AUC over time, mean"]
