"""Files of a checkpoint folder: on the disk when the call returns, or an error that names them."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mirror_data.disk import failure_code, sync_folder
from mirror_data.errors import Busy, StoreError

NEW = ".new"  # ends the name of a file that is not yet whole
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST)
_HINTS = {
    "BAD_PATH": "a file stands where the folder of checkpoints should be: choose another --checkpoints",
    "DISK_FULL": "free some space, then run the same command again; the last checkpoint is intact",
    "READ_ONLY": "make the folder writable for you, or choose another --checkpoints",
    "IO_ERROR": "check the disk; the last checkpoint is intact",
}


def write_file(file: Path, data: bytes) -> None:
    """Atomic and durable: a new file, synced, renamed over the old one.

    Raises:
        StoreError: ``DISK_FULL``, ``READ_ONLY`` or ``IO_ERROR``; the old file is as it was.
    """
    temporary = file.with_name(file.name + NEW)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(file)
        except OSError:
            with suppress(OSError):  # a full disk is not to keep half a file; the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(file.parent)
    except OSError as error:
        raise disk_error(error, file, "write") from error


def append_line(file: Path, line: str) -> None:
    """Add a line whole, or leave the file as it was.

    Raises:
        StoreError: ``DISK_FULL``, ``READ_ONLY`` or ``IO_ERROR``.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as stream:
            before = stream.seek(0, os.SEEK_END)
            try:
                stream.write(line.encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(file, before)
                raise
    except OSError as error:
        raise disk_error(error, file, "write") from error


def remove(file: Path) -> None:
    """Remove a file if it is there.

    Raises:
        StoreError: ``READ_ONLY`` or ``IO_ERROR``.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, file, "remove") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the right to write in a folder, which is made; the system lets go of it when the process dies.

    Raises:
        Busy: another process holds it.
        StoreError: ``READ_ONLY`` or ``IO_ERROR``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise disk_error(error, folder, "open") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        message, hint = "another training writes its checkpoints here", "let it finish, or choose another --checkpoints"
        raise Busy("BUSY", message, file=folder, hint=hint) from None
    except OSError:
        pass  # a network disk that locks no folders: the claim on the store has to do
    try:
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)


def disk_error(error: OSError, file: Path, verb: str) -> StoreError:
    """The error of a disk that is full, read-only or failing, or of a file in the way."""
    code = "BAD_PATH" if error.errno in _IN_THE_WAY else failure_code(error)
    message = f"could not {verb} a file of the checkpoint: {error.strerror}"
    return StoreError(code, message, file=file, hint=_HINTS[code])
