"""Files for people that appear whole or not at all: a name beside the place, synced, then renamed over it."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mirror_data.errors import BadInput

_HINT = "check the disk and the folder's permissions, or name another place"


@contextmanager
def whole_text(path: Path, what: str = "file") -> Iterator[IO[str]]:
    """A UTF-8 text to fill; ``path`` is replaced when the block ends, and as it was if anything fails.

    Args:
        what: what is written, for the error.

    Raises:
        BadInput: ``UNWRITABLE``.
    """
    with _whole(path, what) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def write_whole(path: Path, data: bytes, what: str = "file") -> None:
    """Write all of a file's bytes; ``path`` is replaced, or as it was if anything fails.

    Raises:
        BadInput: ``UNWRITABLE``.
    """
    with _whole(path, what) as file:
        file.write(data)


def check_folder(path: str | Path) -> None:
    """Refuse a file to write whose folder is missing, before the work is done.

    Raises:
        BadInput: ``NOT_FOUND``.
    """
    if not Path(path).absolute().parent.is_dir():
        hint = "create it first"
        raise BadInput("NOT_FOUND", "the folder to write to does not exist", file=Path(path).parent, hint=hint)


def unwritable(path: Path, error: OSError, what: str = "file") -> BadInput:
    """The error of a place that cannot be written to."""
    message = f"the {what} cannot be written: {error.strerror}"
    return BadInput("UNWRITABLE", message, file=path, hint=_HINT)


@contextmanager
def _whole(path: Path, what: str) -> Iterator[IO[bytes]]:
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name[:60]}.", suffix=".new")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's are for their owner alone
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error, what) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
