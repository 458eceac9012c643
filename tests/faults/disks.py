"""File systems of their own, to fill up or make read-only. Mounting one needs root, and leave of the container."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A mounted tmpfs."""

    path: Path

    @property
    def free(self) -> int:
        """Bytes."""
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    @property
    def ballast(self) -> Path:
        """A file that fills the disk up."""
        return self.path / "ballast"

    def leave(self, free: int) -> None:
        """Fill it up until ``free`` bytes are left."""
        with self.ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free - free)

    def remount(self, option: str) -> None:
        """``ro`` or ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{option}", self.path], check=True)


@contextmanager
def small_disk(size: str = "8m") -> Iterator[Disk]:
    """A disk that anybody may enter; the test is skipped where it cannot be made."""
    with tempfile.TemporaryDirectory(prefix="mirror-disk-") as folder:
        os.chmod(folder, 0o755)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "mirror-test", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted here: {getattr(error, 'stderr', error)}")
        try:
            yield Disk(Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
