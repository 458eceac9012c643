"""Tissue and tiles of a slide as GeoJSON that QuPath opens (File > Import objects from file, or dropped on the slide).

The structure is that of RFC 7946, but coordinates are pixels of the slide's level 0, x to the right and y down, which
is what QuPath counts in. Each piece of tissue is one annotation of class "Tissue" that follows the mask's pixels with
its holes; each tile is one object of type "tile", which may carry measurements. A file that comes back as
``--regions`` gives the mask it was made from. Field names are those QuPath writes since 0.4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Literal

import numpy as np

from mirror_data import ids
from mirror_data.errors import BadInput, BadSlide, Exit, some
from mirror_data.progress import progress
from mirror_data.runner import Failure, Result, run_units
from mirror_data.slides.polygons import Polygon, outlines
from mirror_data.store import Slide, Store, Tiling, read_slide, read_tiling, schema
from mirror_data.whole import unwritable, whole_text

TISSUE = "Tissue"
TISSUE_COLOR = (40, 160, 90)
MOST_NAME_BYTES = 120
DECIMALS = 2  # of a coordinate: 1/100 of a level-0 pixel


@dataclass(frozen=True)
class Feature:
    """One object of QuPath's."""

    polygon: Polygon  # in pixels as QuPath counts them
    object_type: Literal["annotation", "tile"]
    class_name: str | None = None
    color: tuple[int, int, int] | None = None  # of the class: red, green, blue
    name: str | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> str:
        """The feature on one line."""
        properties: dict[str, object] = {"objectType": self.object_type}
        if self.name is not None:
            properties["name"] = self.name
        if self.class_name is not None:
            color = {} if self.color is None else {"color": self.color}
            properties["classification"] = {"name": self.class_name, **color}
        if self.measurements:
            properties["measurements"] = dict(self.measurements)
        coordinates = [_closed(ring) for ring in self.polygon.rings]
        geometry = {"type": "Polygon", "coordinates": coordinates}
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        return json.dumps(feature, separators=(",", ":"), allow_nan=False)


def _closed(ring: np.ndarray) -> list[list[float]]:
    """Points of a ring, the first one repeated at the end; whole numbers without a point."""
    rounded = np.round(np.vstack([ring, ring[:1]]), DECIMALS)
    whole = np.rint(rounded)
    return (whole.astype(np.int64) if (whole == rounded).all() else rounded).tolist()


def tissue_features(
    mask: np.ndarray, mask_mpp: float, slide_mpp: float, origin: tuple[int, int] = (0, 0)
) -> Iterator[Feature]:
    """One annotation a piece of tissue, in raster order.

    Args:
        mask: uint8 (h, w), 1 = tissue, starting at the slide's top left.
        mask_mpp: its micrometres per pixel.
        slide_mpp: micrometres per level-0 pixel.
        origin: level-0 pixel (x, y) from which QuPath counts (`mirror_data.slides.regions.qupath_origin`).
    """
    shift = (-origin[0], -origin[1])
    for number, piece in enumerate(outlines(mask), start=1):
        polygon = piece.placed(mask_mpp / slide_mpp, shift)
        yield Feature(polygon, "annotation", TISSUE, TISSUE_COLOR, f"{TISSUE} {number}")


def tile_features(
    coords: np.ndarray,
    tile_px_level0: float,
    measurements: Mapping[str, np.ndarray] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Iterator[Feature]:
    """One tile object a tile, in order.

    Args:
        coords: int32 (N, 2), x and y of the top left in level-0 pixels.
        tile_px_level0: width of a tile in level-0 pixels.
        measurements: by name, one finite number a tile, (N,): attention, for example.
        origin: level-0 pixel (x, y) from which QuPath counts.
    """
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * tile_px_level0 - np.asarray(origin)
    columns = {name: values.tolist() for name, values in (measurements or {}).items()}
    for row, place in enumerate(coords):
        measured = {name: values[row] for name, values in columns.items()}
        yield Feature(Polygon((place + corners,)), "tile", measurements=measured)


def write_features(path: Path, features: Iterable[Feature]) -> int:
    """Write a FeatureCollection, feature by feature; the file appears whole or not at all. Returns how many.

    Raises:
        BadInput: ``UNWRITABLE``.
    """
    with whole_text(path) as file:
        return _write(file, features)


def _write(file: IO[str], features: Iterable[Feature]) -> int:
    count = 0
    file.write('{"type":"FeatureCollection","features":[')
    for count, feature in enumerate(features, start=1):
        file.write(("\n" if count == 1 else ",\n") + feature.as_json())
    file.write("\n]}\n")
    return count


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and where to."""

    folder: Path
    tiling: str | None = None  # may be left out where a slide has one tiling
    tiles: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """The file of one slide."""

    slide_id: str
    file: Path
    pieces: int | None  # of tissue; None: the store has no tissue mask of the slide
    tiles: int
    tiling: str | None


@dataclass(frozen=True)
class ExportReport:
    """What became of the slides, each in the order of their ids."""

    slides: tuple[Exported, ...]
    failures: tuple[Failure, ...]
    exit: int


def export_slides(store: Store, slide_ids: Sequence[str], options: ExportOptions) -> ExportReport:
    """Write SLIDE_ID.geojson of each slide; a slide that cannot be exported costs itself alone.

    Args:
        slide_ids: none for all slides of the store.

    Raises:
        BadInput: ``EMPTY`` store, ``NOT_FOUND`` for an unknown slide, ``BAD_OPTION`` for a folder inside the store,
            ``EXISTS`` if a file is there and may not be replaced, ``UNWRITABLE``; nothing was written then.
    """
    chosen = _chosen(store, slide_ids)
    _prepare(store, chosen, options)
    with progress("geojson", len(chosen), "slides") as bar:
        results: list[Result[Exported]] = run_units(
            lambda slide_id: export_slide(store, slide_id, options),
            chosen,
            name=lambda slide_id: slide_id,
            done=lambda result: bar.advance(),
        )
    done = tuple(result.outcome for result in results if result.outcome is not None)
    failures = tuple(result.failure for result in results if result.failure is not None)
    if not failures:
        return ExportReport(done, failures, Exit.OK)
    return ExportReport(done, failures, Exit.SOME_FAILED if done else max(result.exit for result in results))


def export_slide(store: Store, slide_id: str, options: ExportOptions) -> Exported:
    """Write one slide's file.

    Raises:
        BadInput: ``BAD_OPTION`` if the slide has several tilings or not the one asked for; ``UNWRITABLE``.
        BadSlide: ``NOTHING_TO_EXPORT`` if the store has neither its tissue nor the places of its tiles.
    """
    slide = read_slide(store, slide_id)
    tiling = _tiling_of(store, slide, options.tiling) if options.tiles else None
    x, y = slide.source.get("qupath_origin", (0, 0))
    tissue = _tissue_of(slide, (int(x), int(y)))
    tiles = None if tiling is None else _tiles_of(tiling, (int(x), int(y)))
    if tissue is None and tiles is None:
        missing = "neither a tissue mask nor the places of tiles" if options.tiles else "no tissue mask"
        hint = (
            "run `mirror-data tile` on the slide; imported bags have no tissue, and places only where they were known"
        )
        raise BadSlide("NOTHING_TO_EXPORT", f"the store has {missing} of this slide", key=slide_id, hint=hint)
    path = _file_of(options.folder, slide_id)
    pieces = len(tissue or ())
    count = write_features(path, chain(tissue or (), tiles or ()))
    name = tiling.name if tiling is not None and tiles is not None else None
    return Exported(slide_id, path, None if tissue is None else pieces, count - pieces, name)


def _tissue_of(slide: Slide, origin: tuple[int, int]) -> list[Feature] | None:
    if slide.tissue is None or slide.tissue_mpp is None or slide.mpp is None:
        return None
    return list(tissue_features(slide.tissue, slide.tissue_mpp, slide.mpp, origin))


def _tiles_of(tiling: Tiling, origin: tuple[int, int]) -> Iterator[Feature] | None:
    if tiling.coords is None or tiling.tile_px_level0 is None:
        return None
    return tile_features(tiling.coords, tiling.tile_px_level0, origin=origin)


def _tiling_of(store: Store, slide: Slide, wanted: str | None) -> Tiling | None:
    """The slide's tiling of that name, or its only one; None if it has none and none was asked for."""
    container = f"{schema.slide(slide.slide_id)}/tilings"
    names = sorted(str(store.document(f"{container}/{key}").attributes["name"]) for key in store.keys(container))
    if wanted is None and len(names) < 2:
        return read_tiling(store, slide.slide_id, names[0]) if names else None
    if wanted in names:
        return read_tiling(store, slide.slide_id, wanted)
    message = "the slide has several tilings" if wanted is None else "the slide has no such tiling"
    hint = f"give --tiling {' or '.join(names)}, or --no-tiles" if names else "give --no-tiles: the slide has no tiling"
    raise BadInput("BAD_OPTION", message, key="--tiling", got=wanted, hint=hint)


def _chosen(store: Store, slide_ids: Sequence[str]) -> list[str]:
    """Ids of the slides to export, sorted."""
    if slide_ids:
        unknown = sorted({one for one in slide_ids if not store.has(schema.slide(one))})
        if unknown:
            message = f"{len(unknown)} of the slides are not in the store"
            hint = "give slide ids: names of slide files without their ending"
            raise BadInput("NOT_FOUND", message, file=store.url, key="SLIDE_ID", got=some(unknown), hint=hint)
        keys = {ids.to_key(one) for one in slide_ids}
    else:
        keys = set(store.keys("slides"))
    if not keys:
        raise BadInput("EMPTY", "the store holds no slides", file=store.url, hint="fill it with `mirror-data tile`")
    return sorted(str(store.document(f"slides/{key}").attributes["slide_id"]) for key in keys)


def _prepare(store: Store, slide_ids: Sequence[str], options: ExportOptions) -> None:
    """Make the folder, and refuse what could not end well."""
    folder = options.folder
    if "://" not in store.url:
        place, inside = folder.resolve(), Path(store.url).resolve()
        if place == inside or inside in place.parents:
            raise BadInput("BAD_OPTION", "the files must lie outside the store", file=folder, key="--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadInput("BAD_PATH", "this is a file, a folder was expected", file=folder, key="--out") from None
    except OSError as error:
        raise unwritable(folder, error) from error
    there = [path.name for one in slide_ids if (path := _file_of(folder, one)).exists()]
    if there and not options.overwrite:
        hint = "use --overwrite to replace them, or another --out"
        raise BadInput("EXISTS", f"{len(there)} of the files are there", file=folder, got=some(there), hint=hint)


def _file_of(folder: Path, slide_id: str) -> Path:
    """The file of a slide: its id as it stands, with spaces; the store's key where that cannot be a file name."""
    plain = slide_id.isprintable() and not set(slide_id) & set('/\\:*?"<>|') and slide_id[0] != "."
    name = slide_id if plain and len(slide_id.encode()) <= MOST_NAME_BYTES else ids.to_key(slide_id)
    return folder / f"{name}.geojson"
