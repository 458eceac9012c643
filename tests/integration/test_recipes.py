"""What the recipes' own scripts do, beside the commands that they call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mirror_data.store import open_store, read_split

from tests.model.conftest import fill_store

RECIPES = Path(__file__).parents[2] / "recipes"


def call(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, RECIPES / script, *words], capture_output=True, text=True, check=False)


def test_settings_are_chosen_without_a_test_patient(tmp_path: Path) -> None:
    store = fill_store(tmp_path / "toy.zarr")
    done = call("validation_folds.py", store.url, "main")
    assert (done.returncode, done.stderr) == (0, "")
    of, chosen = read_split(store, "main"), read_split(store, "choose")
    assert done.stdout == f"choose: 2 folds of main, tested on {sum(len(f.validation) for f in of.folds)} patients\n"
    for before, after in zip(of.folds, chosen.folds, strict=True):
        assert (after.train, after.validation, after.test) == (before.train, (), before.validation)
        assert not {*after.train, *after.test} & set(before.test)
    assert open_store(store.url).document("splits/choose").parents == {"splits/main": store.hash("splits/main")}


def test_a_split_without_validation_is_refused(tmp_path: Path) -> None:
    store = fill_store(tmp_path / "toy.zarr")
    call("validation_folds.py", store.url, "main")
    again = call("validation_folds.py", store.url, "choose", "third")
    assert again.returncode == 1
    assert again.stderr.startswith("NOT_ESTIMABLE: a fold has no validation part to choose by (splits/choose)")
    assert not store.has("splits/third")
