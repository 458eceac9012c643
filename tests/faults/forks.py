"""Commands in forked children, killed at a moment or broken at one system call."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.commands import Ended

ROOT = Path(__file__).resolve().parents[2]
CHANGING = (
    *("write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync", "flock", "mkdir", "mkdirat", "rmdir"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat", "chmod"),
)
TRACED = ",".join(("openat", *CHANGING))
_OPENED_TO_WRITE = re.compile(r"O_(CREAT|WRONLY|RDWR|TRUNC)")
_FD, _TEXT = re.compile(r"\b\d+<([^>]*)>"), re.compile(r'"(/[^"]*)"')


@dataclass(frozen=True)
class Call:
    """One system call of a run: the ``nth`` of this name that touches ``path``, which is how strace finds it again."""

    name: str
    path: str
    nth: int
    text: str  # as strace prints it

    @property
    def failed(self) -> bool:
        """Whether it failed by itself, as mkdir of a folder that is there."""
        return re.search(r" = -1 E\w+ ", self.text) is not None

    @property
    def leaves(self) -> bool:
        """Whether a kill here leaves something else than a kill at the call after it."""
        return not self.failed and self.name not in ("fsync", "fdatasync", "flock")


@dataclass(frozen=True)
class Forks:
    """The server's client; made by `forks`."""

    server: subprocess.Popen[str]
    log: Path

    def run(self, words: Sequence[object], *, kill_after: float | None = None) -> Ended:
        """A command in a child of its own, killed after some seconds if wanted."""
        return self._ask(words, kill_after=kill_after)

    def warm(self, words: Sequence[object]) -> Ended:
        """As `run`; then the server imports what the command imported, so that the next child need not."""
        return self._ask(words, warm=True)

    def calls(self, words: Sequence[object], below: Path) -> list[Call]:
        """The system calls of a command that change something below a folder."""
        ended = self._ask(words, strace=["-q", "-y", "-s", "0", "-o", str(self.log), "-e", f"trace={TRACED}"])
        assert ended.code == 0, ended.err
        return changing_calls(self.log.read_text(), below)

    def broken(self, words: Sequence[object], call: Call, effect: str) -> Ended:
        """A command, one call of which is killed (``signal=KILL``) or fails (``error=ENOSPC``)."""
        inject = f"inject={call.name}:{effect}:when={call.nth}"
        options = ["-q", "-y", "-s", "0", "-o", str(self.log), "-P", call.path, "-e", f"trace={call.name}"]
        ended = self._ask(words, strace=[*options, "-e", inject])
        mark = "(INJECTED)" if effect.startswith("error") else "+++ killed by SIGKILL +++"
        assert mark in self.log.read_text(), f"{effect} did not happen at {call.text}:\n{self.log.read_text()}"
        return ended

    def _ask(self, words: Sequence[object], **order: object) -> Ended:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        program, *rest = map(str, words)
        assert program == "mirror-data"
        self.server.stdin.write(json.dumps({"words": rest, **order}) + "\n")
        self.server.stdin.flush()
        told = json.loads(self.server.stdout.readline())
        if told.get("refused"):
            pytest.skip("strace may not trace processes here (ptrace is refused)")
        ours = [name for name in told["threads"] if not name.startswith(("jemalloc", "polars"))]
        assert not ours, f"the server has threads, which its children lack: {ours}"
        return Ended(told["code"], told["out"], told["err"], told["seconds"])


@contextmanager
def forks(folder: Path) -> Iterator[Forks]:
    """Start a server; its files go below ``folder``."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.fork_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    with server:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline()) == {"ready": True}
        yield Forks(server, folder / "strace.log")
        assert server.stdin is not None
        server.stdin.close()


def need_strace() -> None:
    """Skip the test where there is no strace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed, so no system call can be broken")


def changing_calls(log: str, below: Path) -> list[Call]:
    """Calls of a strace log that change something below a folder, in order."""
    found, counts = [], {}
    for line in log.splitlines():
        name, _, rest = line.partition("(")
        arguments = rest.rpartition(" = ")[0]
        paths = list(dict.fromkeys([*_FD.findall(arguments), *_TEXT.findall(arguments)]))
        for path in paths:
            counts[name, path] = counts.get((name, path), 0) + 1
        changes = name in CHANGING or (name == "openat" and _OPENED_TO_WRITE.search(arguments))
        inside = [path for path in paths if path == str(below) or path.startswith(f"{below}/")]
        if changes and inside:
            found.append(Call(name, inside[0], counts[name, inside[0]], line))
    return found
