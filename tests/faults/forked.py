"""Commands in a forked child of the test's process, which has imported everything: a process at the price of a fork."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mirror_data.cli.app import run
from mirror_model.cli.main import cli

from tests.faults.commands import Ended

_LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class Child:
    """A command that runs in a process of its own."""

    pid: int
    out: Path
    err: Path
    began: float

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.pid, number)


def nothing() -> None:
    """What a child does before its command, if nothing is asked for."""


def start(
    words: Sequence[object],
    folder: Path,
    *,
    first: Callable[[], None] = nothing,
    environment: Mapping[str, str] | None = None,
    halted: bool = False,
) -> Child:
    """Start ``mirror-model`` with these words; its output goes to files in ``folder``.

    Args:
        first: called in the child before the command, to set its traps.
        halted: the child stops itself first and waits for SIGCONT, so that a tracer can be put on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.out")))
    out, err = folder / f"{number}.out", folder / f"{number}.err"
    out.touch()  # here, as the next child counts them
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        if halted:
            os.waitpid(pid, os.WUNTRACED)
        return Child(pid, out, err, time.monotonic())
    status = 99  # of a child that the command did not even leave
    try:
        _speak_to(out, err)
        torch.set_num_threads(1)  # OpenMP's threads did not come along, and it would wait for them
        os.environ.update(environment or {})
        if halted:
            os.kill(os.getpid(), signal.SIGSTOP)
        first()
        status = run(cli, [str(word) for word in words])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - a child that came back into the test would run the rest of it
        traceback.print_exc()
    finally:
        os._exit(status)


def _speak_to(out: Path, err: Path) -> None:
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)


def finish(child: Child, limit: float = 120) -> Ended:
    """Wait for a child's end; one that is still there after ``limit`` seconds is killed and fails the test."""
    deadline = time.monotonic() + limit
    while True:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            seconds = time.monotonic() - child.began
            return Ended(os.waitstatus_to_exitcode(status), child.out.read_text(), child.err.read_text(), seconds)
        if time.monotonic() > deadline:
            child.kill()
            os.waitpid(child.pid, 0)
            raise AssertionError(f"still running after {limit} s: {child.err.read_text()}")
        time.sleep(_LOOK_SECONDS)


def until_stopped(child: Child) -> None:
    """Wait until a child has been stopped by a signal."""
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), (status, child.err.read_text())


def mirror_model(words: Sequence[object], folder: Path, **options: object) -> Ended:
    """Start a command and wait for its end."""
    return finish(start(words, folder, **options))
