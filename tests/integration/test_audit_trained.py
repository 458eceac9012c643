"""The audit of runs that mirror-model trained: whom scalers and time bins were fitted on is found out, not believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mirror_data.cli.app import run as call
from mirror_data.store import Fold, Split, Store, open_store, read_run, schema, write_run, write_split
from mirror_eval.cli.main import cli as evaluate
from mirror_eval.leakage import Audit, audit_run, audit_store
from mirror_model.cli.main import cli as model

from tests.model.conftest import TEST, TRAIN, VALIDATION, fill_store

SETTINGS = ("batch_size=8", "epochs=1", "data.tiles=12", "data.standardise_tiles=true", "precision=fp32")
SETTINGS += ("choose=last", "patience=0")  # without a validation part too


def train(store: Store, name: str, method: str, split: str, *more: str) -> None:
    words = ["train", "--store", store.url, "--run", name, "--split", split, "--method", method, "--fold", "0"]
    words += ["--workers", "1", *more]
    for setting in SETTINGS:
        words += ["--set", setting]
    assert call(model, words) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Honest runs of split ``main``, and runs of splits that train on more than they may, under false names.

    What a cheat leaves is a record that names the honest split and a checkpoint fitted on other patients.
    """
    folder = tmp_path_factory.mktemp("trained")
    store = fill_store(folder / "toy.zarr")
    wide = Fold(tuple(sorted(TRAIN + TEST)), VALIDATION, ())
    refit = Fold(tuple(sorted(TRAIN + VALIDATION)), (), TEST)
    write_split(store, Split("wide", (wide,)), parents=store.parents("patients"))
    write_split(store, Split("refit", (refit,)), parents=store.parents("patients"))
    train(store, "linear", "linear", "main", "--task", "survival", "--genes", "top")
    train(store, "abmil", "abmil", "main", "--task", "subtype")
    for cheat, method, split, task in (
        ("test-scaler", "linear", "wide", "survival"),
        ("validation-scaler", "linear", "refit", "subtype"),
        ("test-bins", "abmil", "wide", "survival"),
    ):
        train(store, cheat, method, split, "--task", task)
        rename_split(store, cheat)
    return folder


def rename_split(store: Store, name: str) -> None:
    """Let a run say that it was trained on split ``main``."""
    record, path = read_run(store, name, 0), schema.run(name, 0)
    parents = {key: value for key, value in store.document(path).parents.items() if not key.startswith("splits/")}
    parents |= store.parents("splits/main")
    told = {**vars(record), "split": "main", "metrics": {}}
    write_run(store, type(record)(**told), parents=parents, overwrite=True)


def states(audit: Audit) -> dict[str, str]:
    return {check.kind: check.severity for check in audit.checks() if check.where.run}


def told_of(audit: Audit, kind: str) -> str:
    return next(check.told for check in audit.checks() if check.where.run and check.kind == kind)


def test_honest_runs_are_proven(trained: Path):
    store = open_store(trained / "toy.zarr")
    assert states(audit_store(store, run="linear", deep=True)) == {
        "split": "ok",
        "training": "not recorded",
        "genes": "ok",
        "scaler": "ok",
        "tiles": "ok",
        "labels": "ok",
        "predictions": "ok",
        "encoder": "not recorded",
        "stale": "ok",
    }
    quick = states(audit_run(store, "abmil"))
    assert quick["tiles"] == "not checked"
    assert quick["labels"] == "ok"


@pytest.mark.parametrize(
    ("run", "kind", "who"),
    [
        ("test-scaler", "scaler", "fitted on training and test patients"),
        ("test-scaler", "tiles", "fitted on training and test patients"),
        ("test-scaler", "labels", "fitted on training and test patients"),
        ("validation-scaler", "scaler", "fitted on training and validation patients"),
        ("validation-scaler", "tiles", "fitted on training and validation patients"),
        ("test-bins", "labels", "fitted on training and test patients"),
    ],
)
def test_a_scaler_or_bins_fitted_outside_training_leak(trained: Path, run: str, kind: str, who: str, capsys):
    words = ["audit", "--store", str(trained / "toy.zarr"), "--run", run, "--deep", "--json"]
    assert call(evaluate, words) == 3
    found = json.loads(capsys.readouterr().out)["findings"]
    leak = next(one for one in found if one["kind"] == kind and one["severity"] == "leak")
    assert who in leak["what"]
    assert leak["where"] == {"run": run, "split": "main", "fold": 0}


def test_the_same_folds_written_again_are_no_leak_where_the_scaler_proves_it(trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "own")
    store = open_store(tmp_path / "own/toy.zarr")
    folds = (Fold(TRAIN, VALIDATION, TEST), Fold(tuple(sorted(VALIDATION + TEST)), TRAIN[:8], TRAIN[8:]))
    write_split(store, Split("main", folds, seed=7), overwrite=True)
    again = audit_run(store, "linear")
    assert again.clean
    assert states(again)["split"] == "warning"
    assert not audit_run(store, "abmil").clean  # reads no expression: nothing proves it
    moved = (Fold(tuple(sorted(TRAIN[1:] + TEST[:1])), VALIDATION, tuple(sorted(TEST[1:] + TRAIN[:1]))), folds[1])
    write_split(store, Split("main", moved, seed=8), overwrite=True)
    other = audit_run(store, "linear")
    assert states(other)["split"] == "leak"
    assert states(other)["scaler"] == "warning"


def test_a_damaged_or_foreign_checkpoint_proves_nothing(trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "own")
    store, folder = open_store(tmp_path / "own/toy.zarr"), tmp_path / "own/toy.runs/linear/fold_0"
    weights = next(folder.glob("weights-*.safetensors"))
    whole = weights.read_bytes()
    for damaged in (b"", whole[:6], whole[:200], b"\xff" * 300):
        weights.write_bytes(damaged)
        audit = audit_run(store, "linear")
        assert states(audit)["scaler"] == "not checked"
        assert "CORRUPT_CHECKPOINT" in told_of(audit, "scaler")
    weights.write_bytes(whole[:-4] + b"\0\0\0\1")
    assert states(audit_store(store, run="linear", deep=True))["scaler"] == "not checked"  # its digest is wrong
    (folder / "model.json").write_bytes((folder.parents[1] / "abmil/fold_0/model.json").read_bytes())
    shutil.copy(next((folder.parents[1] / "abmil/fold_0").glob("weights-*")), folder)
    assert "not the one" in told_of(audit_run(store, "linear"), "scaler")
    shutil.rmtree(folder)
    assert "not here" in told_of(audit_run(store, "linear"), "scaler")
