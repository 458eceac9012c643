"""Two processes that train together with gloo, one of which is killed or stopped in the middle of a save.

Beside tests/model/test_processes.py, where a process is lost between two steps.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.commands import Ended
from tests.faults.conftest import Whole
from tests.faults.forked import Child, finish, start, until_stopped
from tests.faults.small_training import Left, fold_folder, left_by, require_last_loads, train_words
from tests.faults.traps import Act, at_sync, signalling

pytestmark = pytest.mark.long

IN_A_SAVE = 20  # which sync of the checkpoint folder it is, some epochs from the start
LOST = 75


@dataclass(frozen=True)
class Pair:
    """Both processes of a training; rank 0 writes."""

    ranks: tuple[Child, Child]

    def end(self) -> tuple[Ended, Ended]:
        one, two = (finish(child) for child in self.ranks)
        return one, two


def start_pair(store: Path, folder: Path, trap: Callable[[int], Act] | None = None) -> Pair:
    """Start two processes as torchrun does.

    Args:
        trap: from the process id of rank 1 to what rank 0 does before its command.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    words = train_words(store)
    second = start(words, folder, environment={**shared, "RANK": "1", "LOCAL_RANK": "1"})
    options = {} if trap is None else {"first": trap(second.pid)}
    first = start(words, folder, environment={**shared, "RANK": "0", "LOCAL_RANK": "0"}, **options)
    return Pair((first, second))


@pytest.fixture(scope="module")
def together(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """What two processes leave that nothing befell."""
    folder = tmp_path_factory.mktemp("together")
    store = whole.fresh(folder)
    for ended in start_pair(store, folder).end():
        assert ended.code == 0, ended.err
    return left_by(store)


def require_lost(ended: Ended) -> None:
    assert (ended.code, "PROCESS_LOST" in ended.err, "Traceback" in ended.err) == (LOST, True, False), ended.err


def lose(rank: int, number: signal.Signals, together: Left, whole: Whole, folder: Path) -> None:
    """A process is lost while rank 0 saves: the other one says so in time, and what was saved goes on."""
    store = whole.fresh(folder)

    def trap(second: int) -> Act:
        return at_sync(fold_folder(store), IN_A_SAVE, signalling(number, second if rank == 1 else None))

    pair = start_pair(store, folder, trap=trap)
    lost, other = pair.ranks[rank], pair.ranks[1 - rank]
    if number == signal.SIGSTOP:
        until_stopped(lost)
    else:
        assert finish(lost).code == -number
    gone = time.monotonic()
    require_lost(finish(other))
    assert time.monotonic() - gone < 60
    if number == signal.SIGSTOP:
        lost.kill(signal.SIGCONT)  # it comes back to a training that is over
        require_lost(finish(lost))
    require_last_loads(fold_folder(store), 1)
    for again in start_pair(store, folder).end():
        assert again.code == 0, again.err
    assert left_by(store) == together


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_killed_during_a_save(rank: int, together: Left, whole: Whole, tmp_path: Path) -> None:
    lose(rank, signal.SIGKILL, together, whole, tmp_path)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_stopped_during_a_save(rank: int, together: Left, whole: Whole, tmp_path: Path) -> None:
    lose(rank, signal.SIGSTOP, together, whole, tmp_path)


def test_one_asked_to_stop_during_a_save_stops_both(together: Left, whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    trap = at_sync(fold_folder(store), IN_A_SAVE, signalling(signal.SIGTERM))
    for ended in start_pair(store, tmp_path, trap=lambda _: trap).end():
        assert ended.code == 75, ended.err
        assert "INTERRUPTED" in ended.err
    require_last_loads(fold_folder(store), 1)
    for ended in start_pair(store, tmp_path).end():
        assert ended.code == 0, ended.err
    assert left_by(store) == together


def test_a_pair_beside_another_training_of_the_run_is_refused(whole: Whole, tmp_path: Path) -> None:
    store = whole.fresh(tmp_path)
    stop = at_sync(fold_folder(store), IN_A_SAVE, signalling(signal.SIGSTOP))
    alone = start(train_words(store), tmp_path, first=stop)
    until_stopped(alone)
    first, second = start_pair(store, tmp_path).end()
    assert (first.code, "BUSY" in first.err) == (4, True), first.err
    assert (second.code, "PROCESS_LOST" in second.err) == (LOST, True), second.err
    alone.kill(signal.SIGCONT)
    assert finish(alone).code == 0
    whole.require_equal(store)
