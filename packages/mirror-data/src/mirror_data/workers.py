"""Processes that take one piece of work at a time. One that dies costs what it had in its hands and nothing else.

`Workers` are such processes; `Here` does the same in this process, for work that cannot bring it down. Both are entered
with ``with``, and their `map` does ``work`` on every job:

    done     hears of each job's place and answer, in the order they come
    died     hears of the place of a job that took its process with it, and of how that ended ("SIGSEGV")
    told     hears what the work tells meanwhile

What the work raises goes through; jobs not done by then are left.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

Tell = Callable[[Any], None]
Done, Died = Callable[[int, Any], None], Callable[[int, str], None]
Work = Callable[[Any, Tell], Any]  # (job, tell) -> answer; `tell` is heard while the work goes on

_PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent dies
_OWN_THREADS = ("torch", "polars")  # libraries whose threads a fork would lose


class Here:
    """One job after the other in this process."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left to end."""

    def map(self, work: Work, jobs: Sequence[Any], *, done: Done, died: Died, told: Tell) -> None:
        for index, job in enumerate(jobs):
            done(index, work(job, told))


class Workers:
    """Up to ``count`` processes, started when they are needed and kept for the next `map`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, int] = {}  # and the place of its job

    def __enter__(self) -> Workers:
        return self

    def map(self, work: Work, jobs: Sequence[Any], *, done: Done, died: Died, told: Tell) -> None:
        waiting = iter(enumerate(jobs))
        while True:
            for index, job in itertools.islice(waiting, self.count - len(self._busy)):
                self._busy[self._given(work, job)] = index
            if not self._busy:
                return
            for worker in _with_news(self._busy):
                kind, value = worker.news()
                if kind == "told":
                    told(value)
                    continue
                index = self._busy.pop(worker)
                if kind == "done":
                    self._idle.append(worker)
                    done(index, value)
                    continue
                ending = worker.end()
                if kind == "raised":
                    raise value
                died(index, ending)

    def _given(self, work: Work, job: Any) -> _Worker:
        """A worker that has the job; one that died while it was idle is replaced."""
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.link.send((work, job))
                return worker
            except OSError:
                worker.end()
        with contextlib.nullcontext() if _from_main(work, job) else _without_main():
            worker = _Worker()
        worker.link.send((work, job))
        return worker

    def __exit__(self, *error: object) -> None:
        """Let the idle go; the busy (there are such if something was raised) may save what they can, and stop."""
        for worker in self._busy:
            worker.stop()
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle, self._busy = [], {}


Hands = Here | Workers  # who does the work


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context: Any = multiprocessing.get_context("fork" if _may_fork() else "spawn")
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, os.getpid()))
        self.process.start()
        theirs.close()

    def news(self) -> tuple[str, Any]:
        """What it sent: "told", "done" or "raised" and what; or "died"."""
        try:
            return self.link.recv() if self.link.poll() else ("died", None)
        except (EOFError, OSError):
            return "died", None

    def stop(self) -> None:
        self.process.terminate()
        os.kill(self.process.pid, signal.SIGCONT)  # one that is stopped would never hear of it

    def end(self) -> str:
        """Wait for its end; says how it ended."""
        with contextlib.suppress(OSError):  # it has ended already
            self.link.send(None)
        self.process.join()
        self.link.close()
        code = self.process.exitcode
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _with_news(busy: Collection[_Worker]) -> list[_Worker]:
    """Workers that sent something or died."""
    ready: set[object] = set()
    while not ready:  # now and then without news: a signal just before the wait is heard of only after it
        ready = set(wait([*(worker.link for worker in busy), *(worker.process.sentinel for worker in busy)], 1.0))
    return [worker for worker in busy if worker.link in ready or worker.process.sentinel in ready]


def _from_main(*parts: Any) -> bool:
    """Whether a process that gets these must have run the user's script too, for something in them is from it."""
    return b"__main__" in bytes(ForkingPickler.dumps(parts))


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A process started meanwhile does not run the user's script again, which may have no guard against that."""
    main: Any = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__spec__", "__file__") if name in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


def _may_fork() -> bool:
    """Whether a copy of this process would work: far quicker than a new one, but threads are not copied."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    return len(os.listdir("/proc/self/task")) == 1 or not any(name in sys.modules for name in _OWN_THREADS)


def _serve(link: Connection, parent: int) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)

    try:
        while (asked := link.recv()) is not None:
            work, job = asked
            link.send(("done", work(job, lambda word: link.send(("told", word)))))
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        with contextlib.suppress(OSError):  # which may be gone
            link.send(("raised", error))


def _die_with(parent: int) -> None:
    """When the parent is killed, nothing goes on working unseen and holding locks."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
