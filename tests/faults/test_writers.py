"""Several writers on one store: each slide is written once and nothing is mixed, though one be stopped or killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from mirror_data.cohort import demo_tables

from tests.faults.commands import Ended, run, start, tree
from tests.faults.side_by_side import STUB, Plan, Side


def tile(slides: Path, store: Path, *more: object) -> list[object]:
    return ["mirror-data", "tile", slides, "--store", store, *STUB, *more]


def require_shared_out(ended: list[Ended]) -> None:
    """Every slide was tiled by one of the commands; the others found it there, or busy."""
    told = [json.loads(one.out) for one in ended]
    done = sorted(slide["slide_id"] for one in told for slide in one["slides"] if not slide["skipped"])
    assert done == ["S1", "S2", "S3", "S4", "S5"]
    for one, report in zip(ended, told, strict=True):
        assert {failure["code"] for failure in report["failures"]} <= {"BUSY"}
        assert one.code == (4 if report["failures"] else 0)
        assert "Traceback" not in one.err


def test_two_batches_of_the_same_slides(side: Side, slides: Path, tmp_path: Path, whole_batch):
    store = tmp_path / "cohort.zarr"
    both = [side.start(tile(slides, store, "--json", "--workers", workers)) for workers in (1, 2)]
    require_shared_out([one.wait() for one in both])
    assert side.run(tile(slides, store)).code == 0
    assert tree(store) == whole_batch


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_eight_batches_of_real_commands(slides: Path, weights: Path, tmp_path: Path):
    """Each a process of its own with a real encoder, started together; twice, for races are matters of luck."""
    encoder = ["--encoder", "timm:test_resnet", "--weights", weights, *STUB[2:], "--json"]
    words = ["mirror-data", "tile", slides, *encoder, "--store"]
    alone = run([*words, tmp_path / "alone.zarr"], limit=250)
    assert alone.code == 0, alone.err
    for attempt in range(2):
        store = tmp_path / f"{attempt}.zarr"
        processes = [start([*words, store]) for _ in range(8)]
        ended = [Ended(process.wait(), *_rest(process), 0.0) for process in processes]
        require_shared_out(ended)
        assert run([*words, store], limit=250).code == 0
        assert tree(store) == tree(tmp_path / "alone.zarr")


def _rest(process) -> tuple[str, str]:
    out, err = process.communicate()
    return out, err


@pytest.mark.parametrize("writers", [2, pytest.param(8, marks=pytest.mark.long)])
def test_tables_brought_in_twice_at_once(side: Side, tmp_path: Path, writers: int):
    plan = demo_tables.make_plan(24, 0)
    demo_tables.expression_table(plan, 0).iloc[:60].to_csv(tmp_path / "expression.tsv", sep="\t")
    demo_tables.clinical_table(plan).to_csv(tmp_path / "clinical.csv")
    commands = [
        ["mirror-data", "expression", tmp_path / "expression.tsv", "--patients", "all", "--store"],
        ["mirror-data", "outcomes", tmp_path / "clinical.csv", "--patients", "all", "--store"],
    ]
    for words in commands:
        assert side.run([*words, tmp_path / "alone.zarr"]).code == 0
    store = tmp_path / "many.zarr"
    started = [side.start([*words, store]) for _ in range(writers) for words in commands]
    for ended in [one.wait() for one in started]:
        assert ended.code in (0, 4), ended.err
        assert ("BUSY" in ended.err) == (ended.code == 4)
    for words in commands:
        assert side.run([*words, store]).code == 0
    assert tree(store) == tree(tmp_path / "alone.zarr")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_writer_that_is_stopped_holds_up_its_slide_alone(
    side: Side, slides: Path, tmp_path: Path, whole_batch, workers: int
):
    store = tmp_path / "cohort.zarr"
    words = tile(slides, store, "--workers", workers, "--json")
    stopped = side.start(words, Plan(pause="S1"))
    stopped.wait_until_inside()
    os.killpg(stopped.process, signal.SIGSTOP)
    other = side.run(words)  # would hang here if it waited
    assert other.code == 4, other.err
    busy = json.loads(other.out)["failures"]
    assert "S1" in {row["id"] for row in busy}
    assert {row["code"] for row in busy} == {"BUSY"}
    assert len(busy) <= workers  # what the stopped one has in its hands
    assert not (store / ".mirror/failures.jsonl").exists()  # it has not failed
    os.killpg(stopped.process, signal.SIGCONT)
    stopped.go()
    assert stopped.wait().code == 0
    assert side.run(words).code == 0
    assert tree(store) == whole_batch


@pytest.mark.parametrize("whom", ["all its processes", "the one that was started"])
def test_what_a_killed_writer_held_is_free_at_once(side: Side, slides: Path, tmp_path: Path, whole_batch, whom: str):
    store = tmp_path / "cohort.zarr"
    words = tile(slides, store)
    stopped = side.start(words, Plan(pause="S1"))
    stopped.wait_until_inside()
    os.killpg(stopped.process, signal.SIGSTOP)
    if whom == "all its processes":
        os.killpg(stopped.process, signal.SIGKILL)
    else:
        os.kill(stopped.process, signal.SIGKILL)  # its worker, stopped as it is, must go with it
    ended = side.run(words)
    assert ended.code == 0, ended.err
    assert stopped.wait().code == -signal.SIGKILL
    assert tree(store) == whole_batch
