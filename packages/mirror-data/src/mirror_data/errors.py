"""What can go wrong, and the exit code each gives.

    MirrorError              has a code, a message and an exit status
    +-- BadInput             2   a file, table, id, option or configuration that cannot be used
    |   +-- BadSlide             one slide; a batch goes on and reports it
    +-- StoreError           2   the store: INCOMPLETE, CORRUPT_STORE, MISMATCH, NEWER_FORMAT, MISSING
    +-- Busy                 4   another process is writing this item
    +-- Interrupted         75   stopped by a signal; run again to resume

Exit status 0 is success, 1 a defect of ours, 3 "finished, some items failed" (see failures.jsonl).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    DEFECT = 1
    BAD_INPUT = 2
    SOME_FAILED = 3
    BUSY = 4
    INTERRUPTED = 75


class MirrorError(Exception):
    """An error a user can act on.

    Args:
        code: short constant in capitals, stable across versions (``NO_MPP``).
        message: what is wrong, in one sentence.
        file: the file or store it concerns.
        key: the column, option, store key or row within it.
        expected: what would have been right.
        got: what came instead. Never a clinical value.
        hint: what to do next.
    """

    exit = Exit.DEFECT

    def __init__(
        self,
        code: str,
        message: str,
        *,
        file: object = None,
        key: object = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.file = None if file is None else str(file)
        self.key = None if key is None else str(key)
        self.expected = None if expected is None else str(expected)
        self.got = None if got is None else str(got)
        self.hint = hint
        super().__init__(code, message)

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.file, self.key) if part)
        lines = [f"{self.code}: {self.message}" + (f" ({where})" if where else "")]
        for label, value in (("expected", self.expected), ("got", self.got), ("do", self.hint)):
            if value is not None:
                lines.append(f"  {label}: {value}")
        return "\n".join(lines)

    def __reduce__(self):
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[MirrorError], state: dict) -> MirrorError:
    """Unpickle an error that crossed a process boundary."""
    error = kind(state["code"], state["message"])
    error.__dict__.update(state)
    return error


class BadInput(MirrorError):
    """A file, table, id, option or configuration that cannot be used."""

    exit = Exit.BAD_INPUT


class BadSlide(BadInput):
    """One slide that cannot be used; the batch goes on without it."""


class StoreError(MirrorError):
    """The cohort store is missing, incomplete, damaged, too new, or holds something else than asked for."""

    exit = Exit.BAD_INPUT


class Busy(MirrorError):
    """The item is being written by another process."""

    exit = Exit.BUSY


class Interrupted(MirrorError):
    """Stopped by a signal; what was committed stays, run again to resume."""

    exit = Exit.INTERRUPTED


def some(values: Sequence[object], most: int = 5) -> str:
    """The first few of many names, for an error message."""
    shown = ", ".join(str(value) for value in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")


OUT_OF_MEMORY = BadInput(  # what is told where `is_out_of_memory`; nobody raises it
    "OUT_OF_MEMORY", "not enough memory", hint="free some, or do less at a time: fewer --workers, a smaller batch"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or one of PyTorch's (which is not imported for it)."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "DefaultCPUAllocator" in str(error)
