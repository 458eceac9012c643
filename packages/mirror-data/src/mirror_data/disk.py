"""Disks: what a failure is called, and how a folder's entries get onto one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def failure_code(error: OSError) -> str:
    """``DISK_FULL``, ``READ_ONLY`` or ``IO_ERROR``."""
    return "DISK_FULL" if error.errno in _FULL else "READ_ONLY" if error.errno in _READ_ONLY else "IO_ERROR"


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
