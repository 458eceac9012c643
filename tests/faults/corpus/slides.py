"""Bad slides, and good ones that look bad."""

from __future__ import annotations

import ctypes
import os
import struct
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from mirror_data.slides import pipeline
from mirror_data.slides.tiff_layout import read_directories
from PIL import Image

from tests.data.slides.conftest import find_tag, loop, patch, write_slide
from tests.faults.corpus.cases import Bench, Case, cut


@dataclass(frozen=True)
class SlideFile:
    """A slide that stands alone in a folder, or beside all others."""

    id: str
    make: Callable[[Path], object]  # writes it into a folder
    code: str  # "" if it is tiled
    told: tuple[str, ...] = ()

    def words(self, bench: Bench) -> list[object]:
        (bench.folder / "slides").mkdir()
        self.make(bench.folder / "slides")
        return bench.tile()

    def case(self) -> Case:
        told = (f"{self.id}: {self.code}: ", *self.told) if self.code else ()
        return Case(f"slide {self.id}", self.words, self.code, told, exit=3 if self.code else 0)


def _slide(name: str, **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_slide(path, **options)  # type: ignore[arg-type]

    return make


def _damaged(name: str, damage: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: damage(_slide(name)(folder))


def _file(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def _flip_tile(path: Path) -> None:
    directories = read_directories(path)
    assert directories is not None
    start, length = int(directories[0].offsets[7]), int(directories[0].byte_counts[7])
    patch(path, start, bytes(byte ^ 0xFF for byte in path.read_bytes()[start : start + length]))


def _empty_tile(path: Path) -> None:
    entry = find_tag(path, 0, 325) + 8
    counts = struct.unpack("<I", path.read_bytes()[entry : entry + 4])[0]
    patch(path, counts + 4 * 7, struct.pack("<I", 0))


def _transparent(folder: Path) -> None:
    pixels = np.zeros((480, 480, 4), np.uint8)
    options = {"compression": "deflate", "extrasamples": ["unassalpha"], "resolutionunit": "CENTIMETER"}
    _slide("clear.tif", pixels=pixels, aperio=False, levels=1, resolution=(20_000, 20_000), **options)(folder)


def _twins(folder: Path) -> None:
    _slide("one/twin.svs")(folder)
    _slide("two/twin.svs", mpp="0.25")(folder)


def _two_spellings(folder: Path) -> None:
    for form in ("NFC", "NFD"):
        _slide(f"{form}/{unicodedata.normalize(form, 'Köln')}.svs")(folder)


def _with_link_up(folder: Path) -> None:
    """A folder that holds a link to the folder above it."""
    _slide("round/turn.svs")(folder)
    (folder / "round" / "again").symlink_to(folder)


def _png(folder: Path) -> None:
    Image.fromarray(np.full((64, 64, 3), 244, np.uint8)).save(folder / "picture.svs", format="png")


GLASS = np.full((900, 1200, 3), 244, np.uint8)
FILES = (
    SlideFile("good", _slide("good.svs"), ""),
    SlideFile("comma", _slide("comma.svs", mpp="0,5"), ""),
    SlideFile("Zürich Ω", _slide(f"{unicodedata.normalize('NFC', 'Zürich Ω')}.svs"), ""),
    SlideFile("glass", _slide("glass.svs", pixels=GLASS), ""),
    SlideFile("turn", _with_link_up, ""),
    SlideFile("mpp-None", _slide("mpp-None.svs", mpp=None), "NO_MPP", ("--mpp-override",)),
    SlideFile("mpp-0", _slide("mpp-0.svs", mpp="0"), "NO_MPP"),
    SlideFile("mpp-nan", _slide("mpp-nan.svs", mpp="nan"), "NO_MPP"),
    SlideFile(
        "oblong",
        _slide("oblong.tif", aperio=False, resolution=(20_000, 10_000), resolutionunit="CENTIMETER"),
        "NO_MPP",
    ),
    SlideFile("cut-10", _damaged("cut-10.svs", lambda path: cut(path, lambda size: size // 10)), "TRUNCATED"),
    SlideFile("cut-50", _damaged("cut-50.svs", cut), "TRUNCATED", ("copy or download",)),
    SlideFile("cut-end", _damaged("cut-end.svs", lambda path: cut(path, lambda size: size - 4096)), "TRUNCATED"),
    SlideFile("loop", _damaged("loop.svs", loop), "CORRUPT", ("loop",)),
    SlideFile("flipped", _damaged("flipped.svs", _flip_tile), "CORRUPT"),
    SlideFile(
        "compression",
        _damaged("compression.svs", lambda path: patch(path, find_tag(path, 0, 259) + 8, struct.pack("<H", 52479))),
        "CORRUPT",
    ),
    SlideFile("empty-tile", _damaged("empty-tile.svs", _empty_tile), "SPARSE", ("1 of",)),
    SlideFile("clear", _transparent, "SPARSE"),
    SlideFile(
        "large",
        _damaged("large.svs", lambda p: patch(p, find_tag(p, 0, 256) + 2, struct.pack("<HII", 4, 1, 2**31))),
        "TOO_LARGE",
        ("2147483648",),
    ),
    SlideFile("empty", _file("empty.svs", b""), "NOT_A_SLIDE", ("the file is empty",)),
    SlideFile("page", _file("page.svs", b"<!DOCTYPE html><html>404 Not Found</html>"), "NOT_A_SLIDE"),
    SlideFile("pipe", lambda folder: os.mkfifo(folder / "pipe.svs"), "NOT_A_SLIDE"),
    SlideFile(
        "strips",
        lambda folder: tifffile.imwrite(folder / "strips.tif", np.zeros((100, 100, 3), np.uint8)),
        "NOT_A_SLIDE",
        ("not tiled",),
    ),
    SlideFile("picture", _png, "NOT_A_SLIDE", ("no reader knows",)),
    SlideFile("dangling", lambda folder: (folder / "dangling.svs").symlink_to(folder / "gone"), "NOT_FOUND"),
    SlideFile("circle", lambda folder: (folder / "circle.svs").symlink_to(folder / "circle.svs"), "UNREADABLE"),
    SlideFile("twin", _twins, "DUPLICATE_ID", ("2 files",)),
    SlideFile("Köln", _two_spellings, "DUPLICATE_ID"),
)


def _named_folder(bench: Bench) -> list[object]:
    """A folder whose name ends like a slide's, given by itself."""
    (bench.folder / "slides" / "scan.svs").mkdir(parents=True)
    return ["mirror-data", "tile", bench.folder / "slides" / "scan.svs", *bench.tile()[3:]]


def _one(bench: Bench, *more: object, **options: object) -> list[object]:
    (bench.folder / "slides").mkdir(exist_ok=True)
    _slide("a.svs", **options)(bench.folder / "slides")
    return bench.tile(*more)


def _table(text: str | bytes) -> Callable[[Bench], list[object]]:
    return lambda bench: _one(bench, "--slides-table", bench.file("table.csv", text))


def _locked(bench: Bench) -> list[object]:
    words = _one(bench)
    (bench.folder / "slides" / "a.svs").chmod(0)
    return words


@contextmanager
def _as_anybody(bench: Bench) -> Iterator[None]:
    """Without the right that root has, to read whatever it likes; Linux's capset, of this thread alone."""
    libc, header = ctypes.CDLL(None, use_errno=True), struct.pack("<Ii", 0x20080522, 0)
    held = ctypes.create_string_buffer(24)
    assert libc.capget(header, held) == 0
    low, permitted, inherited, *rest = struct.unpack("<6I", held.raw)
    assert libc.capset(header, struct.pack("<6I", low & ~0b110, permitted, inherited, *rest)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0
        (bench.folder / "slides" / "a.svs").chmod(0o600)


@contextmanager
def _edited(bench: Bench) -> Iterator[None]:
    """Somebody saves the slide anew while its tiles are read."""
    encode = pipeline.encode_tiles

    def edited(*values: object, **named: object) -> object:
        os.utime(bench.folder / "slides" / "a.svs", ns=(1, 1))
        return encode(*values, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as change:
        change.setattr(pipeline, "encode_tiles", edited)
        yield


CASES = (
    *(file.case() for file in FILES),
    Case("slide is a folder", _named_folder, "NOT_A_SLIDE", ("the folder holds no slides",), exit=3),
    Case("slide may not be read", _locked, "UNREADABLE", ("permissions",), exit=3, around=_as_anybody),
    Case("slide is edited meanwhile", lambda bench: _one(bench), "CHANGED", ("run again",), exit=3, around=_edited),
    Case("no such slide", lambda b: ["mirror-data", "tile", b.folder / "a.svs", *b.tile()[3:]], "NOT_FOUND", exit=3),
    Case("slides table of semicolons", _table("\ufeffslide;mpp\r\na.svs;0,5\r\n"), "", exit=0),
    Case(
        "slides table with decimal commas", _table("slide,mpp,patient_id\na.svs,0,25,P1\n"), "RAGGED_ROW", ("line 2",)
    ),
    Case("slides table without slides", _table("name,mpp\na,0.5\n"), "MISSING_COLUMN", ("table.csv", "slide")),
    Case("slides table with mpp of 0", _table("slide,mpp\na,0\n"), "BAD_VALUE", ("row 2, column mpp",)),
    Case("slides table with mpp in words", _table("slide,mpp\na,half\n"), "BAD_VALUE", ("row 2, column mpp",)),
    Case("slides table names a slide twice", _table("slide,mpp\na,1\na,2\n"), "DUPLICATE", ("table.csv, slide",)),
    Case("slides table in UTF-16", _table("slide\na\n".encode("utf-16")), "ENCODING", ("UTF-8",)),
    Case("slides table is a spreadsheet", _table(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)), "ENCODING"),
)
