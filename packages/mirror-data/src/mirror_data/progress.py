"""Progress on standard error: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

LOG_EVERY_SECONDS = 30.0


class Progress(Protocol):
    """What long work reports to: how far it is, and a word about it ("312 tiles/s")."""

    def advance(self, steps: int = 1, note: str = "") -> None: ...


class _Unseen:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nobody is told."""


NO_PROGRESS: Progress = _Unseen()


class _Log:
    """Progress where nobody watches: one line at the start of the work, then every half minute, and at its end."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self.started = self.told = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.told >= LOG_EVERY_SECONDS or self.done == self.total:
            self.told = now
            left = (now - self.started) / max(self.done, 1) * (self.total - self.done)
            text = f"{self.title}: {self.done}/{self.total} {self.unit}, {left:.0f} s left"
            with suppress(OSError):  # a log that is full or that nobody reads any more is no reason to stop the work
                print(f"{text}, {note}" if note else text, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bar, task) -> None:
        self.bar, self.task = bar, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.bar.update(self.task, advance=steps, note=note or self.bar.tasks[0].fields.get("note", ""))


@contextmanager
def progress(title: str, total: int, unit: str = "items") -> Iterator[Progress]:
    """Show progress of ``total`` steps while the block runs."""
    if not sys.stderr.isatty():
        yield _Log(title, total, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(title, total=total, note=""))
