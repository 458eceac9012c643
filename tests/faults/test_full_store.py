"""A store whose disk fills up: what is committed stays, the error says which disk, with room again the work ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cohort import demo_tables

from tests.faults.commands import tree
from tests.faults.disks import Disk, small_disk
from tests.faults.side_by_side import STUB, Side


@pytest.fixture(scope="module")
def inputs(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """Commands that write to a store, by what they bring into it."""
    folder = tmp_path_factory.mktemp("tables")
    plan = demo_tables.make_plan(24, 0)
    demo_tables.expression_table(plan, 0).iloc[:200].to_csv(folder / "expression.tsv", sep="\t")
    demo_tables.clinical_table(plan).to_csv(folder / "clinical.csv")
    features = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    ids, offsets = np.array([f"DEMO-{k:03d}" for k in range(1, 6)]), np.arange(0, 1001, 200)
    np.savez(folder / "bags.npz", feats=features, offsets=offsets, slide_ids=ids)
    return {
        "slides": ["mirror-data", "tile", slides, *STUB],
        "expression": ["mirror-data", "expression", folder / "expression.tsv", "--patients", "all"],
        "outcomes": ["mirror-data", "outcomes", folder / "clinical.csv", "--patients", "all"],
        "bags": ["mirror-data", "import", "bags", folder / "bags.npz", "--tiling", "t", "--encoder", "e"],
    }


@pytest.mark.parametrize("what", ["slides", "expression", "outcomes", "bags"])
def test_a_disk_that_fills_up(side: Side, inputs, tmp_path: Path, what: str):
    assert side.run([*inputs[what], "--store", tmp_path / "whole.zarr"]).code == 0
    whole = tree(tmp_path / "whole.zarr")
    with small_disk() as disk:
        words = [*inputs[what], "--store", disk.path / "cohort.zarr"]
        empty = disk.free
        assert side.run(words).code == 0
        needed = empty - disk.free
        for share in (0.5, 0.9):
            shutil.rmtree(disk.path / "cohort.zarr")
            disk.leave(int(share * needed))
            fill_up(side, words, disk)
            disk.ballast.unlink()
            ended = side.run(words)
            assert ended.code == 0, ended.err
            assert tree(disk.path / "cohort.zarr") == whole
            assert not (disk.path / "cohort.zarr/.mirror/failures.jsonl").exists()


def fill_up(side: Side, words: list[object], disk: Disk) -> None:
    """Run out of disk, and see that this is said and nothing is lost."""
    ended = side.run(words)
    assert ended.code in (2, 3), ended.err
    assert "DISK_FULL" in ended.err
    assert str(disk.path / "cohort.zarr") in ended.err
    assert "free some space" in ended.err
    assert "Traceback" not in ended.err + ended.out
    checked = side.run(["mirror-data", "check", "--store", disk.path / "cohort.zarr", "--json"])
    told = json.loads(checked.out)
    assert {finding["code"] for finding in told["findings"]} <= {"STRAY"}  # of what was never committed
