"""Where on a slide to cut tiles, as a person drew it in QuPath and exported it as GeoJSON.

Read are a FeatureCollection, a list of features, one feature, or a bare geometry, from QuPath 0.2 on; likewise the
contours that other software writes in this form. Only polygons count, and of QuPath's objects only annotations; the
rest is passed over with a count. Coordinates are level-0 pixels, x then y.

QuPath marks by an asterisk what is not to be measured ("Ignore*", "Artefact*"): such areas are left out of the others.
"Region*", which merely frames an area, is the exception. Where a file holds nothing but areas to leave out, the whole
slide but these is meant.

Where a slide states bounds (MIRAX, some DICOM), QuPath shows and counts from the bounds alone: see `qupath_origin`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirror_data import ids
from mirror_data.errors import BadInput, BadSlide, some
from mirror_data.slides.geojson import Shape, read_shapes
from mirror_data.slides.polygons import Polygon, filled

SUFFIXES = (".geojson", ".json")
FRAME = "region*"  # QuPath's own class with an asterisk that leaves nothing out


@dataclass(frozen=True)
class Regions:
    """The areas of one slide, in level-0 pixels."""

    file: str  # name
    sha256: str  # of the file
    classes: tuple[str, ...]  # the classes asked for; none: all
    taken: tuple[Shape, ...]  # none: the whole slide
    left_out: tuple[Shape, ...]
    unwanted: int  # areas of classes that were not asked for
    passed_over: int  # objects that are no annotated area: points, lines, cells, detections

    def record(self) -> dict[str, object]:
        """What decided the areas, for the attributes of a tiling."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "classes": list(self.classes),
            "taken": len(self.taken),
            "left_out": len(self.left_out),
            "unwanted": self.unwanted,
            "passed_over": self.passed_over,
        }


def check_place(place: Path, slides: int) -> None:
    """Refuse a ``--regions`` that cannot serve, before any slide is read.

    Args:
        place: a folder, or the file of one slide.
        slides: how many are to be tiled.

    Raises:
        BadInput: ``NOT_FOUND``, or ``BAD_OPTION`` for one file and several slides.
    """
    if not place.exists():
        raise BadInput("NOT_FOUND", "there is no such file or folder", file=place, key="--regions")
    if not place.is_dir() and slides != 1:
        hint = "name a folder that holds one file a slide, called like the slide and ending in .geojson"
        raise BadInput("BAD_OPTION", "one file cannot stand for several slides", file=place, key="--regions", hint=hint)


def regions_of(
    place: Path,
    slide_id: str,
    size: tuple[int, int],
    *,
    classes: Sequence[str] = (),
    origin: tuple[int, int] = (0, 0),
) -> Regions:
    """The areas of a slide.

    Args:
        place: its file, or a folder in which a file is called like the slide.
        size: width and height of the slide in level-0 pixels.
        classes: take these alone. A class is meant by its full name ("Tumor: Positive") or by its first part; one that
            is named is taken even if QuPath would ignore it.
        origin: level-0 pixel that the file counts from (`qupath_origin`).

    Raises:
        BadSlide: ``NOT_FOUND`` if the slide has no file, ``DUPLICATE_ID`` if it has two, ``UNREADABLE``,
            ``BAD_REGIONS`` if the file holds no usable area or none of the classes, ``OFF_SLIDE`` if all areas lie
            beyond the slide.
    """
    path = _file_of(place, slide_id) if place.is_dir() else place
    content = read_shapes(path, origin)
    wanted = tuple(classes)
    taken, left_out, unwanted = [], [], 0
    for shape in content.shapes:
        if wanted and _names(shape) & set(wanted):
            taken.append(shape)
        elif is_ignored(shape.class_name):
            left_out.append(shape)
        elif wanted:
            unwanted += 1
        else:
            taken.append(shape)
    if wanted and not taken:
        found = some(sorted({shape.class_name or "(none)" for shape in content.shapes}), 20)
        message, expected = "no area is of a class asked for", some(wanted, 20)
        hint = "spell classes as QuPath does; an area of no class is found only if no class is asked for"
        raise BadSlide("BAD_REGIONS", message, file=path, expected=expected, got=found, hint=hint)
    _check_on_slide(path, taken or left_out, size)
    digest = hashlib.sha256(content.data).hexdigest()
    return Regions(path.name, digest, wanted, tuple(taken), tuple(left_out), unwanted, content.passed_over)


def region_mask(regions: Regions, shape: tuple[int, int], mask_px_level0: float) -> np.ndarray:
    """The areas on the grid of a slide's tissue mask, uint8 (h, w), 1 = to be tiled if it is tissue.

    A pixel counts if its centre does; at 8 micrometres a pixel that is exact to 4 micrometres.

    Args:
        shape: height and width of the tissue mask.
        mask_px_level0: width of one of its pixels in level-0 pixels.
    """

    def mask_of(shapes: tuple[Shape, ...]) -> np.ndarray:
        polygons: tuple[Polygon, ...] = tuple(p.placed(1 / mask_px_level0) for s in shapes for p in s.polygons)
        return filled(polygons, shape)

    wanted = mask_of(regions.taken) if regions.taken else np.ones(shape, np.uint8)
    return wanted & ~mask_of(regions.left_out) & 1


def is_ignored(class_name: str | None) -> bool:
    """Whether QuPath leaves such a class out: its first part is "Ignore", or ends in an asterisk but is no frame."""
    first = (class_name or "").split(":")[0].strip().casefold()
    return first.startswith("ignore") or (first.endswith("*") and first != FRAME)


def qupath_origin(properties: Mapping[str, str]) -> tuple[int, int]:
    """Level-0 pixel (x, y) from which QuPath counts: the corner of the slide's bounds, (0, 0) where it states none.

    QuPath crops a slide to ``openslide.bounds-*`` unless it was opened with ``--no-crop``.
    """
    x, y = (properties.get(f"openslide.bounds-{axis}", "") for axis in "xy")
    return (int(x), int(y)) if x.isdecimal() and y.isdecimal() else (0, 0)


def _names(shape: Shape) -> set[str]:
    name = shape.class_name or ""
    return {name, name.split(":")[0].strip()}


def _file_of(folder: Path, slide_id: str) -> Path:
    """The file of a slide: called like it, like its key in the store, or with the UUID that TCGA's names have."""
    wanted = {unicodedata.normalize("NFC", slide_id), ids.to_key(slide_id)}
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    except OSError as error:
        raise BadSlide("UNREADABLE", "the folder cannot be read", file=folder, got=error.strerror) from None
    found = sorted(path for path in names if ids.slide_id(path.name) in wanted)
    if not found:
        expected = f"{slide_id}.geojson"
        hint = "add the file, or leave the slide out"
        raise BadSlide("NOT_FOUND", "the slide has no file of regions", file=folder, expected=expected, hint=hint)
    if len(found) > 1:
        got = some([path.name for path in found])
        raise BadSlide("DUPLICATE_ID", "the slide has two files of regions", file=folder, got=got, hint="keep one")
    return found[0]


def _check_on_slide(path: Path, shapes: Sequence[Shape], size: tuple[int, int]) -> None:
    bounds = np.array([polygon.bounds() for shape in shapes for polygon in shape.polygons])
    off = (bounds[:, 2:] <= 0).any(axis=1) | (bounds[:, :2] >= size).any(axis=1)
    if off.all():
        low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
        raise BadSlide(
            "OFF_SLIDE",
            "every area lies beyond the slide",
            file=path,
            expected=f"level-0 pixels, x 0 to {size[0]} and y 0 to {size[1]}",
            got=f"x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}",
            hint="is it another slide's file, or drawn on a smaller image of it?",
        )
