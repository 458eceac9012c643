"""What a forked child does to itself, or to another, at a chosen moment of a training. Each returns a ``first``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from mirror_model.metrics_log import MetricsLog

Act = Callable[[], None]


def at_sync(folder: Path, number: int, act: Act) -> Act:
    """Act at the ``number``-th time (from 1) that a file in a folder is to be synced: in the middle of a save."""

    def first() -> None:
        sync, seen = os.fsync, 0

        def trapped(descriptor: int) -> None:
            nonlocal seen
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder)):
                seen += 1
                if seen == number:
                    act()
            sync(descriptor)

        os.fsync = trapped

    return first


def before(owner: type, name: str, act: Act, when: Callable[..., bool] = lambda *_: True) -> Act:
    """Act before a method is called, where ``when`` says so of what it is called with."""

    def first() -> None:
        method = getattr(owner, name)

        def trapped(*arguments: object) -> object:
            if when(*arguments):
                act()
            return method(*arguments)

        setattr(owner, name, trapped)

    return first


def at_epoch(epoch: int, act: Act) -> Act:
    """Act when an epoch has been trained and is about to be logged and saved."""
    return before(MetricsLog, "append", act, lambda _, values: values["epoch"] == epoch)


def signalling(number: signal.Signals, pid: int | None = None) -> Act:
    """Send a signal, by default to the child itself."""
    return lambda: os.kill(pid or os.getpid(), number)


def clock_that_jumps_back() -> None:
    """From here on each look at the wall clock finds it an hour earlier."""
    now = time.time()

    def jumped() -> float:
        nonlocal now
        now -= 3600
        return now

    time.time, time.time_ns = jumped, lambda: int(jumped() * 1e9)
