"""Commands killed at any moment, or broken at any system call: run again, they leave what an uninterrupted run leaves.

``make test`` breaks each call of one tiny slide, by a kill or by a full disk; ``make test-long`` each call of
five commands in four ways, also where they replace what is there.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import differences, run, start, tree
from tests.faults.forks import Call, Forks, forks, need_strace
from tests.faults.tiny_cohort import TinyCohort, make_cohort
from tests.faults.trials import KILL, Trials

FULL = "error=ENOSPC"
FAULTS = (KILL, FULL, "error=EIO", "error=EROFS")
NEEDS = {  # what must be in the store first
    "tile": (),
    "outcomes": (),
    "expression": (),
    "split": ("outcomes",),
    "genes": ("outcomes", "expression", "split"),
    "bags": (),
}
REPLACING = {  # the same command with another result
    "tile": ("--holes", "fill", "--overwrite"),
    "outcomes": ("--subtypes", "cords", "--overwrite"),
    "expression": ("--gene-suffix", "", "--log2-offset", 1, "--overwrite"),
    "split": ("--seed", 1, "--overwrite"),
    "genes": ("--step", 0.3, "--overwrite"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("forks")) as started:
        yield started


@pytest.fixture
def cohort(tmp_path: Path) -> TinyCohort:
    return make_cohort(tmp_path)


def trials_of(server: Forks, cohort: TinyCohort, command: str, *more: object, replaces: bool = False) -> Trials:
    """Trials of one command of the cohort on a store that holds what it needs, and what it replaces."""
    for name in (*NEEDS[command], *([command] if replaces else [])):
        assert server.warm(getattr(cohort, name)()).code == 0
    before = cohort.store.rename(cohort.folder / "before") if cohort.store.exists() else None
    words = getattr(cohort, command)(*more)
    trials = Trials(server, words, cohort.store, before)
    trials.reset()
    server.warm(words)
    return trials


def all_wrong(trials: Trials, calls: list[Call], effects: tuple[str, ...]) -> list[str]:
    return [text for call in calls for effect in effects for text in trials.broken(call, effect)]


@pytest.mark.timeout(1800)
def test_each_call_of_a_slide_killed_or_on_a_full_disk(server: Forks, cohort: TinyCohort) -> None:
    need_strace()
    trials = trials_of(server, cohort, "tile")
    calls = trials.calls()
    assert len(calls) > 100
    killed = [call for call in calls if call.leaves][::2]
    wrong = all_wrong(trials, killed, (KILL,))
    wrong += all_wrong(trials, [call for call in calls if not call.failed and call not in killed], (FULL,))
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(1800)
def test_old_or_new_while_a_slide_is_replaced(server: Forks, cohort: TinyCohort) -> None:
    """Some calls before the exchange, the exchange, and some after it; all of them in test-long."""
    need_strace()
    trials = trials_of(server, cohort, "tile", *REPLACING["tile"], replaces=True)
    calls = [call for call in trials.calls() if call.leaves]
    exchange = next(number for number, call in enumerate(calls) if call.name == "renameat2")
    some = [*calls[5:exchange:25], *calls[exchange : exchange + 2], calls[exchange + 9], calls[-1]]
    wrong = all_wrong(trials, some, (KILL, FULL))
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(1800)
def test_twenty_kills_at_random_moments(server: Forks, cohort: TinyCohort) -> None:
    wrong = kill_often(trials_of(server, cohort, "tile"), 20)
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("command", ["tile", "outcomes", "expression", "split", "genes"])
@pytest.mark.parametrize("replaces", [False, True])
def test_each_call_of_a_command_in_four_ways(server: Forks, cohort: TinyCohort, command: str, replaces: bool) -> None:
    need_strace()
    more = REPLACING[command] if replaces else ()
    trials = trials_of(server, cohort, command, *more, replaces=replaces)
    calls = trials.calls()
    assert len(calls) > 50
    wrong = all_wrong(trials, calls, FAULTS)
    print(f"{command}{' --overwrite' if replaces else ''}: {len(calls)} calls, {len(trials.states)} states")
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("command", ["tile", "expression", "genes", "bags"])
def test_two_hundred_kills_at_random_moments(server: Forks, cohort: TinyCohort, command: str) -> None:
    trials = trials_of(server, cohort, command)
    wrong = kill_often(trials, 200)
    print(f"{command}: 200 kills, {len(trials.states)} states")
    assert not wrong, "\n".join(wrong)


def kill_often(trials: Trials, times: int) -> list[str]:
    """Kills spread over the length of a run, of which a second one is measured: the first had modules to import."""
    trials.reset()
    length = trials.forks.run(trials.words).seconds
    moments = random.Random(7)
    return [text for _ in range(times) for text in trials.killed(moments.uniform(0, length))]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_processes_of_their_own_and_their_workers_killed(tmp_path: Path) -> None:
    """The command as a user starts it, with two workers, each of which must end with it."""
    folder = tmp_path / "slides"
    folder.mkdir()
    slides = make_cohort(folder, slides=3).slides
    words = ["mirror-data", "tile", *slides, "--tile-px", 64, "--min-tissue", 0, "--workers", 2, "--store"]
    clean, store = tmp_path / "clean.zarr", tmp_path / "cohort.zarr"
    whole = run([*words, clean], limit=600)
    assert whole.code == 0, whole.err
    moments = random.Random(3)
    for _ in range(5):
        shutil.rmtree(store, ignore_errors=True)
        process = start([*words, store])
        time.sleep(moments.uniform(0.3, 1) * whole.seconds)
        process.kill()
        process.communicate()  # its pipes close when the last worker has ended
        again = run([*words, store], limit=600)
        assert again.code == 0, again.err
        assert differences(tree(store), tree(clean)) == []
