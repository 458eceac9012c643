"""The command compare: values, files, wrong inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.cli.app import run
from mirror_data.store import Store
from mirror_eval.cli import compare as command
from mirror_eval.cli.main import cli
from mirror_eval.compared import METRICS

FOLDS = 4


@pytest.fixture
def told(capsys):
    """Run ``compare`` with these arguments: exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run(cli, ["compare", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return int(status), out, err

    return call


def risks(sees: float, seed: int = 0, folds: int = FOLDS) -> pd.DataFrame:
    """Risks that see the hazard (1), see nothing of it (0), or have it upside down (-1)."""
    rng = np.random.default_rng(7)
    hazard = rng.normal(size=80)
    table = pd.DataFrame({"fold": np.arange(80) % folds, "patient_id": [f"P{k:02d}" for k in range(80)]})
    table["risk"] = (sees * hazard + np.random.default_rng(seed).normal(size=80) * 0.3).round(5)
    table["time"] = rng.exponential(100 / np.exp(hazard)).round(3) + 1
    table["event"] = (rng.random(80) < 0.7).astype(int)
    return table


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, sees, seed in (("good", 1, 0), ("poor", 0, 1)):
        risks(sees, seed).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path / "good.csv", tmp_path / "poor.csv"


def test_two_tables(told, files):
    status, text, _ = told("--predictions", *files, "--resamples", 200)
    assert status == 0
    lines = text.splitlines()
    assert lines[0] == "Harrell's C: the first method minus the second"
    row = next(line.split() for line in lines if line.startswith("good"))
    assert row[:2] == ["good", "poor"]
    status, text, _ = told("--predictions", files[0], "--predictions", files[1], "--resamples", 200, "--json")
    found = json.loads(text)
    one = found["differences"][0]
    assert row[2] == f"{one['difference']:+.3f}"
    assert one["difference"] > 0.15
    assert (one["folds"], one["patients"], one["left_out"]) == (["0", "1", "2", "3"], 80, 0)
    assert (one["tested"], one["fitted"]) == (20, 60)
    assert found["below_05"]["p_bootstrap"] == 1
    assert found["verdict"] == [line for line in lines if line in found["verdict"]]
    assert found["methods"][0] == {"cohort": "", "method": "good", "source": "good.csv"}


def test_runs_of_a_store_a_table_and_a_picture(told, run_store: Store, tmp_path: Path):
    out, plot = tmp_path / "t.csv", tmp_path / "f.svg"
    how = ("--task", "survival", "--reference", "planted", "--resamples", 50, "--out", out, "--plot", plot)
    status, text, note = told("--store", run_store.url, "planted", "planted:slide", "told", *how)
    assert status == 0
    assert "planted minus each other method" in text
    assert "told: its own predictions" in text
    assert "2 comparisons in" in note
    table = pd.read_csv(out)
    assert list(table["second"]) == ["planted:slide", "told"]
    assert table["difference"].to_numpy() == pytest.approx((table["first_mean"] - table["second_mean"]).to_numpy())
    assert table["difference"].to_numpy() == pytest.approx(table.filter(like="difference_").mean(axis=1).to_numpy())
    assert (table["p_holm"] >= table["p_test"]).all()
    assert plot.read_text().startswith("<svg")
    assert "var(" not in plot.read_text()


def test_metric_of_subtyping(told, run_store: Store):
    how = ("--store", run_store.url, "planted:rna", "planted:slide", "--metric", "macro_f1", "--resamples", 0, "--json")
    status, text, _ = told(*how)
    assert status == 0
    assert "NaN" not in text
    found = json.loads(text)
    assert (found["metric"], found["differences"][0]["low"]) == ("macro_f1", None)


def test_published_table_by_command(told, shared: Path):
    """14 of 50 claims by a plain t-test, 12 by Nadeau and Bengio's, 1 after Holm's correction."""
    data = shared / "data/mcat_patient_predictions.csv.gz"
    how = ("--method-column", "exp", "--by", "cohort", "--censorship-column", "c", "--resamples", 0, "--json")
    reference = "MCATsm_nll_surv_a0.0_5foldcv_gc32_concat"
    status, text, _ = told("--predictions", data, "--reference", reference, *how)
    assert status == 0
    found = json.loads(text)
    assert len(found["differences"]) == 50
    counts = {name: found["below_05"][name] for name in ("p_naive", "p_test", "p_holm")}
    assert counts == {"p_naive": 14, "p_test": 12, "p_holm": 1}
    published = pd.read_csv(shared / "data/mcat_published_cindex.csv").set_index(["exp", "cohort"])["mean"]
    for one in found["differences"]:
        assert round(one["first_mean"], 3) == published[reference, one["cohort"]]
        assert round(one["second_mean"], 3) == published[one["second"], one["cohort"]]


def test_wilcoxon_on_six_folds(told, tmp_path: Path):
    for name, sees, seed in (("good", 1, 0), ("poor", -1, 1)):
        risks(sees, seed, folds=6).to_csv(tmp_path / f"{name}.csv", index=False)
    how = ("--test", "wilcoxon", "--resamples", 0, "--json")
    status, text, _ = told("--predictions", tmp_path / "good.csv", tmp_path / "poor.csv", *how)
    assert status == 0
    one = json.loads(text)["differences"][0]
    assert all(value > 0 for value in one["values"])
    assert one["p_test"] == pytest.approx(2 / 2**6)


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (lambda t: t.assign(patient_id="Q" + t["patient_id"]), [], "NO_OVERLAP"),
        (lambda t: t.assign(fold=t["fold"] + 10), [], "MISMATCH"),
        (lambda t: t.assign(event=1 - t["event"]), [], "MISMATCH"),
        (lambda t: t.drop(columns="risk"), [], "BAD_COLUMN"),
        (lambda t: t, ["--test", "wilcoxon"], "NOT_ESTIMABLE"),
        (lambda t: t, ["--reference", "nobody"], "BAD_OPTION"),
        (lambda t: t, ["--by", "hospital"], "BAD_COLUMN"),
        (lambda t: t, ["--method-column", "exp"], "BAD_OPTION"),
        (lambda t: t, ["--metric", "auroc"], "BAD_COLUMN"),
        (lambda t: t, ["--task", "subtype", "--metric", "c_harrell"], "BAD_OPTION"),
        (lambda t: t, ["--protocol", "stored"], "BAD_OPTION"),
        (lambda t: t, ["--plot", "forest.pdf"], "BAD_OPTION"),
        (lambda t: t, ["--out", "no/folder/t.csv"], "NOT_FOUND"),
        (lambda t: t, ["--plot", "no/folder/f.svg"], "NOT_FOUND"),
        (lambda t: t, ["--event-column", "event", "--censorship-column", "event"], "BAD_OPTION"),
    ],
)
def test_tables_that_cannot_be_compared(told, files, tmp_path: Path, monkeypatch, change, options, code):
    monkeypatch.chdir(tmp_path)
    change(pd.read_csv(files[1])).to_csv(files[1], index=False)
    before = sorted(tmp_path.iterdir())
    status, out, err = told("--predictions", *files, "--resamples", 5, "--out", "t.csv", *options)
    assert (status, out) == (2, "")
    assert err.startswith(code + ":")
    assert "P01" not in err
    assert sorted(tmp_path.iterdir()) == before  # nothing written


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "BAD_OPTION"),
        (["planted", "told"], "BAD_OPTION"),
        (["--store", "STORE", "--task", "subtype"], "BAD_OPTION"),
        (["--store", "STORE", "planted", "--task", "subtype"], "BAD_OPTION"),
        (["--store", "STORE", "planted", "planted", "--task", "subtype"], "BAD_OPTION"),
        (["--store", "STORE", "planted", "told"], "BAD_OPTION"),
        (["--store", "STORE", "planted", "nobody", "--task", "subtype"], "MISSING"),
        (["--store", "STORE", "planted", "told", "--task", "subtype", "--protocol", "linear"], "MISSING"),
        (["--store", "STORE", "planted", "told", "--task", "subtype", "--by", "fold"], "BAD_OPTION"),
        (["--store", "STORE", "planted", "--predictions", "x.csv"], "BAD_OPTION"),
        (["--store", "STORE", "planted", "told", "--metric", "brier"], "Invalid value"),
        (["--predictions", "nowhere.csv"], "NOT_FOUND"),
    ],
)
def test_wrong_command_lines(told, run_store: Store, arguments, code):
    status, out, err = told(*(run_store.url if argument == "STORE" else argument for argument in arguments))
    assert (status, out) == (2, "")
    assert code in err
    assert "Traceback" not in err


def test_one_method_only(told, files):
    status, _, err = told("--predictions", files[0])
    assert status == 2
    assert "a comparison needs two methods" in err


def test_the_command_knows_the_metrics():
    assert tuple(METRICS) == command.METRICS
