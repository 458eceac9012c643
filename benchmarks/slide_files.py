"""Tiled TIFF files written tag by tag: what an ordinary writer cannot make, and large slides in no time.

Tiles come encoded. A tile that occurs again is stored once, so a slide of 100,000 x 100,000 pixels is a file of a few
megabytes; a tile of no bytes is one that was never written. Used by benchmarks/slides.py and by the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

RGB, YCBCR = 2, 6
NONE, LZW, JPEG, DEFLATE, JP2K_YCBCR, JP2K_RGB = 1, 5, 7, 8, 33003, 33005

Value = int | tuple[int, ...] | bytes | tuple[float]


@dataclass(frozen=True)
class TiffImage:
    """One directory of a TIFF file."""

    width: int
    height: int
    tile: tuple[int, int]  # width, height
    tiles: Sequence[bytes]  # encoded, row by row
    compression: int
    photometric: int = RGB
    reduced: bool = False  # a lower level
    description: str = ""
    mpp: float | None = None  # written as pixels per centimetre
    tags: dict[int, Value] = field(default_factory=dict)  # more, or others
    levels: tuple[TiffImage, ...] = ()  # in subdirectories


def aperio_description(width: int, height: int, mpp: float = 0.5) -> str:
    return f"Aperio Image Library v12.0.0 \r\n{width}x{height} (240x240) JPEG/RGB Q=75|AppMag = 20|MPP = {mpp:g}"


def write_tiff(path: Path, images: Sequence[TiffImage], *, order: str = "<", big: bool = False) -> None:
    """Write ``images`` as a chain of directories; ``order`` is the byte order, ``big`` BigTIFF."""
    with path.open("wb") as file:
        word = "Q" if big else "I"
        head = struct.pack(f"{order}2sHHH", b"II" if order == "<" else b"MM", 43, 8, 0) if big else b""
        file.write(head or struct.pack(f"{order}2sH", b"II" if order == "<" else b"MM", 42))
        link = file.tell()
        file.write(struct.pack(f"{order}{word}", 0))
        stored: dict[int, int] = {}
        for image in images:
            children = [_write_directory(file, child, order, big, stored, [])[0] for child in image.levels]
            start, following = _write_directory(file, image, order, big, stored, children)
            file.seek(link)
            file.write(struct.pack(f"{order}{word}", start))
            file.seek(0, 2)
            link = following


def _write_directory(
    file, image: TiffImage, order: str, big: bool, stored: dict[int, int], children: list[int]
) -> tuple[int, int]:
    """Where the directory starts, and where the offset of the next one belongs."""
    offsets = []
    for tile in image.tiles:
        if tile and id(tile) not in stored:
            stored[id(tile)] = file.tell()
            file.write(tile)
        offsets.append(stored[id(tile)] if tile else 0)
    tags: dict[int, Value] = {
        254: int(image.reduced),
        256: image.width,
        257: image.height,
        258: (8, 8, 8),
        259: image.compression,
        262: image.photometric,
        277: 3,
        284: 1,
        322: image.tile[0],
        323: image.tile[1],
        324: tuple(offsets),
        325: tuple(len(tile) for tile in image.tiles),
    }
    if image.description:
        tags[270] = image.description.encode() + b"\0"
    if image.mpp is not None:
        tags |= {282: (10_000 / image.mpp,), 283: (10_000 / image.mpp,), 296: 3}
    if children:
        tags[330] = tuple(children)
    entries = []
    for tag, value in sorted((tags | image.tags).items()):
        kind, count, raw = _encode(value, order, big)
        room = 8 if big else 4
        if len(raw) > room:
            file.write(b"\0" * (file.tell() % 2))
            at = file.tell()
            file.write(raw)
            raw = struct.pack(f"{order}{'Q' if big else 'I'}", at)
        entries.append(struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, kind, count) + raw.ljust(room, b"\0"))
    file.write(b"\0" * (file.tell() % 2))
    start = file.tell()
    file.write(struct.pack(f"{order}{'Q' if big else 'H'}", len(entries)) + b"".join(entries))
    following = file.tell()
    file.write(struct.pack(f"{order}{'Q' if big else 'I'}", 0))
    return start, following


def _encode(value: Value, order: str, big: bool) -> tuple[int, int, bytes]:
    """Type, count and bytes of a tag's value."""
    if isinstance(value, bytes):
        return (2 if value.endswith(b"\0") else 7), len(value), value
    values = value if isinstance(value, tuple) else (value,)
    if any(isinstance(number, float) for number in values):
        return 5, 1, struct.pack(f"{order}II", round(values[0] * 10_000), 10_000)
    kind, code = (3, "H") if max(values) < 2**16 else (16, "Q") if big else (4, "I")
    return kind, len(values), struct.pack(f"{order}{len(values)}{code}", *values)
