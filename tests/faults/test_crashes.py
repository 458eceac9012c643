"""A process that dies inside a slide costs that slide; one that is told to stop leaves nothing half done."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.commands import differences, tree
from tests.faults.side_by_side import STUB, Plan, Side, failures


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", ["SIGSEGV", "SIGKILL"])  # a decoder's crash; the kernel's memory killer
def test_a_crash_costs_its_slide(side: Side, slides: Path, tmp_path: Path, whole_batch, workers: int, number: str):
    store = tmp_path / "cohort.zarr"
    words = ["mirror-data", "tile", slides, "--store", store, *STUB, "--workers", workers]
    started = side.start(words, Plan(signals={"S2": number, "S3": number}))
    ended = started.wait()
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    lost = failures(store)
    assert {name: row["code"] for name, row in lost.items()} == {"S2": "CRASHED", "S3": "CRASHED"}
    assert all(number in row["reason"] for row in lost.values())
    assert "3 slides tiled, 0 skipped, 2 failed" in ended.out
    opened = started.opened()
    assert sorted(slide for slide, _ in opened) == [
        "S1",
        "S2",
        "S3",
        "S4",
        "S5",
    ]  # nobody's work was lost and done again
    assert len({process for _, process in opened}) <= workers + 2  # one more process a crash
    left = tree(store)
    assert differences(left, whole_batch) == [
        path for path in sorted(whole_batch) if path.startswith(("slides/S2/", "slides/S3/"))
    ]
    assert side.run(words).code == 0
    assert tree(store) == whole_batch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_batch_told_to_stop(side: Side, slides: Path, tmp_path: Path, whole_batch, number: signal.Signals):
    """As a batch system does it, and as a terminal does it with Ctrl-C, which reaches the workers too."""
    store = tmp_path / "cohort.zarr"
    words = ["mirror-data", "tile", slides, "--store", store, *STUB]
    started = side.start(words, Plan(pause="S2"))
    started.wait_until_inside()
    worker = dict(started.opened())["S2"]
    os.killpg(started.process, number) if number == signal.SIGINT else os.kill(started.process, number)
    ended = started.wait()
    assert ended.code == 75, ended.err
    assert ended.err.count("INTERRUPTED") == 1
    assert "Traceback" not in ended.err
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert {path.split("/")[1] for path in tree(store) if path.startswith("slides/")} == {"S1", "zarr.json"}
    assert side.run(words).code == 0
    assert tree(store) == whole_batch


def test_a_killed_batch_leaves_no_worker_behind(side: Side, slides: Path, tmp_path: Path, whole_batch):
    store = tmp_path / "cohort.zarr"
    words = ["mirror-data", "tile", slides, "--store", store, *STUB, "--workers", 2]
    started = side.start(words, Plan(pause="S2"))
    started.wait_until_inside()
    os.kill(started.process, signal.SIGKILL)
    assert started.wait().code == -signal.SIGKILL
    ended = side.run(words)  # at once
    assert ended.code == 0, ended.err
    assert tree(store) == whole_batch
