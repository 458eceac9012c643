"""Bags of features that others made, into the store: what every foreign format is turned into, and the import of many.

A format's module has ``find(path, ...)``, the bags it holds, and ``read(source)``, one of them. One bag is one unit: a
bad one fails alone. Threads, because a commit waits for the disk (measured: 131 ms a bag one by one on a busy disk,
20 ms with four or more under way).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mirror_data import ids
from mirror_data.errors import BadInput, BadSlide, StoreError
from mirror_data.failures import list_failures
from mirror_data.opaque import veiled
from mirror_data.progress import progress
from mirror_data.runner import Result, run_threads
from mirror_data.store import (
    Features,
    Slide,
    Store,
    Tiling,
    read_tiling,
    schema,
    write_features,
    write_slide,
    write_tiling,
)
from mirror_data.tables import open_table, plain_name, read_strings, words

THREADS = 8
_TILE_AGAIN = "tile and encode this slide again with the software that made the file"
_PATIENT_COLUMNS = words("patient_id case_id patient bcr_patient_barcode submitter_id")
_SLIDE_COLUMNS = words("slide_id slide filename file_name image_id")


@dataclass(frozen=True)
class Source:
    """Where one foreign bag lies."""

    slide_id: str
    path: Path
    item: int = 0  # which of several in the file
    extra: Path | None = None  # a second file that belongs to it


@dataclass(frozen=True)
class ForeignBag:
    """One bag as its file has it; N rows."""

    slide_id: str
    reader: str  # "import clam", ...
    features: np.ndarray | None  # any float (N, P); None: coordinates alone
    coords: np.ndarray | None = None  # (N, 2): x, y of a tile's top left in level-0 pixels; None: not known
    rank: np.ndarray | None = None  # (N, 2): x, y in any unit, to sort by where coords are not known
    slide_size: tuple[int, int] | None = None  # width, height in level-0 pixels
    slide_mpp: float | None = None
    tile_px: int | None = None
    mpp: float | None = None
    tile_px_level0: float | None = None
    overlap: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportOptions:
    """Names in the store, and what the files do not say."""

    tiling: str
    encoder: str | None  # None where only coordinates are imported
    tile_px: int | None = None
    mpp: float | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Imported:
    """What a unit committed."""

    slide_id: str
    rows: int
    width: int | None
    has_coords: bool


def import_bags(
    store: Store,
    sources: Sequence[Source],
    read: Callable[[Source], ForeignBag],
    options: ImportOptions,
    *,
    slides_table: str | Path | None = None,
) -> list[Result[Imported]]:
    """Commit every bag as slide, tiling and features; results in the order of the slide ids.

    A slide or an equal tiling that is there already stays. What failed is listed in ``.mirror/failures.jsonl``.

    Args:
        slides_table: table with columns slide_id and patient_id; TCGA barcodes need none.

    Raises:
        BadInput: ``EMPTY`` without bags, ``DUPLICATE_ID`` if one slide has two, or as `read_slides_table`.
    """
    began = time.time()
    ids.check_name(options.tiling, "--tiling")
    if not sources:
        raise BadInput("EMPTY", "there is nothing to import here", hint="check the path and the layout of the folder")
    repeats = len(sources) - len({source.slide_id for source in sources})
    if repeats:
        raise BadInput("DUPLICATE_ID", "two files hold one slide", got=f"{repeats} repeats", hint="import one of each")
    patients = {} if slides_table is None else read_slides_table(slides_table)
    if slides_table is not None and not patients.keys() & {source.slide_id for source in sources}:
        hint = "its column slide_id must hold the names of the files, without their ending"
        raise BadInput("NO_OVERLAP", "the slides table names none of the slides", file=slides_table, hint=hint)

    names = store.naming

    def unit(source: Source) -> Imported:
        bag = read(source)
        patient = patients.get(bag.slide_id) or ids.patient_id(bag.slide_id)
        return _commit(store, replace(bag, slide_id=names(bag.slide_id)), names(patient), options)

    ordered = sorted(sources, key=lambda source: source.slide_id)
    with progress("importing", len(ordered), "slides") as bar:
        results = run_threads(
            unit, ordered, name=lambda s: names(s.slide_id), threads=THREADS, done=lambda result: bar.advance()
        )
    if names.is_opaque:
        results = [_veiled(result, source) for result, source in zip(results, ordered, strict=True)]
    failures = [result.failure for result in results if result.failure is not None]
    return [*results, *list_failures(store.files, failures, began)]


def read_slides_table(path: str | Path) -> dict[str, str]:
    """Patient of each slide, from a table with a column of each.

    Raises:
        BadInput: ``MISSING_COLUMN``; ``CONFLICT`` if a slide belongs to two patients.
    """
    spelt = {plain_name(name): name for name in reversed(open_table(path).names)}
    slide = next((spelt[name] for name in _SLIDE_COLUMNS if name in spelt), None)
    patient = next((spelt[name] for name in _PATIENT_COLUMNS if name in spelt), None)
    if slide is None or patient is None:
        raise BadInput(
            "MISSING_COLUMN", "the slides table lacks a column", file=path, expected="slide_id and patient_id"
        )
    rows = read_strings(path, [slide, patient]).drop_nulls().unique()
    pairs = {(as_slide_id(a), ids.patient_id(b)) for a, b in rows.iter_rows()}
    if len({a for a, _ in pairs}) < len(pairs):
        raise BadInput("CONFLICT", "a slide belongs to two patients", file=path, key=patient)
    return dict(pairs)


def as_slide_id(name: str) -> str:
    """Slide id of a name with or without an image's or bag's ending."""
    endings = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".h5", ".pt", ".dcm", ".scn", ".vms", ".bif", ".svslide")
    has_ending = ids.is_barcode(name) or name.lower().endswith(endings)
    return ids.slide_id(name if has_ending else f"{name}.none")


def _veiled(result: Result[Imported], source: Source) -> Result[Imported]:
    """A result that does not name its file."""
    if result.failure is None:
        return result
    return replace(result, failure=veiled(result.failure, result.id, source.path, source.slide_id), error=None)


def _commit(store: Store, bag: ForeignBag, patient: str, options: ImportOptions) -> Imported:
    if options.encoder is None and bag.features is not None:
        raise BadInput("BAD_OPTION", "features need the name of their encoder", key="--encoder")
    if options.encoder is not None and bag.features is None:
        hint = "leave out --encoder to import coordinates alone"
        raise BadSlide("NOT_A_BAG", "the file holds no features", key=bag.slide_id, hint=hint)
    rows, features, coords = _checked(bag)
    _commit_slide(store, bag, patient)
    tiling = Tiling(
        bag.slide_id,
        options.tiling,
        rows,
        coords,
        tile_px=bag.tile_px or options.tile_px,
        mpp=bag.mpp or options.mpp,
        tile_px_level0=bag.tile_px_level0,
        overlap=bag.overlap,
        parameters={"imported_by": bag.reader, **bag.parameters},
    )
    new = not _is_current(store, tiling, options.overwrite)
    path = schema.tiling(bag.slide_id, options.tiling)
    with store.replacing(path) if new and store.has(path) else contextlib.nullcontext(store) as place:
        if new:
            write_tiling(place, tiling)
        if features is None or options.encoder is None:
            return Imported(bag.slide_id, rows, None, coords is not None)
        made = Features(bag.slide_id, options.tiling, options.encoder, features, transform={"imported_by": bag.reader})
        write_features(place, made, overwrite=options.overwrite)
    return Imported(bag.slide_id, rows, features.shape[1], coords is not None)


def _checked(bag: ForeignBag) -> tuple[int, np.ndarray | None, np.ndarray | None]:
    """Rows, features float16 (N, P) and coords int32 (N, 2), in raster order."""
    given = [array for array in (bag.features, bag.coords, bag.rank) if array is not None]
    if len({len(array) for array in given}) != 1:
        got, message = " and ".join(str(len(array)) for array in given), "features and coordinates differ in rows"
        raise BadSlide("MISMATCH", message, key=bag.slide_id, got=got, hint=_TILE_AGAIN)
    order = np.arange(len(given[0]))
    place = bag.coords if bag.coords is not None else bag.rank
    if place is not None:
        if place.ndim != 2 or place.shape[1] != 2 or not np.isfinite(place).all():
            raise BadSlide("BAD_VALUE", "coordinates must be finite (N, 2)", key=bag.slide_id, hint=_TILE_AGAIN)
        order = np.lexsort((place[:, 0], place[:, 1]))  # by y, then x
    coords = None
    if bag.coords is not None:
        if bag.coords.size and (bag.coords.min() < 0 or bag.coords.max() > np.iinfo(np.int32).max):
            raise BadSlide("BAD_VALUE", "coordinates lie outside any slide", key=bag.slide_id, hint=_TILE_AGAIN)
        coords = np.ascontiguousarray(np.rint(bag.coords[order]).astype(np.int32))
    return len(order), None if bag.features is None else _half(bag.features, bag.slide_id)[order], coords


def _half(features: np.ndarray, slide_id: str) -> np.ndarray:
    """float16, refusing what it cannot hold."""
    if features.ndim != 2 or features.dtype.kind != "f" or not features.shape[1]:
        got = f"{features.dtype} {features.shape}"
        raise BadSlide("BAD_VALUE", "features must be floats (N, P)", key=slide_id, got=got, hint=_TILE_AGAIN)
    with np.errstate(over="ignore"):
        half = features.astype(np.float16)
    bad = int((~np.isfinite(half)).sum())
    if bad:
        message = "features are NaN, infinite, or too large for float16"
        got = f"{bad} of {half.size} values"
        raise BadSlide("BAD_VALUE", message, key=slide_id, got=got, hint=_TILE_AGAIN)
    return half


def _commit_slide(store: Store, bag: ForeignBag, patient: str) -> None:
    path = schema.slide(bag.slide_id)
    if store.has(path):
        known = store.document(path).attributes["patient_id"]
        if known != patient:
            hint = "correct the --slides-table, or import into another store"
            raise BadSlide("CONFLICT", "the store has this slide of another patient", key=bag.slide_id, hint=hint)
        return
    source = "stated" if bag.slide_mpp else None
    write_slide(store, Slide(bag.slide_id, patient, bag.slide_size, bag.slide_mpp, source, bag.reader))


def _is_current(store: Store, tiling: Tiling, overwrite: bool) -> bool:
    """Whether the store has this tiling; another one of its name counts as absent if it may be replaced."""
    path = schema.tiling(tiling.slide_id, tiling.name)
    if not store.has(path):
        return False
    known = read_tiling(store, tiling.slide_id, tiling.name)
    mine, theirs = tiling.coords, known.coords
    same = mine is theirs if mine is None or theirs is None else np.array_equal(mine, theirs)
    if known.rows == tiling.rows and same:
        return True
    if not overwrite:
        raise StoreError(
            "MISMATCH",
            "the store has another tiling of this name for the slide",
            key=path,
            hint="choose another --tiling, or --overwrite it with all features on it",
        )
    return False
