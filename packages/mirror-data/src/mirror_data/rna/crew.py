"""Threads that share the heavy blocks of several eliminations.

The matrix is one, read by all (for 200,000 genes a copy for each would not fit), and NumPy's products run outside the
interpreter's lock. An elimination is plain sequential code that hands out its blocks; with several of them under way,
one's small solves fill the gaps of another's products. Results come back in the order of the blocks, so that sums are
the same bits whatever the number of threads.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from mirror_data.errors import Interrupted

Block = TypeVar("Block")
Outcome = TypeVar("Outcome")


class Crew:
    """``threads`` threads for blocks; with one, everything runs in the caller's. Made by `crew`."""

    def __init__(self, threads: int, pool: ThreadPoolExecutor | None) -> None:
        self.threads, self._pool = threads, pool
        self._stopped = threading.Event()

    def map(self, work: Callable[[Block], Outcome], blocks: Iterable[Block]) -> Iterator[Outcome]:
        """Outcomes in the order of the blocks; few are held at a time."""
        if self._pool is None:
            yield from map(work, blocks)
            return
        coming: deque[Future[Outcome]] = deque()
        waiting = iter(blocks)
        while True:
            for block in itertools.islice(waiting, self.threads + 1 - len(coming)):
                coming.append(self._pool.submit(work, block))
            if not coming:
                return
            self.go_on()
            yield coming.popleft().result()

    def go_on(self) -> None:
        """To be called now and then by long work of `together`: raises ``Interrupted`` once another's has failed."""
        if self._stopped.is_set():
            raise Interrupted("INTERRUPTED", "the selection of genes was stopped", hint="run it again")

    def together(self, jobs: Sequence[Callable[[], Outcome]]) -> list[Outcome]:
        """Run whole eliminations, one more at a time than there are threads; outcomes in the order of the jobs."""
        if self._pool is None or len(jobs) < 2:
            return [job() for job in jobs]
        with ThreadPoolExecutor(min(len(jobs), self.threads + 1)) as leaders:
            running = [leaders.submit(job) for job in jobs]
            try:
                return [job.result() for job in running]
            except BaseException:  # one failed, or an interrupt: the others end at their next block
                self._stopped.set()
                leaders.shutdown(wait=False, cancel_futures=True)
                raise


ALONE = Crew(1, None)


@contextmanager
def crew(threads: int = 1) -> Iterator[Crew]:
    """A crew, and BLAS on one thread while it works: faster for these sizes (svm.py), and the same bits anywhere."""
    with threadpool_limits(1, user_api="blas"):
        if threads < 2:
            yield ALONE
            return
        with ThreadPoolExecutor(threads) as pool:
            yield Crew(threads, pool)
