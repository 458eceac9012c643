"""GeoJSON as QuPath reads and writes it: the areas in a file.

The structure is that of RFC 7946. Its coordinates are not: they are pixels of the slide's level 0, x to the right and y
down from the top left, instead of degrees. QuPath's own fields stand in ``properties``:

    objectType      annotation, tile, detection, cell, ...; until 0.3 object_type, until 0.2 the feature's id
    classification  {"name": ..., "color": [r, g, b]}; derived classes as "names": [...]; until 0.3 with colorRGB
    name            of this object
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mirror_data.errors import BadSlide
from mirror_data.slides.polygons import Polygon

MOST_BYTES = 128 * 2**20  # a parsed file takes ten times as much memory
MOST_COORDINATE = 2.0**31
ANNOTATIONS = ("annotation", "tmacore", "tma_core")  # QuPath's objects that are areas a person drew


@dataclass(frozen=True)
class Shape:
    """One feature: an area of one or several polygons, in level-0 pixels."""

    polygons: tuple[Polygon, ...]
    class_name: str | None
    name: str | None


@dataclass(frozen=True)
class Content:
    """What a file holds."""

    data: bytes
    shapes: tuple[Shape, ...]  # at least one
    passed_over: int  # features that are no annotated area


def read_shapes(path: Path, origin: tuple[int, int] = (0, 0)) -> Content:
    """The annotated areas of a file.

    Args:
        origin: level-0 pixel (x, y) that the file counts from.

    Raises:
        BadSlide: ``NOT_FOUND``, ``UNREADABLE``, ``BAD_REGIONS``.
    """
    data = _bytes_of(path)
    shapes, passed_over = [], 0
    for number, feature in enumerate(_features(path, _parsed(path, data))):
        shape = _shape_of(_Feature(path, number, feature), origin)
        if shape is None:
            passed_over += 1
        else:
            shapes.append(shape)
    if not shapes:
        got = f"{passed_over} points, lines, cells, tiles or detections" if passed_over else "no features"
        hint = "export annotations that are areas"
        _refuse(path, "the file holds no annotated area", got=got, hint=hint)
    return Content(data, tuple(shapes), passed_over)


def _refuse(
    path: Path, message: str, *, key: str | None = None, expected: object = None, got: object = None, hint: str = ""
) -> NoReturn:
    hint = hint or "export the annotations again as GeoJSON, not compressed"
    raise BadSlide("BAD_REGIONS", message, file=path, key=key, expected=expected, got=got, hint=hint)


def _bytes_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            hint = "export the areas alone, without cells and detections"
            expected = f"at most {MOST_BYTES >> 20} MB"
            _refuse(path, "the file of regions is too large", expected=expected, got=f"{size >> 20} MB", hint=hint)
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadSlide("NOT_FOUND", "there is no such file of regions", file=path, hint="check the path") from None
    except OSError as error:
        hint = "check its permissions"
        raise BadSlide("UNREADABLE", "the file cannot be read", file=path, got=error.strerror, hint=hint) from None
    if data[:2] in (b"\x1f\x8b", b"PK"):
        _refuse(path, "the file of regions is compressed", hint="unpack it, or export it without compression")
    return data


def _parsed(path: Path, data: bytes) -> Any:
    def constant(text: str) -> NoReturn:
        _refuse(path, "a number in the file is not finite", got=text)

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=constant)
    except UnicodeDecodeError:
        _refuse(path, "the file of regions is not UTF-8 text")
    except RecursionError:
        _refuse(path, "the file of regions is nested too deeply to be GeoJSON")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        _refuse(path, f"the file of regions is not JSON: {error.msg}", key=place)
    except ValueError:  # a number of more digits than Python reads
        _refuse(path, "a number in the file of regions is too long")


def _features(path: Path, parsed: Any) -> list[Any]:
    kind = parsed.get("type") if isinstance(parsed, dict) else None
    if isinstance(parsed, list):
        return parsed
    if kind == "FeatureCollection" and isinstance(parsed.get("features"), list):
        return parsed["features"]
    if kind == "Feature":
        return [parsed]
    if kind in ("Polygon", "MultiPolygon"):
        return [{"type": "Feature", "geometry": parsed}]
    expected = "a GeoJSON FeatureCollection, Feature, list of features, Polygon or MultiPolygon"
    return _refuse(path, "the file of regions is JSON but not GeoJSON", expected=expected)


@dataclass(frozen=True)
class _Feature:
    """A feature as parsed, and where it stands."""

    path: Path
    number: int
    value: Any

    def refuse(self, message: str, *, expected: object = None, got: object = None) -> NoReturn:
        _refuse(self.path, message, key=f"feature {self.number}", expected=expected, got=got)


def _shape_of(feature: _Feature, origin: tuple[int, int]) -> Shape | None:
    """The area of a feature; None if it is none, or not drawn by a person."""
    value = feature.value
    geometry = value.get("geometry") if isinstance(value, dict) else None
    properties = value.get("properties") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("type") != "Feature":
        feature.refuse("not a GeoJSON feature")
    if not isinstance(geometry, dict | None) or not isinstance(properties, dict | None):
        feature.refuse("geometry and properties must be objects or null")
    properties = properties or {}
    if geometry is None or not _is_annotation(value.get("id"), properties):
        return None
    coordinates = geometry.get("coordinates")
    if geometry.get("type") == "Polygon":
        coordinates = [coordinates]
    elif geometry.get("type") != "MultiPolygon":
        return None
    if not isinstance(coordinates, list):
        feature.refuse("a MultiPolygon needs a list of polygons")
    polygons = tuple(Polygon(rings) for polygon in coordinates if (rings := tuple(_rings(feature, polygon, origin))))
    if not polygons:
        return None
    name = properties.get("name")
    return Shape(polygons, _class_name(feature, properties), name if isinstance(name, str) else None)


def _is_annotation(identity: Any, properties: dict[str, Any]) -> bool:
    kind = properties.get("objectType", properties.get("object_type"))
    if kind is None:  # QuPath until 0.2 wrote PathCellObject and the like as id
        kind = identity if isinstance(identity, str) and identity.startswith("Path") else "annotation"
    plain = str(kind).casefold().removeprefix("path").removesuffix("object")
    return plain in ANNOTATIONS


def _class_name(feature: _Feature, properties: dict[str, Any]) -> str | None:
    found = properties.get("classification")
    if isinstance(found, dict):
        names = found.get("names")
        found = ": ".join(map(str, names)) if isinstance(names, list) else found.get("name")
    if found is not None and not isinstance(found, str):
        feature.refuse("the name of a class is not text")
    return found or None


def _rings(feature: _Feature, polygon: Any, origin: tuple[int, int]) -> Iterator[np.ndarray]:
    """Rings of a polygon without their closing point, float64 (n, 2)."""
    if not isinstance(polygon, list):
        feature.refuse("a polygon needs a list of rings")
    for ring in polygon:
        try:
            points = np.array(ring)
        except ValueError:  # lists of unequal lengths
            points = np.array(None)
        if points.ndim != 2 or points.shape[1] < 2 or points.dtype.kind not in "iuf":
            feature.refuse("a ring must be a list of points [x, y]")
        points = points[:, :2].astype(np.float64)
        if not (np.abs(points) < MOST_COORDINATE).all():
            feature.refuse("a coordinate cannot be that of a pixel", expected=f"below {MOST_COORDINATE:g}")
        if (points[0] == points[-1]).all():
            points = points[:-1]
        if len(points) < 3:
            feature.refuse("a ring needs three points", got=len(points))
        yield points + origin
