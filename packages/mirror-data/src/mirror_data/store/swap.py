"""Two folders change places in one step, so that whoever looks sees the one or the other."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from mirror_data.disk import sync_folder

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def swap(new: Path, old: Path) -> None:
    """Put ``new`` where ``old`` is, and ``old``, if there is one, where ``new`` was or beside it.

    Where the system cannot exchange folders (macOS, some network disks) it takes two renames.

    Raises:
        OSError: nothing was moved.
    """
    if not old.exists():
        new.rename(old)
    elif not _exchanged(new, old):
        aside = new.with_name(f"{new.name}.old")
        old.rename(aside)
        try:
            new.rename(old)
        except OSError:
            aside.rename(old)
            raise
    sync_folder(old.parent)


def _exchanged(new: Path, old: Path) -> bool:
    """Whether the system could do it in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_HERE, os.fsencode(new), _HERE, os.fsencode(old), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(old))
