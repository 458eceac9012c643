"""The batches of an epoch, made in a thread of their own while the network computes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
_AHEAD = 2  # items made ahead of the one in use
_LOOK_SECONDS = 0.1  # how often a full queue looks whether it is still wanted


@dataclass
class Loader(Generic[T]):
    """Items in order, made ahead by one thread."""

    made: queue.Queue[T | BaseException]
    left: int
    waited_s: float = field(default=0.0)  # how long the taker had to wait

    def __iter__(self) -> Iterator[T]:
        while self.left:
            started = time.monotonic()
            item = self.made.get()
            self.waited_s += time.monotonic() - started
            if isinstance(item, BaseException):
                raise item
            self.left -= 1
            yield item


@contextmanager
def loading(make: Callable[[int], T], numbers: Sequence[int]) -> Iterator[Loader[T]]:
    """``make(number)`` of each number, in order. What ``make`` raises is raised where its item is taken."""
    made: queue.Queue[T | BaseException] = queue.Queue(_AHEAD)
    unwanted = threading.Event()

    def put(item: T | BaseException) -> bool:
        while not unwanted.is_set():
            try:
                made.put(item, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for number in numbers:
                if not put(make(number)):
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the taker must hear of it
            put(error)

    thread = threading.Thread(target=work, name="loader", daemon=True)
    thread.start()
    try:
        yield Loader(made, len(numbers))
    finally:
        unwanted.set()
        thread.join()
