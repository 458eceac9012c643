"""The bytes of a table file: plain, gzip or a zip of one member, unpacked under caps and checked for encoding."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mirror_data.errors import BadInput

CHUNK_BYTES = 8 << 20
RATIO_FLOOR_BYTES = 1 << 20  # small files may compress as well as they like
MAX_RATIO = 300  # real tables compress 2 to 30 times; deflate's limit is 1032
MAX_LINE_BYTES = 256 << 20

Watch = Callable[[int], None]


def check_file(path: Path) -> None:
    """Refuse what is no readable file.

    Raises:
        BadInput: ``NOT_FOUND``, ``NOT_A_TABLE`` for a folder, ``EMPTY``, ``UNREADABLE``.
    """
    try:
        if path.is_dir():
            raise BadInput("NOT_A_TABLE", "this is a folder, a table file was expected", file=path)
        with path.open("rb") as file:
            if not file.read(1):
                raise BadInput("EMPTY", "the file is empty", file=path)
    except FileNotFoundError:
        raise BadInput("NOT_FOUND", "there is no such file", file=path, hint="check the path") from None
    except OSError as error:
        raise BadInput("UNREADABLE", f"the file cannot be read: {error.strerror}", file=path) from None


def magic(path: Path) -> bytes:
    """The first four bytes, which tell the format whatever the file is called."""
    with path.open("rb") as file:
        return file.read(4)


@contextmanager
def _unpacked(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """The text inside a file: gzip and zip are opened, anything else is taken as it stands."""
    start = raw.read(4)
    raw.seek(0)
    if start[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=raw) as inner:
            yield inner  # type: ignore[misc]
    elif start == b"PK\x03\x04":
        with zipfile.ZipFile(raw) as archive, archive.open(_only_member(path, archive)) as inner:
            yield inner
    else:
        yield raw


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    names = [m.filename for m in members]
    if any(name.startswith(("xl/", "word/")) for name in names):
        hint = "save the sheet as CSV; and beware of genes that the spreadsheet turned into dates"
        raise BadInput(
            "NOT_A_TABLE", "this is a spreadsheet, a text or Parquet table was expected", file=path, hint=hint
        )
    if len(members) != 1:
        raise BadInput("NOT_A_TABLE", "a zip must hold exactly one table", file=path, got=f"{len(members)} members")
    if members[0].flag_bits & 1:
        raise BadInput("NOT_A_TABLE", "the zip is encrypted", file=path, hint="unpack it first")
    if members[0].file_size > max(RATIO_FLOOR_BYTES, MAX_RATIO * members[0].compress_size):
        raise bomb(path)
    return members[0]


def bomb(path: Path) -> BadInput:
    return BadInput(
        "BOMB",
        f"the file unpacks to more than {MAX_RATIO} times its size",
        file=path,
        hint="a table does not compress like this; unpack and look at it if you trust its source",
    )


def chunks(path: Path, watch: Watch = lambda done: None) -> Iterator[bytes]:
    """Unpacked bytes of a text file, in order.

    Args:
        watch: hears how many bytes of the file itself have been read.

    Raises:
        BadInput: ``BOMB``, ``ENCODING`` (UTF-16 or a NUL byte), ``TRUNCATED`` or ``NOT_A_TABLE``.
    """
    size = path.stat().st_size
    with path.open("rb") as raw:
        try:
            with _unpacked(path, raw) as inner:
                total, first = 0, True
                while chunk := inner.read(CHUNK_BYTES):
                    total += len(chunk)
                    if total > RATIO_FLOOR_BYTES and total > MAX_RATIO * size:
                        raise bomb(path)
                    _check_encoding(path, chunk, first)
                    yield chunk.removeprefix(b"\xef\xbb\xbf") if first else chunk
                    watch(min(raw.tell(), size))
                    first = False
        except (EOFError, zlib.error):
            message = "the compressed file is cut short or damaged"
            raise BadInput("TRUNCATED", message, file=path, hint="copy or download it again") from None
        except (gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
            raise BadInput("NOT_A_TABLE", f"the compressed file cannot be unpacked: {error}", file=path) from None


def _check_encoding(path: Path, chunk: bytes, first: bool) -> None:
    if b"\0" in chunk or (first and chunk[:2] in (b"\xff\xfe", b"\xfe\xff")):
        what = (
            "UTF-16 text"
            if first and (chunk[:2] in (b"\xff\xfe", b"\xfe\xff") or chunk[1:2] == b"\0")
            else "a NUL byte"
        )
        hint = "save the table as UTF-8 text; a NUL may also mean that this is a binary file"
        raise BadInput("ENCODING", f"the table holds {what}", file=path, expected="UTF-8 text", hint=hint)
    if first and chunk.lstrip()[:1] == b"<":
        raise BadInput("NOT_A_TABLE", "this is a web page, not a table", file=path, hint="download the file itself")


def line_blocks(path: Path, watch: Watch = lambda done: None) -> Iterator[list[bytes]]:
    """Complete lines, without their ends and without empty ones, in blocks of about `CHUNK_BYTES`.

    Raises:
        BadInput: as `chunks`; also ``ENCODING`` where a line is not UTF-8, ``BOMB`` for an endless line.
    """
    rest = b""
    for chunk in chunks(path, watch):
        head, end, tail = chunk.rpartition(b"\n")
        if not end:
            rest += chunk
            if len(rest) > MAX_LINE_BYTES:
                raise BadInput("BOMB", f"a line is longer than {MAX_LINE_BYTES >> 20} MB", file=path)
            continue
        if lines := _lines(path, rest + head):
            yield lines
        rest = tail
    if lines := _lines(path, rest):
        yield lines


def _lines(path: Path, text: bytes) -> list[bytes]:
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            hint = "save the table as UTF-8"
            raise BadInput("ENCODING", "the table is not UTF-8 text", file=path, expected="UTF-8", hint=hint) from None
    return [line for line in text.split(b"\n") if line and not line.isspace()]
