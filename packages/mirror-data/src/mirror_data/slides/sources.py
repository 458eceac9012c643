"""Which slides: files and folders named by the caller, and what a table states about them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror_data import ids
from mirror_data.errors import BadInput, some
from mirror_data.opaque import AS_THEY_ARE, Naming
from mirror_data.runner import Failure
from mirror_data.slides.resolution import LEAST_MPP, MOST_MPP, is_plausible, parse_number
from mirror_data.tables import open_table, read_strings

SUFFIXES = (
    ".bif",
    ".czi",
    ".mrxs",
    ".ndpi",
    ".scn",
    ".svs",
    ".svslide",
    ".tif",
    ".tiff",
    ".vms",
    ".vmu",
)  # what a folder is searched for; a DICOM slide is many files, so one of them has to be named


@dataclass(frozen=True)
class TableRow:
    """What the caller states about one slide; None where nothing is stated."""

    slide: str  # file name or slide id
    patient_id: str | None
    mpp: float | None


@dataclass(frozen=True)
class SlideSource:
    """A slide to tile."""

    path: Path
    slide_id: str
    patient_id: str
    stated_mpp: float | None
    own_id: str = ""  # what the file's name says; never kept where ``slide_id`` is opaque

    @property
    def is_opaque(self) -> bool:
        return self.own_id not in ("", self.slide_id)


@dataclass(frozen=True)
class Sources:
    """Slides in the order of their ids, and what could not become one."""

    slides: tuple[SlideSource, ...]
    failures: tuple[Failure, ...]
    unlisted: int  # slides that the table does not name
    unused: int  # rows of the table that name none of these slides


def find_slides(arguments: Sequence[Path], table: Sequence[TableRow] = (), naming: Naming = AS_THEY_ARE) -> Sources:
    """Slides of files and folders, sorted by id.

    A folder stands for every file in it and below whose name ends like a slide's (`SUFFIXES`). A file named twice
    counts once. Two files with one id are both left out (``DUPLICATE_ID``), for nobody knows which one is meant.

    Raises:
        BadInput: ``DUPLICATE`` if two rows of the table speak of one slide.
    """
    files: dict[tuple[str, str], Path] = {}
    failures: list[Failure] = []
    for argument in arguments:
        found = _slides_below(argument) if argument.is_dir() else [argument]
        if not found:
            reason = f"the folder holds no slides: no file below it ends in {', '.join(SUFFIXES)}"
            failures.append(
                Failure(naming(argument.name), "NOT_A_SLIDE", reason, "name a folder with slides, or the files")
            )
        for path in found:
            files.setdefault((ids.slide_id(path.name), os.path.realpath(path)), path)
    grouped: dict[str, list[Path]] = {}
    for (slide_id, _), path in files.items():
        grouped.setdefault(slide_id, []).append(path)
    rows = {_plain(row.slide): row for row in table}
    slides: list[SlideSource] = []
    used: set[str] = set()
    for slide_id, paths in sorted(grouped.items()):
        if len(paths) > 1:
            named = "" if naming.is_opaque else f": {some(sorted(map(str, paths)))}"
            reason = f"{len(paths)} files have this slide id{named}"
            failures.append(Failure(naming(slide_id), "DUPLICATE_ID", reason, "rename or leave out all but one"))
            continue
        row = _row_of(paths[0], slide_id, rows)
        if row is not None:
            used.add(_plain(row.slide))
        patient = row.patient_id if row is not None and row.patient_id else ids.patient_id(slide_id)
        stated = row.mpp if row is not None else None
        slides.append(SlideSource(paths[0], naming(slide_id), naming(patient), stated, slide_id))
    slides.sort(key=lambda slide: slide.slide_id)
    listed = len(used)
    return Sources(tuple(slides), tuple(failures), len(slides) - listed, len(rows) - listed)


def read_slides_table(path: Path) -> tuple[TableRow, ...]:
    """The table of ``--slides-table``: column slide (file name or id), optionally patient_id and mpp; no other is used.

    Raises:
        BadInput: ``MISSING_COLUMN``, ``BAD_VALUE``, ``DUPLICATE``, or as `mirror_data.tables.read_strings`.
    """
    columns = open_table(path).names
    if "slide" not in columns:
        raise BadInput(
            "MISSING_COLUMN", "the table has no column slide", file=path, expected="slide", got=some(columns)
        )
    cells = read_strings(path, [name for name in ("slide", "patient_id", "mpp") if name in columns])
    rows = tuple(_table_row(path, number, row) for number, row in enumerate(cells.iter_rows(named=True), start=2))
    repeated = len(rows) - len({_plain(row.slide) for row in rows})
    if repeated:
        raise BadInput("DUPLICATE", f"{repeated} slides stand in the table more than once", file=path, key="slide")
    return rows


def _table_row(path: Path, number: int, row: dict[str, str | None]) -> TableRow:
    slide = row["slide"]
    mpp = parse_number(row.get("mpp") or "")
    if not slide:
        raise BadInput("BAD_VALUE", "a row names no slide", file=path, key=f"row {number}, column slide")
    if mpp is not None and not is_plausible(mpp, mpp):
        raise BadInput(
            "BAD_VALUE",
            "a pixel size is not believable",
            file=path,
            key=f"row {number}, column mpp",
            expected=f"micrometres per pixel between {LEAST_MPP} and {MOST_MPP:g}",
            got=row.get("mpp"),
        )
    return TableRow(slide, row.get("patient_id"), mpp)


def _row_of(path: Path, slide_id: str, rows: dict[str, TableRow]) -> TableRow | None:
    """The row that names a slide by file name, by file name without suffix, or by id."""
    names = dict.fromkeys((_plain(path.name), _plain(path.stem), slide_id))
    found = [rows[name] for name in names if name in rows]
    if len(found) > 1:
        raise BadInput("DUPLICATE", "two rows of the slides table speak of one slide", key="--slides-table")
    return found[0] if found else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _slides_below(folder: Path) -> list[Path]:
    """Slide files below a folder, sorted; hidden files and folders are passed over."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in _slide_names(names)]
    return sorted(found)


def _slide_names(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
