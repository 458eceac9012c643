"""The commands subtype and cindex: output, JSON, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from mirror_data.cli.app import run
from mirror_data.store import Store
from mirror_eval.cli.main import COMMANDS, cli


@pytest.fixture
def told(capsys):
    """Run a command line: exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run(cli, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(status), out, err

    return call


def test_subtype_of_a_run(told, run_store: Store, tmp_path: Path):
    out = tmp_path / "p.csv"
    status, text, note = told("subtype", "--store", run_store.url, "--run", "planted", "--resamples", 50, "--out", out)
    assert status == 0
    assert text.splitlines()[0] == "planted: subtypes IDC, ILC, linear protocol, 4 of 4 folds"
    heading = next(line for line in text.splitlines() if "slides" in line)
    assert heading.split() == ["slides", "RNA", "both"]
    assert "macro F1" in text
    assert "population sd over folds" in text
    assert "without, left out: 5" in text
    assert "441 predictions in" in note
    assert len(pd.read_csv(out)) == 441


def test_what_subtype_writes_it_reads_and_scores_the_same(told, run_store: Store, tmp_path: Path):
    out = tmp_path / "p.csv"
    how = ("--resamples", 50, "--json")
    _, first, _ = told("subtype", "--store", run_store.url, "--run", "planted", "--out", out, *how)
    status, second, _ = told("subtype", "--predictions", out, *how)
    assert status == 0
    scores = [{(s["modality"], s["metric"]): s for s in json.loads(text)["scores"]} for text in (first, second)]
    assert scores[0].keys() == scores[1].keys()
    for cell, score in scores[0].items():
        assert score["mean"] == pytest.approx(scores[1][cell]["mean"])
        assert (score["low"], score["high"]) == (
            pytest.approx(scores[1][cell]["low"]),
            pytest.approx(scores[1][cell]["high"]),
        )


def test_json_has_no_nan(told, run_store: Store):
    _, text, _ = told("subtype", "--store", run_store.url, "--run", "planted", "--resamples", 0, "--json")
    assert "NaN" not in text
    found = json.loads(text)
    assert found["classes"] == ["IDC", "ILC"]
    assert found["scores"][0]["low"] is None
    assert found["counts"]["one_modality"] == 7


def test_cindex_of_a_run(told, run_store: Store, tmp_path: Path):
    how = ("--store", run_store.url, "--run", "planted", "--resamples", 50)
    status, text, _ = told("cindex", *how, "--out", tmp_path / "r.csv")
    assert status == 0
    assert text.splitlines()[0] == "planted: survival, discrete head, linear protocol, 4 of 4 folds"
    assert "Harrell's C" in text
    assert "IBS skill" in text
    _, again, _ = told("cindex", *how, "--json")
    both = next(s for s in json.loads(again)["scores"] if (s["modality"], s["metric"]) == ("both", "c_harrell"))
    _, table, _ = told("cindex", "--predictions", tmp_path / "r.csv", "--by", "modality", "--resamples", 50, "--json")
    found = next(g for g in json.loads(table)["groups"] if g["group"] == {"modality": "both"})
    assert found["mean"] == pytest.approx(both["mean"])
    assert [fold["c"] for fold in found["folds"]] == pytest.approx(both["folds"])
    assert (found["low"], found["high"]) == (pytest.approx(both["low"]), pytest.approx(both["high"]))


@pytest.mark.parametrize(("command", "metric"), [("subtype", "AUROC"), ("cindex", "Harrell's C")])
def test_stored_predictions(told, run_store: Store, command, metric):
    how = ("--store", run_store.url, "--run", "told", "--protocol", "stored", "--resamples", 5)
    status, text, _ = told(command, *how)
    assert status == 0
    assert metric in text
    assert "stored" in text


def test_controls_are_announced(told, run_store: Store):
    how = ("--store", run_store.url, "--run", "planted", "--control", "random", "--head", "cox", "--resamples", 5)
    status, text, _ = told("cindex", *how)
    assert status == 0
    assert "NULL CONTROL random" in text.splitlines()[0]


def test_published_table_by_command(told, shared: Path):
    told_risks = shared / "data/mcat_patient_predictions.csv.gz"
    options = ("--by", "exp,cohort", "--censorship-column", "c", "--resamples", 0, "--json")
    status, text, _ = told("cindex", "--predictions", told_risks, *options)
    assert status == 0
    published = pd.read_csv(shared / "data/mcat_published_cindex.csv").set_index(["exp", "cohort"])
    groups = json.loads(text)["groups"]
    assert len(groups) == len(published) == 55
    for group in groups:
        row = published.loc[(group["group"]["exp"], group["group"]["cohort"])]
        assert (round(group["mean"], 3), round(group["sd"], 3)) == (row["mean"], row["sd"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["cindex"], "BAD_OPTION"),
        (["cindex", "--store", "STORE"], "BAD_OPTION"),
        (["subtype", "--run", "planted"], "BAD_OPTION"),
        (["subtype", "--store", "STORE", "--run", "planted", "--predictions", "x.csv"], "BAD_OPTION"),
        (["subtype", "--store", "STORE", "--run", "nobody"], "MISSING"),
        (["subtype", "--store", "STORE", "--run", "told"], "MISSING"),
        (["cindex", "--store", "STORE", "--run", "planted", "--protocol", "stored"], "MISSING"),
        (["subtype", "--store", "STORE", "--run", "planted", "--protocol", "few-shot", "--draws", "5"], "BAD_OPTION"),
        (
            ["subtype", "--store", "STORE", "--run", "planted", "--protocol", "few-shot", "--shots", "90"],
            "NOT_ESTIMABLE",
        ),
        (["cindex", "--predictions", "nowhere.csv"], "NOT_FOUND"),
        (["cindex", "--store", "nowhere.zarr", "--run", "planted"], ""),
        (["cindex", "--store", "STORE", "--run", "planted", "--head", "forest"], "Invalid value"),
        (["cindex", "--predictions", "x.csv", "--head", "cox"], "BAD_OPTION"),
        (["subtype", "--predictions", "x.csv", "--out", "y.csv"], "BAD_OPTION"),
        (["cindex", "--store", "STORE", "--run", "planted", "--by", "fold"], "BAD_OPTION"),
        (["subtype", "--store", "STORE", "--run", "planted", "--out", "no/folder/x.csv"], "NOT_FOUND"),
        (["audition"], "No such command"),
    ],
)
def test_wrong_command_lines(told, run_store: Store, arguments, code):
    status, out, err = told(*(run_store.url if argument == "STORE" else argument for argument in arguments))
    assert status == 2
    assert out == ""
    assert code in err
    assert "Traceback" not in err


def test_folds_without_an_event_are_announced(told, tmp_path: Path):
    path = tmp_path / "r.csv"
    path.write_text("fold,patient_id,risk,time,event\n0,A,2,5,1\n0,B,1,6,0\n1,C,1,5,0\n1,D,2,6,0\n")
    status, text, _ = told("cindex", "--predictions", path, "--resamples", 5)
    assert status == 0
    assert text.splitlines()[1].split()[:6] == ["4", "1", "1.000", "-", "1.000", "0.000"]
    assert "left out of the means: 1" in text


def test_every_command_shows_its_help(told):
    for command in ("subtype", "cindex", "compare"):
        status, text, _ = told(command, "--help")
        assert status == 0
        assert "--json" in text
    assert set(COMMANDS) == {"subtype", "cindex", "compare", "audit", "heatmap", "report"}


def test_help_loads_nothing_heavy():
    heavy = ("numpy", "pandas", "scipy", "sklearn", "matplotlib", "zarr", "torch", "polars")
    lines = ["import sys", "from mirror_eval.cli.main import cli, COMMANDS", "import click"]
    lines += ["for name in COMMANDS: cli.get_command(None, name)", f"print([m for m in {heavy!r} if m in sys.modules])"]
    start = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert time.perf_counter() - start < 5  # generous: other work may share the cores


def test_no_module_of_evaluation_needs_torch_or_openslide():
    lines = [
        "import sys, importlib, pkgutil, mirror_eval",
        "for found in pkgutil.walk_packages(mirror_eval.__path__, 'mirror_eval.'): importlib.import_module(found.name)",
        "print([name for name in ('torch', 'openslide', 'timm', 'mirror_model') if name in sys.modules])",
    ]
    found = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
