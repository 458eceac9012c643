"""Map independent units of work over processes; one that fails costs itself alone.

A unit is a plain function from a picklable job to a picklable outcome. Outcomes come back in the order of the jobs,
whatever order they finished in, so results never depend on the number of workers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mirror_data.errors import OUT_OF_MEMORY, BadInput, Interrupted, MirrorError, StoreError, is_out_of_memory
from mirror_data.workers import Hands, Here, Tell, Workers

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
    unit: Callable[..., Outcome],
    jobs: Sequence[Job],
    *,
    name: Callable[[Job], str],
    workers: int | Hands = 1,
    done: Callable[[Result[Outcome]], None] = lambda result: None,
    told: Callable[[Any], None] | None = None,
) -> list[Result[Outcome]]:
    """Run ``unit`` on every job; ``done`` hears of each result as it comes.

    A worker that dies (a decoder's SIGSEGV, the kernel's memory killer) costs the unit in its hands alone.

    Args:
        workers: processes; with 1 the units run in this one. Or the hands themselves (`mirror_data.workers`), which
            stay open: ``Workers(1)`` for units that may crash.
        told: what units tell meanwhile; they take a second argument then, which they call.
    """
    if isinstance(workers, int):
        if workers < 1:
            raise BadInput("BAD_OPTION", "at least one worker is needed", key="--workers", got=workers)
        with Here() if workers == 1 else Workers(workers) as hands:
            return run_units(unit, jobs, name=name, workers=hands, done=done, told=told)
    found: dict[int, Result[Outcome]] = {}

    def keep(index: int, result: Result[Outcome]) -> None:
        found[index] = result
        done(result)

    def lose(index: int, ending: str) -> None:
        keep(index, _crashed(name(jobs[index]), ending))

    work = functools.partial(_work, unit, told is not None)
    named = [(job, name(job)) for job in jobs]
    workers.map(work, named, done=keep, died=lose, told=told or (lambda word: None))
    return [found[index] for index in range(len(jobs))]


def _work(unit: Callable[..., Outcome], tells: bool, named: tuple[Job, str], tell: Tell) -> Result[Outcome]:
    job, name = named
    return _attempt((lambda job: unit(job, tell)) if tells else unit, job, name)


def _crashed(name: str, ending: str) -> Result:
    reason = f"the process that worked on it died ({ending}): a crash in a decoder, or out of memory"
    step = "look at the file with other software; if memory ran out, use fewer --workers"
    return Result(name, None, Failure(name, "CRASHED", reason, step), 3)


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


def _attempt(unit: Callable[[Job], Outcome], job: Job, name: str) -> Result[Outcome]:
    """Run one unit; an error of the item becomes a failure, a defect of ours too, an interrupt goes through."""
    try:
        return Result(name, unit(job), None)
    except Interrupted:
        raise
    except MirrorError as error:
        return Result(name, None, failure_of(name, error), error.exit, error)
    except Exception as error:  # noqa: BLE001 - one item's defect must not cost the batch
        if is_out_of_memory(error):
            return Result(name, None, failure_of(name, OUT_OF_MEMORY), 3)
        reason = f"a defect of ours: {type(error).__name__}: {error}"
        return Result(name, None, Failure(name, "INTERNAL", reason, "report it, with the file if you may"), 1)


def failure_of(name: str, error: MirrorError) -> Failure:
    """An error as a row; the place in the store is told, a slide's own file goes without saying."""
    where = error.file if isinstance(error, StoreError) else None
    notes = "".join(f" ({note})" for note in (f"got {error.got}" if error.got else None, where) if note)
    step = error.hint or "mend what is said, or leave it out; run again for this item alone"
    return Failure(name, error.code, error.message + notes, step)


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
