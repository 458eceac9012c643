"""Map independent units of work over processes; one that fails costs itself alone.

A unit is a plain function from a picklable job to a picklable outcome. Outcomes come back in the order of the jobs,
whatever order they finished in, so results never depend on the number of workers.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

from mirror_data.errors import BadInput, Interrupted, MirrorError, StoreError

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Failure:
    """A unit that failed, as a row of failures.jsonl."""

    id: str
    code: str
    reason: str
    next_step: str


@dataclass(frozen=True)
class Result(Generic[Outcome]):
    """One unit's outcome, or why there is none."""

    id: str
    outcome: Outcome | None
    failure: Failure | None
    exit: int = 0  # the status this failure alone would give
    error: MirrorError | None = None  # what the unit raised, with file and key; None for a defect of ours


def run_units(
    unit: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    *,
    name: Callable[[Job], str],
    workers: int = 1,
    done: Callable[[Result[Outcome]], None] = lambda result: None,
) -> list[Result[Outcome]]:
    """Run ``unit`` on every job; ``done`` hears of each result as it comes.

    With one worker the units run in this process. A worker that dies (a decoder's SIGSEGV, the kernel's memory killer)
    breaks the pool: what had no answer by then is run again one at a time, each in a process of its own, so that only
    the guilty one is lost.
    """
    if workers < 1:
        raise BadInput("BAD_OPTION", "at least one worker is needed", key="--workers", got=workers)
    found: dict[int, Result[Outcome]] = {}

    def keep(index: int, result: Result[Outcome]) -> None:
        found[index] = result
        done(result)

    if workers == 1:
        for index, job in enumerate(jobs):
            keep(index, _attempt(unit, job, name(job)))
    else:
        survivors = _pooled(unit, jobs, list(range(len(jobs))), name, workers, keep)
        for index in survivors:
            if _pooled(unit, jobs, [index], name, 1, keep):
                reason = "the process that worked on it died (a crash in a decoder, or out of memory)"
                step = "look at the file with other software; run again with --workers 1 to see it alone"
                keep(index, Result(name(jobs[index]), None, Failure(name(jobs[index]), "CRASHED", reason, step), 3))
    return [found[index] for index in range(len(jobs))]


def run_threads(
    unit: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    *,
    name: Callable[[Job], str],
    threads: int = 8,
    done: Callable[[Result[Outcome]], None] = lambda result: None,
) -> list[Result[Outcome]]:
    """As `run_units`, in threads of this process: for units that mostly wait for the disk to sync."""
    results = []
    with ThreadPoolExecutor(threads) as pool:
        for result in pool.map(lambda job: _attempt(unit, job, name(job)), jobs):
            results.append(result)
            done(result)
    return results


def _pooled(
    unit: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    indices: list[int],
    name: Callable[[Job], str],
    workers: int,
    keep: Callable[[int, Result[Outcome]], None],
) -> list[int]:
    """Run jobs in a pool; returns those left without an answer because a worker died."""
    waiting = iter(indices)
    running: dict[Future, int] = {}
    lost: list[int] = []
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:

        def start(count: int) -> None:
            for index in itertools.islice(waiting, count):
                try:
                    running[pool.submit(_attempt, unit, jobs[index], name(jobs[index]))] = index
                except BrokenProcessPool:
                    lost.append(index)

        start(workers)
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    index = running.pop(future)
                    try:
                        keep(index, future.result())
                    except BrokenProcessPool:
                        lost.append(index)
                if not lost:
                    start(len(finished))
        except BaseException:  # interrupted: tell the workers as well, so that they save what they can and stop
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            raise
    return sorted([*lost, *waiting])


def _end_with_parent() -> None:
    """Let this worker end when its parent is killed: it would hold its slide, and wait for work that never comes."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()


def _attempt(unit: Callable[[Job], Outcome], job: Job, name: str) -> Result[Outcome]:
    """Run one unit; an error of the item becomes a failure, a defect of ours too, an interrupt goes through."""
    try:
        return Result(name, unit(job), None)
    except Interrupted:
        raise
    except MirrorError as error:
        return Result(name, None, failure_of(name, error), error.exit, error)
    except MemoryError:
        return Result(name, None, Failure(name, "OUT_OF_MEMORY", "not enough memory", "use fewer --workers"), 3)
    except Exception as error:  # noqa: BLE001 - one item's defect must not cost the batch
        reason = f"a defect of ours: {type(error).__name__}: {error}"
        return Result(name, None, Failure(name, "INTERNAL", reason, "report it, with the file if you may"), 1)


def failure_of(name: str, error: MirrorError) -> Failure:
    """An error as a row; the place in the store is told, a slide's own file goes without saying."""
    where = error.file if isinstance(error, StoreError) else None
    notes = "".join(f" ({note})" for note in (f"got {error.got}" if error.got else None, where) if note)
    return Failure(name, error.code, error.message + notes, error.hint or "see the documentation")


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
