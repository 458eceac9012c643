"""A training that is stopped, whose disk fills, whose data are damaged under it, or that is started twice."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import captum.attr  # noqa: F401 - so that the children of `attribute` need not import it each
import numpy as np
import pytest
from mirror_data.store import Features, open_store, read_features, write_features
from mirror_model.checkpoint import CheckpointFolder

from tests.faults.commands import Ended, tree
from tests.faults.conftest import Whole
from tests.faults.disks import small_disk
from tests.faults.forked import finish, mirror_model, start, until_stopped
from tests.faults.small_training import fold_folder, require_last_loads, train_words
from tests.faults.traps import Act, at_epoch, at_sync, before, clock_that_jumps_back, signalling

pytestmark = pytest.mark.long

IN_A_SAVE = 20  # which sync of the checkpoint folder it is, some epochs from the start
FEATURES = "slides/P2-0/tilings/grid/features/toy"


def require_told(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_in_the_middle_of_a_save(number: signal.Signals, whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    folder = fold_folder(store)
    ended = mirror_model(train_words(store), tmp_path, first=at_sync(folder, IN_A_SAVE, signalling(number)))
    if number == signal.SIGKILL:
        assert ended.code == -signal.SIGKILL
    else:
        require_told(ended, 75, "INTERRUPTED", "run the same command again")
    require_last_loads(folder, 1)
    assert mirror_model(train_words(store), tmp_path).code == 0
    whole.require_equal(store)


def test_killed_before_its_first_checkpoint(whole: Whole, tmp_path: Path) -> None:
    """Its log has a line by then, which is not to stand there twice."""
    store = whole.fresh(tmp_path)
    folder = fold_folder(store)
    fatal = at_sync(folder, 3, signalling(signal.SIGKILL))
    assert mirror_model(train_words(store), tmp_path, first=fatal).code == -signal.SIGKILL
    assert (folder / "metrics.jsonl").read_text().count("\n") == 1
    assert not (folder / "last.json").exists()
    assert mirror_model(train_words(store), tmp_path).code == 0
    whole.require_equal(store)


def test_killed_between_the_commit_and_the_end(whole: Whole, tmp_path: Path) -> None:
    """What only a training that is not done needs is not to lie there for ever."""
    store = whole.fresh(tmp_path)
    fatal = before(CheckpointFolder, "drop", signalling(signal.SIGKILL))
    assert mirror_model(train_words(store), tmp_path, first=fatal).code == -signal.SIGKILL
    assert open_store(store).has("runs/r/fold_0")
    assert (fold_folder(store) / "last.json").exists()
    assert mirror_model(train_words(store), tmp_path).code == 0
    whole.require_equal(store)


def test_a_disk_that_fills_in_the_middle_of_a_save(whole: Whole, tmp_path: Path) -> None:
    with small_disk() as disk:
        store, folder = whole.fresh(tmp_path), disk.path / "r" / "fold_0"
        words = [*train_words(store), "--checkpoints", disk.path]
        fill = partial(disk.leave, 0)
        ended = mirror_model(words, tmp_path, first=at_sync(folder, IN_A_SAVE, fill))
        require_told(ended, 2, "DISK_FULL", f"{folder}/", "free some space")
        assert not list(folder.glob("*.new"))
        require_last_loads(folder, 1)
        require_told(mirror_model(words, tmp_path), 2, "DISK_FULL", f"{folder}/")  # still full
        require_last_loads(folder, 1)
        disk.ballast.unlink()
        disk.remount("ro")
        require_told(mirror_model(words, tmp_path), 2, "READ_ONLY", f"{folder}/", "--checkpoints")
        require_last_loads(folder, 1)
        disk.remount("rw")
        assert mirror_model(words, tmp_path).code == 0
        whole.require_equal(store, disk.path)


def test_a_file_that_may_not_grow(whole: Whole, tmp_path: Path) -> None:
    """Where nothing can be mounted: a limit on the size of files does to the optimiser's what a full disk does."""
    store = whole.fresh(tmp_path)
    folder = fold_folder(store)
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    ended = mirror_model(train_words(store), tmp_path, first=at_epoch(2, small))
    require_told(ended, 2, "DISK_FULL", str(folder))
    require_last_loads(folder, 1)
    assert mirror_model(train_words(store), tmp_path).code == 0
    whole.require_equal(store)


def flip(file: Path) -> Act:
    def act() -> None:
        data = bytearray(file.read_bytes())
        data[len(data) // 3] ^= 1
        file.write_bytes(data)

    return act


def damages(store: Path) -> dict[str, tuple[Act, tuple[str, ...]]]:
    """What is done to a slide's features, and what has to be told."""
    chunk = next(path for path in (store / FEATURES / "features").rglob("*") if path.is_file() and "c" in path.parts)
    document = store / FEATURES / "zarr.json"
    return {
        "flipped": (flip(chunk), ("CORRUPT_STORE", str(store), FEATURES)),
        "deleted": (document.unlink, ("INCOMPLETE", str(store), FEATURES)),
        "chunk gone": (chunk.unlink, ("CORRUPT_STORE", str(store), FEATURES)),
    }


@pytest.mark.parametrize("damage", ["flipped", "deleted", "chunk gone"])
def test_a_store_damaged_under_a_training(damage: str, whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    act, words = damages(store)[damage]
    uncached = train_words(store, "runtime.cache_gb=0")
    require_told(mirror_model(uncached, tmp_path, first=at_epoch(2, act)), 2, *words)
    require_last_loads(fold_folder(store), 1)
    require_told(mirror_model(uncached, tmp_path), 2)
    mend(store, whole)
    assert mirror_model(uncached, tmp_path).code == 0
    assert tree(fold_folder(store)).keys() == tree(fold_folder(whole.trained)).keys()


def mend(store: Path, whole: Whole) -> None:
    """Put the features back as they were."""
    for path in (whole.cohort / FEATURES).rglob("*"):
        if path.is_file():
            (store / path.relative_to(whole.cohort)).write_bytes(path.read_bytes())


def test_data_replaced_under_a_training_are_not_committed_as_one(whole: Whole, tmp_path: Path) -> None:
    """All features were in memory by then; what was trained on is no longer what the store holds."""
    store = whole.fresh(tmp_path)

    def replace() -> None:
        opened = open_store(store)
        old = read_features(opened, "P2-0", "grid", "toy")
        write_features(opened, Features("P2-0", "grid", "toy", -old.values), overwrite=True)

    ended = mirror_model(train_words(store), tmp_path, first=at_epoch(3, replace))
    require_told(ended, 2, "MISMATCH", "changed while it was trained on", "slides/*/tilings/grid/features/toy")
    assert not open_store(store).has("runs/r/fold_0")
    require_told(mirror_model(train_words(store), tmp_path), 2, "MISMATCH", "--overwrite")
    assert mirror_model([*train_words(store), "--overwrite"], tmp_path).code == 0
    assert not np.array_equal(*(read_features(open_store(one), "P2-0", "grid", "toy").values[:1] for one in
                                (store, whole.cohort)))  # fmt: skip


@pytest.mark.parametrize("same", ["store", "checkpoints"])
def test_the_same_training_twice_at_once(same: str, whole: Whole, tmp_path: Path) -> None:
    one = whole.fresh(tmp_path, "one")
    two = one if same == "store" else whole.fresh(tmp_path, "two")
    checkpoints = tmp_path / "checkpoints"
    folder, more = checkpoints / "r" / "fold_0", ["--checkpoints", checkpoints]
    stop = at_sync(folder, IN_A_SAVE, signalling(signal.SIGSTOP))
    first = start([*train_words(one), *more], tmp_path, first=stop)
    until_stopped(first)
    there = tree(folder)
    second = mirror_model([*train_words(two), *more], tmp_path)
    require_told(second, 4, "BUSY", str(one) if same == "store" else str(folder), "let it finish")
    assert tree(folder) == there
    first.kill(signal.SIGCONT)
    assert finish(first).code == 0
    whole.require_equal(one, checkpoints)


def test_a_clock_that_jumps_back(whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    ended = mirror_model(train_words(store), tmp_path, first=clock_that_jumps_back)
    assert ended.code == 0, ended.err
    whole.require_equal(store)


@pytest.mark.parametrize("name", ["last.json", "best.json", "weights", "optimiser", "metrics.jsonl"])
def test_a_damaged_checkpoint_is_named_and_overwrite_helps(name: str, whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    folder = fold_folder(store)
    assert mirror_model(train_words(store), tmp_path, first=at_epoch(3, signalling(signal.SIGKILL))).code == -9
    file = sorted(folder.glob(f"{name}*"))[-1]
    file.write_text("{\n" if name == "metrics.jsonl" else "{")
    require_told(mirror_model(train_words(store), tmp_path), 2, file.name, "--overwrite")
    assert mirror_model([*train_words(store), "--overwrite"], tmp_path).code == 0
    whole.require_equal(store)


def killed_and_run_again(words: list[object], act: Callable[[int], Act], folder: Path, kills: int) -> None:
    for number in range(kills):
        assert mirror_model(words, folder, first=act(number)).code == -signal.SIGKILL
    ended = mirror_model(words, folder)
    assert ended.code == 0, ended.err


def test_embed_killed_and_run_again(whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    assert mirror_model([*train_words(store), "--no-embed"], tmp_path).code == 0
    words = ["embed", "--store", store, "--run", "r", "--attention"]
    run = store / "runs"
    killed_and_run_again(words, lambda n: at_sync(run, 12 + 29 * n, signalling(signal.SIGKILL)), tmp_path, 2)
    whole.require_equal(store)


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_attribute_killed_and_run_again(whole: Whole, tmp_path: Path) -> None:
    out, expected = tmp_path / "tables" / "out.csv", tmp_path / "expected.csv"
    out.parent.mkdir()
    words = ["attribute", "--store", whole.trained, "--run", "r", "--steps", "4", "--out"]
    assert mirror_model([*words, expected], tmp_path).code == 0
    killed_and_run_again([*words, out], lambda _: at_sync(out.parent, 1, signalling(signal.SIGKILL)), tmp_path, 1)
    assert out.read_bytes() == expected.read_bytes()
    out.write_text("before")
    full = mirror_model([*words, out], tmp_path, first=at_sync(out.parent, 1, no_space))
    require_told(full, 2, "UNWRITABLE", str(out))
    assert out.read_text() == "before"
    assert sorted(path.suffix for path in out.parent.iterdir()) == [".csv", ".new"]  # the killed one's


def test_progress_that_nobody_reads_stops_no_training(whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)

    def hang_up() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 2)

    assert mirror_model(train_words(store), tmp_path, first=hang_up).code == 0
    whole.require_equal(store)
