"""Bad input, case by case: each ends with its exit status and code, says what to do, and leaves nothing half done.

The cases stand in ``corpus``. Every row runs the real command on real files, in this process, since most of a command's
time is its imports. Its seconds are CPU seconds: the promise is about our work, not about what else the machine does.
"""

from __future__ import annotations

import csv
import importlib
import json
import time
from pathlib import Path

import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli as data
from mirror_data.ids import to_key
from mirror_data.slides import batch
from mirror_data.store import check, open_store, read_tiling
from mirror_data.workers import Here
from mirror_eval.cli.main import cli as evaluate
from mirror_model.cli.main import cli as model

from tests.faults.commands import differences, tree
from tests.faults.corpus import clinical, evaluation, expression, options, slides, stores
from tests.faults.corpus.cases import SLIDE_SECONDS, Bench, Case
from tests.model.conftest import SMALL, fill_store

CASES = (*slides.CASES, *expression.CASES, *clinical.CASES, *stores.CASES, *options.CASES, *evaluation.CASES)
PROGRAMS = {"mirror-data": data, "mirror-model": model, "mirror-eval": evaluate}
HEAVY = (  # imported before the clock runs
    *("mirror_data.cohort.add", "mirror_data.rna.add", "mirror_data.slides.batch", "mirror_data.rna.selection_run"),
    *("mirror_model.folds", "mirror_model.attribution", "mirror_model.embed", "timm", "openslide", "tifffile"),
    *("mirror_eval.compare", "mirror_eval.survival", "mirror_eval.subtype", "mirror_eval.leakage"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cohort with a trained and embedded run."""
    folder = tmp_path_factory.mktemp("trained")
    store = fill_store(folder / "toy.zarr")
    sets = [word for setting in (*SMALL, "epochs=1") for word in ("--set", setting)]
    how = ["--run", "r", "--split", "main", "--fold", "0", "--genes", "top"]
    assert run(model, ["train", "--store", store.url, *how, *sets]) == 0
    return folder


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    for name in HEAVY:
        importlib.import_module(name)


@pytest.fixture
def bench(tmp_path: Path, trained: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    csv.field_size_limit(131072)  # Python's own; importing scipy.io.arff changes it
    monkeypatch.setattr(batch, "choose_hands", lambda _url, _count: Here())  # a worker of its own loads all anew
    return Bench(tmp_path, weights, trained)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id.replace("\0", "NUL"))
def test_bad_input(case: Case, bench: Bench, capsys: pytest.CaptureFixture[str]):
    program, *words = (str(word) for word in case.words(bench))
    before = tree(bench.folder)
    capsys.readouterr()
    began = time.process_time()
    with case.around(bench):
        status = run(PROGRAMS[program], words)
    seconds = time.process_time() - began
    out, err = capsys.readouterr()
    assert status == case.exit, err
    assert "Traceback" not in out + err
    assert "TCGA-AA" not in err  # no patient is named
    if case.code:
        lines = [line for line in (out + err).splitlines() if case.code in line.replace(":", " ").split()]
        assert lines, err
    missing = [word for word in case.told if word not in out + err]
    assert not missing, err
    assert seconds < case.seconds
    changed = differences(before, tree(bench.folder))
    if status == 2 or "check" in words:
        assert changed == []
    else:
        assert all(path.startswith(f"{bench.store.name}/") for path in changed)
        assert not bench.store.exists() or check(open_store(bench.store)).findings == ()


def test_the_table_has_no_case_twice():
    names = [case.id for case in CASES]
    assert len(names) == len(set(names)) > 200


def test_a_batch_goes_on_without_its_bad_slides(bench: Bench):
    folder = bench.folder / "slides"
    folder.mkdir()
    for file in slides.FILES:
        file.make(folder)
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    began = time.process_time()
    assert run(data, [str(word) for word in bench.tile("--tile-px", "128")[1:]]) == 3
    assert time.process_time() - began < SLIDE_SECONDS * len(slides.FILES)
    rows = [json.loads(line) for line in (bench.store / ".mirror" / "failures.jsonl").read_text().splitlines()]
    assert {row["id"]: row["code"] for row in rows} == {file.id: file.code for file in slides.FILES if file.code}
    assert all(row["reason"] and row["next_step"] for row in rows)
    store = open_store(bench.store)
    tiles = {file.id: read_tiling(store, file.id, "128px_0.5mpp").rows for file in slides.FILES if not file.code}
    assert tiles["good"] == tiles["comma"] == tiles["Zürich Ω"] == tiles["turn"] > 9
    assert tiles["glass"] == 0
    assert set(store.keys("slides")) == {to_key(name) for name in tiles}
    assert check(store).findings == ()
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
