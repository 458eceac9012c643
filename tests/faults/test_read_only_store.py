"""A store that cannot be written to: who only reads goes on working, who writes says so at once and names the place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cohort import demo_tables
from mirror_data.store import Store

from tests.data.slides.sheet_store import add_slide
from tests.eval.conftest import planted_store
from tests.faults.commands import run, tree
from tests.faults.disks import small_disk
from tests.faults.side_by_side import STUB, Plan, Side


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that has something for every command that reads."""
    store = planted_store(tmp_path_factory.mktemp("full") / "cohort.zarr")
    add_slide(store, "S1", 0.5)
    return store


@pytest.fixture(params=["read-only disk", "no permission"])
def locked(request: pytest.FixtureRequest, full_store: Store, tmp_path: Path) -> Iterator[tuple[Path, Path, Plan]]:
    """A store that the commands of the plan cannot write to, and a folder that they can."""
    out = tmp_path / "out"
    out.mkdir()
    with small_disk("64m") as disk:
        store = disk.path / "cohort.zarr"
        shutil.copytree(full_store.url, store)
        shutil.rmtree(store / ".mirror")  # locks, for the want of which nothing must fail
        if request.param == "read-only disk":
            disk.remount("ro")
        else:
            for path in (store, *store.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
        yield store, out, Plan(mortal=request.param == "no permission")


def test_reading_goes_on(side: Side, locked: tuple[Path, Path, Plan]):
    store, out, plan = locked
    before = tree(store)
    at = ["--store", store]
    for words in (
        ["mirror-data", "info", *at],
        ["mirror-data", "check", *at],
        ["mirror-data", "contact-sheet", *at, "--out", out / "sheet.html"],
        ["mirror-data", "geojson", *at, "--out", out / "drawn"],
        ["mirror-eval", "subtype", *at, "--run", "planted", "--resamples", 20, "--out", out / "subtype.csv"],
        ["mirror-eval", "cindex", *at, "--run", "planted", "--resamples", 20, "--out", out / "cindex.csv"],
        ["mirror-eval", "audit", *at, "--out", out / "audit.csv"],
    ):
        ended = side.run(words, plan)
        assert ended.code == 0 or (words[1], ended.code) == ("audit", 3), f"{words[:2]}: {ended.err}"
        assert "Traceback" not in ended.err
    assert len(list(out.iterdir())) == 5
    assert tree(store) == before


@pytest.mark.long
def test_a_report_of_a_read_only_store(side: Side, locked: tuple[Path, Path, Plan]):
    store, out, plan = locked
    words = ["mirror-eval", "report", "--store", store, "--run", "planted", "--resamples", 20]
    ended = side.run([*words, "--out", out / "report.html"], plan)
    assert ended.code == 0, ended.err


def test_writing_is_refused(side: Side, locked: tuple[Path, Path, Plan], slides: Path):
    store, out, plan = locked
    before = tree(store)
    at = ["--store", store]
    table = demo_tables.make_plan(24, 0)
    demo_tables.clinical_table(table).to_csv(out / "clinical.csv")
    demo_tables.expression_table(table, 0).iloc[:30].to_csv(out / "expression.tsv", sep="\t")
    arrays = {"feats": np.ones((2, 3), np.float32), "offsets": np.array([0, 2]), "slide_ids": np.array(["B1"])}
    np.savez(out / "bags.npz", **arrays)
    shutil.copytree(slides, out / "slides")
    for words in (
        ["mirror-data", "tile", out / "slides", *at, *STUB],
        ["mirror-data", "expression", out / "expression.tsv", *at, "--patients", "all"],
        ["mirror-data", "outcomes", out / "clinical.csv", *at, "--patients", "all", "--overwrite"],
        ["mirror-data", "split", *at, "--name", "other"],
        ["mirror-data", "genes", *at, "--split", "four"],
        ["mirror-data", "import", "bags", out / "bags.npz", *at, "--tiling", "t", "--encoder", "e"],
    ):
        ended = side.run(words, plan)
        assert ended.code == 2, f"{words[:2]}: {ended.code} {ended.err}"
        assert ended.err.startswith("READ_ONLY: "), ended.err
        assert str(store) in ended.err
        assert "Traceback" not in ended.err
        assert ended.seconds < 20  # it does not compute first
    assert tree(store) == before


@pytest.mark.long
def test_embedding_is_refused(locked: tuple[Path, Path, Plan]):
    store, _, plan = locked
    if plan.mortal:
        pytest.skip("a command of its own has the leave of the tests")
    ended = run(["mirror-model", "embed", "--store", store, "--run", "planted"], limit=250)
    assert ended.code == 2, ended.err
    assert ended.err.startswith("READ_ONLY: ")
    assert str(store) in ended.err
