from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mirror_data.errors import BadInput, Interrupted, StoreError
from mirror_data.runner import Failure, run_threads, run_units
from mirror_data.workers import Here, Workers


def square(number: int) -> int:
    if number == 3:
        raise BadInput("ODD_ONE", "three is not wanted", got=3, hint="leave it out")
    if number == 5:
        raise ZeroDivisionError("five")
    return number * number


def crash_on_two(number: int) -> int:
    if number == 2:
        faulthandler.disable()  # pytest's would tell of it at length
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def tell_twice(number: int, tell: Callable[[int], None]) -> int:
    tell(number)
    tell(number)
    return number


def stop(number: int) -> int:
    raise Interrupted("INTERRUPTED", "stopped")


@pytest.mark.parametrize("workers", [1, 2])
def test_outcomes_come_in_order_and_failures_cost_one_item(workers):
    results = run_units(square, range(7), name=str, workers=workers)
    assert [result.outcome for result in results] == [0, 1, 4, None, 16, None, 36]
    assert results[3].failure == Failure("3", "ODD_ONE", "three is not wanted (got 3)", "leave it out")
    assert results[5].failure is not None
    assert results[5].failure.code == "INTERNAL"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_costs_one_item(workers):
    with Workers(workers) as hands:
        results = run_units(crash_on_two, range(5), name=str, workers=hands)
        assert [result.outcome for result in results] == [0, 1, None, 3, 4]
        assert results[2].failure is not None
        assert results[2].failure.code == "CRASHED"
        assert "SIGSEGV" in results[2].failure.reason
        again = run_units(square, range(3), name=str, workers=hands)  # the same processes go on
    assert [result.outcome for result in again] == [0, 1, 4]


@pytest.mark.parametrize("hands", [Here, lambda: Workers(1), lambda: Workers(2)])
def test_what_units_tell_is_heard(hands):
    heard: list[int] = []
    with hands() as open_hands:
        results = run_units(tell_twice, range(4), name=str, workers=open_hands, told=heard.append)
    assert [result.outcome for result in results] == [0, 1, 2, 3]
    assert sorted(heard) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_a_worker_raises_is_raised_and_the_others_end():
    hands = Workers(2)
    with pytest.raises(Interrupted), hands:
        run_units(stop, range(3), name=str, workers=hands)
    assert not multiprocessing.active_children()


def test_an_interrupt_is_not_a_failure_of_the_item():
    with pytest.raises(Interrupted):
        run_units(stop, range(3), name=str)


def test_every_result_is_told_once():
    told = []
    run_units(square, range(4), name=str, done=lambda result: told.append(result.id))
    assert told == ["0", "1", "2", "3"]


def test_zero_workers_are_refused():
    with pytest.raises(BadInput, match="BAD_OPTION"):
        run_units(square, range(4), name=str, workers=0)


def refuse_to_write(place: str) -> None:
    raise StoreError("DISK_FULL", "could not write the store", file=place, hint="free some space")


def test_a_failure_of_the_store_names_the_place():
    (result,) = run_units(refuse_to_write, ["c.zarr/slides/a"], name=lambda place: "a")
    assert result.failure == Failure("a", "DISK_FULL", "could not write the store (c.zarr/slides/a)", "free some space")


def test_threads_give_the_same_results_in_order():
    heard: list[str] = []

    def unit(job: int) -> int:
        if job == 3:
            raise BadInput("ODD", "three is refused", got="3", hint="use four")
        return job * job

    results = run_threads(unit, range(6), name=str, threads=3, done=lambda result: heard.append(result.id))
    assert [result.outcome for result in results] == [0, 1, 4, None, 16, 25]
    assert heard == ["0", "1", "2", "3", "4", "5"]
    assert results[3].failure is not None
    assert (results[3].failure.code, results[3].exit) == ("ODD", 2)


BARE_PROGRAM = """
import threading, time
from mirror_data.runner import run_units

threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # so that workers are not forked
print([result.outcome for result in run_units(abs, [-1, -2], name=str, workers=2)])
"""


def test_a_script_without_a_guard_is_run_once(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(BARE_PROGRAM)
    ended = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "[1, 2]\n"), ended.stderr


SLOW_PROGRAM = """
import os, sys, time
from pathlib import Path
from mirror_data.cli.app import run
from mirror_data.runner import run_units
import click

def nap(job):
    Path(job).write_text(str(os.getpid()))
    time.sleep(120)

@click.command()
def command():
    run_units(nap, sys.argv[1:], name=str, workers=2)

if __name__ == "__main__":
    sys.exit(run(command, []))
"""


def test_a_terminated_parent_takes_its_workers_with_it(tmp_path: Path):
    program, marks = tmp_path / "program.py", [tmp_path / "a", tmp_path / "b"]
    program.write_text(SLOW_PROGRAM)
    process = subprocess.Popen([sys.executable, str(program), *map(str, marks)], stderr=subprocess.DEVNULL)
    while not all(mark.exists() and mark.read_text() for mark in marks):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    for mark in marks:
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.read_text()), 0)


def runs(process: int) -> bool:
    """Whether a process is there and is more than an entry that nobody has asked about yet."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_killed_parent_takes_its_workers_with_it(tmp_path: Path):
    program, marks = tmp_path / "program.py", [tmp_path / "a", tmp_path / "b"]
    program.write_text(SLOW_PROGRAM)
    process = subprocess.Popen([sys.executable, str(program), *map(str, marks)], stderr=subprocess.DEVNULL)
    while not all(mark.exists() and mark.read_text() for mark in marks):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while any(runs(int(mark.read_text())) for mark in marks):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.02)
