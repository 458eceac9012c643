"""The skeleton of a TIFF file: where its directories say that pixels are, without decoding any.

Reading a slide's directories first finds what decoders find late, or never: a copy that stopped half way, a directory
that points back at itself, a header that claims more pixels than any glass slide holds. Classic and BigTIFF.
Reference: TIFF revision 6.0 (1992), and the BigTIFF proposal.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from mirror_data.errors import BadSlide

MAX_SIDE = 2**31 - 1  # coordinates are stored as int32
MAX_PIXELS = 2**40  # a 25 x 75 mm slide at 0.05 um per pixel has 0.75 of it
MAX_TILE_PIXELS = 2**26
MAX_ENTRIES = 4096

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_OFFSETS, _COUNTS, _STRIP_OFFSETS, _STRIP_COUNTS = 324, 325, 273, 279
_SUBDIRECTORIES = 330
_NDPI_MARK = 65420  # Hamamatsu's own 64-bit dialect: left to OpenSlide
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WANTED = {_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _COUNTS, _STRIP_OFFSETS, _STRIP_COUNTS}


@dataclass(frozen=True)
class Directory:
    """One image of the file. ``tile`` is None where its pixels lie in strips."""

    width: int
    height: int
    tile: tuple[int, int] | None
    offsets: np.ndarray  # uint64 (n,)
    byte_counts: np.ndarray  # uint64 (n,)


def read_directories(path: Path) -> tuple[Directory, ...] | None:
    """Every directory of a TIFF file in file order, None if it is no TIFF (or Hamamatsu's dialect of it).

    Raises:
        BadSlide: ``TRUNCATED`` if a directory or its pixels lie beyond the end of the file, ``CORRUPT`` if directories
            form a loop or make no sense, ``TOO_LARGE`` if an image is larger than any slide.
    """
    with path.open("rb") as file:
        walker = _Walker.open(file, path)
        if walker is None:
            return None
        directories = walker.walk()
    for directory in directories or ():
        _check(path, directory, walker.size)
    return directories


@dataclass
class _Walker:
    """Follows the chain of directories; every offset is checked before it is used."""

    file: BinaryIO
    path: Path
    size: int
    order: Literal["<", ">"]
    big: bool
    first: int

    @classmethod
    def open(cls, file: BinaryIO, path: Path) -> _Walker | None:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(16)
        if head[:2] not in (b"II", b"MM") or len(head) < 8:
            return None
        order: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
        version = struct.unpack(f"{order}H", head[2:4])[0]
        if version == 42:
            return cls(file, path, size, order, False, struct.unpack(f"{order}I", head[4:8])[0])
        if version == 43 and len(head) == 16:
            return cls(file, path, size, order, True, struct.unpack(f"{order}Q", head[8:16])[0])
        return None

    def walk(self) -> tuple[Directory, ...] | None:
        chain: set[int] = set()  # directories reached from the header
        below: set[int] = set()  # subdirectories
        found: list[Directory] = []
        waiting: list[tuple[int, set[int]]] = [(self.first, chain)]
        while waiting:
            offset, kind = waiting.pop(0)
            if kind is below and offset in below:
                continue  # some writers chain the subdirectories that they also list
            if offset in chain or offset in below:
                raise BadSlide("CORRUPT", "the file's TIFF directories form a loop", file=self.path)
            kind.add(offset)
            tags, following, children = self._directory(offset)
            if not found and _NDPI_MARK in tags:
                return None
            found.append(_to_directory(tags))
            waiting += [(following, kind)] if following else []
            waiting += [(child, below) for child in children]
        return tuple(found)

    def _directory(self, offset: int) -> tuple[dict[int, np.ndarray], int, list[int]]:
        """Wanted tags of one directory, the offset of the next (0 at the end), and those of its subdirectories."""
        count_code, entry_size, offset_code = ("Q", 20, "Q") if self.big else ("H", 12, "I")
        count = struct.unpack(f"{self.order}{count_code}", self._read(offset, struct.calcsize(count_code)))[0]
        if not 0 < count <= MAX_ENTRIES:
            raise BadSlide("CORRUPT", "a TIFF directory has an impossible number of entries", file=self.path, got=count)
        start = offset + struct.calcsize(count_code)
        raw = self._read(start, count * entry_size)
        tags: dict[int, np.ndarray] = {}
        children: list[int] = []
        for i in range(count):
            entry = raw[i * entry_size : (i + 1) * entry_size]
            tag = struct.unpack(f"{self.order}H", entry[:2])[0]
            if tag in _WANTED:
                tags[tag] = self._values(entry)
            elif tag == _SUBDIRECTORIES:
                children = [int(child) for child in self._values(entry)]
            elif tag == _NDPI_MARK:
                tags[tag] = np.zeros(1, np.uint64)
        tail = self._read(start + len(raw), struct.calcsize(offset_code))
        return tags, struct.unpack(f"{self.order}{offset_code}", tail)[0], children

    def _values(self, entry: bytes) -> np.ndarray:
        """The numbers of one entry, which stand in the entry itself where they fit."""
        kind, count = struct.unpack(
            f"{self.order}HQ" if self.big else f"{self.order}HI", entry[2 : 12 if self.big else 8]
        )
        if kind not in _TYPES or count == 0:
            raise BadSlide("CORRUPT", "a TIFF tag has a type or length that makes no sense", file=self.path)
        dtype = np.dtype(_TYPES[kind]).newbyteorder(self.order)
        field = entry[12:20] if self.big else entry[8:12]
        length = count * dtype.itemsize
        if length <= len(field):
            return np.frombuffer(field[:length], dtype).astype(np.uint64)
        offset = struct.unpack(f"{self.order}{'Q' if self.big else 'I'}", field)[0]
        return np.frombuffer(self._read(offset, length), dtype).astype(np.uint64)

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise _truncated(self.path, offset + length, self.size)
        self.file.seek(offset)
        return self.file.read(length)


def _to_directory(tags: dict[int, np.ndarray]) -> Directory:
    def one(tag: int) -> int:
        return int(tags[tag][0]) if tag in tags else 0

    tiled = _OFFSETS in tags
    empty = np.zeros(0, np.uint64)
    return Directory(
        width=one(_WIDTH),
        height=one(_HEIGHT),
        tile=(one(_TILE_WIDTH), one(_TILE_HEIGHT)) if tiled else None,
        offsets=tags.get(_OFFSETS if tiled else _STRIP_OFFSETS, empty),
        byte_counts=tags.get(_COUNTS if tiled else _STRIP_COUNTS, empty),
    )


def _check(path: Path, directory: Directory, size: int) -> None:
    width, height = directory.width, directory.height
    tile_width, tile_height = directory.tile or (0, 0)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS or tile_width * tile_height > MAX_TILE_PIXELS:
        raise BadSlide(
            "TOO_LARGE",
            "the header claims more pixels than a slide can have",
            file=path,
            expected=f"sides up to {MAX_SIDE}, tiles up to {MAX_TILE_PIXELS} pixels",
            got=f"{width} x {height} in tiles of {tile_width} x {tile_height}",
        )
    if directory.offsets.shape != directory.byte_counts.shape:
        raise BadSlide("CORRUPT", "a TIFF directory lists other numbers of offsets and lengths", file=path)
    if directory.tile is not None:
        if 0 in (width, height, tile_width, tile_height):
            raise BadSlide("CORRUPT", "a TIFF image or its tiles have no width or height", file=path)
        if len(directory.offsets) < -(-width // tile_width) * -(-height // tile_height):
            raise BadSlide("CORRUPT", "a TIFF image lists fewer tiles than its size needs", file=path)
    stored = directory.byte_counts > 0
    if stored.any():
        starts, counts = directory.offsets[stored], directory.byte_counts[stored]
        end = int(starts.max()) + int(counts.max()) if (starts > 2**63).any() else int((starts + counts).max())
        if end > size:
            raise _truncated(path, end, size)


def _truncated(path: Path, needed: int, size: int) -> BadSlide:
    return BadSlide(
        "TRUNCATED",
        "the file ends before its pixels do",
        file=path,
        expected=f"at least {needed} bytes",
        got=f"{size} bytes",
        hint="copy or download the file again",
    )
