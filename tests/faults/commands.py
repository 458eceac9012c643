"""Commands as a user starts them, and the folder they leave behind."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BINARIES = Path(sys.executable).parent
PRIVATE = ".mirror"  # locks and other leavings that are nobody's data


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # exit status; minus the signal's number if one ended it
    out: str
    err: str
    seconds: float


def start(words: Sequence[object], extra: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``mirror-data tile ...`` and its like; one thread each, so that two cores do not fight."""
    program, *rest = map(str, words)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::ResourceWarning"} | dict(extra or {})
    command = [str(BINARIES / program), *rest]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def run(words: Sequence[object], extra: Mapping[str, str] | None = None, limit: float = 120) -> Ended:
    """Run a command to its end; one that is still running after ``limit`` seconds fails the test."""
    began = time.monotonic()
    process = start(words, extra)
    try:
        out, err = process.communicate(timeout=limit)
    finally:
        process.kill()
    return Ended(process.returncode, out, err, time.monotonic() - began)


def tree(folder: Path) -> dict[str, str]:
    """Every regular file below a folder but the private ones: relative path to SHA-256."""
    found = {}
    for place, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name != PRIVATE)
        for name in sorted(files):
            path = Path(place) / name
            if not path.is_file():  # a pipe would wait for a writer
                continue
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def differences(left: Mapping[str, str], right: Mapping[str, str]) -> list[str]:
    """Paths that only one tree has, or whose bytes differ."""
    return sorted(path for path in left.keys() | right.keys() if left.get(path) != right.get(path))
