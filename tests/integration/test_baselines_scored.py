"""A supervised baseline from the command that trains it to the commands that score it and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mirror_data.cli.app import run
from mirror_eval.cli.main import cli as evaluate
from mirror_model.cli.main import cli as model

from tests.model.conftest import fill_store


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = fill_store(tmp_path_factory.mktemp("scored") / "toy.zarr").url
    for task in ("subtype", "survival"):
        words = ["train", "--store", url, "--run", f"linear-{task}", "--split", "main", "--method", "linear"]
        words += ["--task", task, "--set", "optimiser.lr=0.02", "--set", "batch_size=8", "--workers", "1"]
        assert run(model, words) == 0
    return url


def test_stored_predictions_are_scored(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command, task, metric in (("subtype", "subtype", "auroc"), ("cindex", "survival", "c_harrell")):
        words = ["--store", store_url, "--run", f"linear-{task}", "--protocol", "stored", "--resamples", "20", "--json"]
        assert run(evaluate, [command, *words]) == 0
        scores = json.loads(capsys.readouterr().out)["scores"]
        found = next(score for score in scores if score["metric"] == metric)
        assert found["modality"] == "stored"
        assert len(found["folds"]) == 2
        assert found["mean"] > 0.65


def test_another_tasks_predictions_are_missed_by_name(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--store", store_url, "--run", "linear-subtype", "--protocol", "stored"]
    assert run(evaluate, ["cindex", *words]) == 2
    assert "MISSING" in capsys.readouterr().err


def test_the_report_shows_them(store_url: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    words = ["report", "--store", store_url, "--run", "linear-survival", "--out", str(out)]
    assert run(evaluate, words) == 0
    page = out.read_text()
    assert "stored predictions" in page
    assert "LINEAR was trained" in page
