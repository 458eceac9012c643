"""strace on a child that waits for it: which calls change a folder, and making one of them fail or fatal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.faults.forked import Child

MUTATING = ("openat", "write", "fsync", "rename", "unlink", "unlinkat", "mkdir", "rmdir", "truncate", "ftruncate")
FAULTS = {name: f"error={name}" for name in ("ENOSPC", "EIO", "EROFS")} | {"kill": "signal=KILL"}
_LINE = re.compile(r"^(\d+)\s+(\w+)\((.*)$")


@dataclass(frozen=True)
class Call:
    """The ``number``-th call of this name in the child's main thread."""

    name: str
    number: int
    arguments: str  # as strace shows them

    def __str__(self) -> str:
        return f"{self.name} {self.number}"


@cache
def why_not() -> str | None:
    """Why nothing can be traced here, if so."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[:80]}"


def trace(child: Child, log: Path, call: Call | None = None, fault: str = "") -> subprocess.Popen[str]:
    """Put strace on a halted child, have it inject a fault into a call, and let the child go."""
    words = ["strace", "-f", "-y", "-s", "0", "-o", str(log), "-e", f"trace={','.join(MUTATING)}"]
    words += ["-p", str(child.pid)]
    if call is not None:
        words += ["-e", f"inject={call.name}:{FAULTS[fault]}:when={call.number}"]
    tracer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status, deadline = Path(f"/proc/{child.pid}/status"), time.monotonic() + 60
    while "TracerPid:\t0\n" in status.read_text():
        assert time.monotonic() < deadline, "strace did not attach"
        time.sleep(0.005)
    child.kill(signal.SIGCONT)
    return tracer


def changing(log: Path, child: Child, *folders: Path) -> list[Call]:
    """The traced calls of the child's main thread that change something in these folders."""
    seen: Counter[str] = Counter()
    found = []
    for line in log.read_text().splitlines():
        match = _LINE.match(line)
        if match is None or int(match[1]) != child.pid:
            continue
        name, arguments = match[2], match[3]
        seen[name] += 1
        opens_to_read = name == "openat" and "O_CREAT" not in arguments
        if not opens_to_read and any(str(folder) in arguments for folder in folders):
            found.append(Call(name, seen[name], arguments))
    return found
