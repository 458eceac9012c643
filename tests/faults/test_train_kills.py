"""`mirror-model train` killed anywhere, or with a disk that fails at any call: run again, it ends as it would have."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from mirror_data.store import open_store
from mirror_model.checkpoint import CheckpointFolder

from tests.faults.conftest import Whole
from tests.faults.forked import finish, mirror_model, start
from tests.faults.injection import FAULTS, Call, changing, trace, why_not
from tests.faults.small_training import EPOCHS, fold_folder, require_last_loads, train_words
from tests.faults.traps import at_epoch, signalling


def kill_often(whole: Whole, kills: int, seed: int, folder: Path) -> int:
    """Train copies of the cohort to their end, killing again and again; returns how many were trained."""
    rng, done, trained = random.Random(seed), 0, 0
    while done < kills:
        store = whole.fresh(folder, str(trained))
        while True:
            child = start(train_words(store), folder / "output")
            if done < kills:
                time.sleep(rng.uniform(0, whole.seconds))
                child.kill()
                done += 1
            ended = finish(child)
            assert ended.code in (0, -9), ended.err
            if ended.code == 0:
                break
        whole.require_equal(store)
        trained += 1
        shutil.rmtree(store)
    return trained


def test_killed_at_random_times_it_ends_the_same(whole: Whole, tmp_path: Path) -> None:
    assert kill_often(whole, 6, 7, tmp_path) >= 1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_two_hundred_times_it_ends_the_same(whole: Whole, tmp_path: Path) -> None:
    assert kill_often(whole, 200, 8, tmp_path) >= 10


@pytest.fixture(scope="module")
def nearly_done(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was killed just before its last epoch was logged."""
    store = whole.fresh(tmp_path_factory.mktemp("nearly"))
    fatal = at_epoch(EPOCHS, signalling(signal.SIGKILL))
    ended = mirror_model(train_words(store), store.parent / "output", first=fatal)
    assert ended.code == -signal.SIGKILL
    require_last_loads(fold_folder(store), EPOCHS - 1)
    return store


@pytest.fixture(scope="module")
def calls(nearly_done: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Every call by which the last epoch, its checkpoint and the commit of the run change anything."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("traced")
    store = copied(nearly_done, folder)
    child = start([*train_words(store), "--no-embed"], folder / "output", halted=True)
    tracer = trace(child, folder / "log")
    ended = finish(child)
    assert ended.code == 0, ended.err
    assert tracer.wait(60) == 0
    return changing(folder / "log", child, store, fold_folder(store))


def copied(store: Path, folder: Path) -> Path:
    """A copy of a cohort with its checkpoints."""
    for part in (store, store.with_suffix(".runs")):
        shutil.copytree(part, folder / part.name)
    return folder / store.name


def fail_at(call: Call, fault: str, nearly_done: Path, whole: Whole, folder: Path) -> None:
    """One fault at one call: what it says, what it leaves, and that the next run makes up for it."""
    store = copied(nearly_done, folder)
    child = start([*train_words(store), "--no-embed"], folder / "output", halted=True)
    tracer = trace(child, folder / "log", call, fault)
    ended = finish(child)
    tracer.wait(60)
    what = f"{fault} at {call}: {call.arguments}\n{ended.err}"
    assert "INJECTED" in (folder / "log").read_text() or ended.code == -signal.SIGKILL, what
    if fault == "kill":
        assert ended.code == -signal.SIGKILL, what
    elif ended.code != 0:  # 0: a folder that is there need not be made, a half-written file is gone without us
        assert ended.code == 2, what
        assert "Traceback" not in ended.err, what
        assert str(folder) in ended.err, what
    if open_store(store).has("runs/r/fold_0"):
        assert CheckpointFolder(fold_folder(store)).load("model") is not None, what
    else:
        require_last_loads(fold_folder(store), EPOCHS - 1)
    again = mirror_model(train_words(store), folder / "output")
    assert again.code == 0, f"{what}\n{again.err}"
    whole.require_equal(store)


def test_the_calls_of_a_save_and_a_commit_are_all_seen(calls: list[Call]) -> None:
    assert {"openat", "write", "fsync", "rename", "unlink"} <= {call.name for call in calls}
    changed = " ".join(call.arguments for call in calls)
    for name in ("metrics.jsonl", "weights-", "optimiser-", "last.json", "best.json", "model.json", "zarr.json"):
        assert name in changed


def test_some_calls_of_a_save_fail_or_are_fatal(
    calls: list[Call], nearly_done: Path, whole: Whole, tmp_path: Path
) -> None:
    rng = random.Random(3)
    for number, fault in enumerate(("ENOSPC", "kill", "EIO", "EROFS")):
        third = len(calls) // 3  # of the log and the tensors, the documents, the commit
        call = calls[number % 3 * third + rng.randrange(third)]
        fail_at(call, fault, nearly_done, whole, tmp_path / str(number))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_of_a_save_and_a_commit_fails_or_is_fatal(
    calls: list[Call], fault: str, nearly_done: Path, whole: Whole, tmp_path: Path
) -> None:
    for number, call in enumerate(calls):
        fail_at(call, fault, nearly_done, whole, tmp_path / str(number))
        shutil.rmtree(tmp_path / str(number))
