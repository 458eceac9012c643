"""GeoJSON that a person exported from QuPath: every spelling of its versions, and every way a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides import geojson
from mirror_data.slides.regions import check_place, is_ignored, qupath_origin, region_mask, regions_of

SIZE = (160, 160)


def box(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]


def feature(*rings: list, kind: str | None = "annotation", name: str | None = None, **properties: object) -> dict:
    found = {**({} if kind is None else {"objectType": kind}), **properties}
    if name is not None:
        found["classification"] = {"name": name, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": list(rings)}, "properties": found}


def collection(*features: object) -> dict:
    return {"type": "FeatureCollection", "features": list(features)}


@pytest.fixture
def write(tmp_path):
    def make(content: object, name: str = "slide.geojson") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return make


def refused(path: Path, **options) -> BadSlide:
    with pytest.raises(BadSlide) as caught:
        regions_of(path, "slide", SIZE, **options)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(collection(feature(box(16, 32, 64, 48), name="Tumor")), id="collection"),
        pytest.param([feature(box(16, 32, 64, 48), name="Tumor")], id="list"),
        pytest.param(feature(box(16, 32, 64, 48), name="Tumor"), id="feature"),
        pytest.param(feature(box(16, 32, 64, 48), kind=None, name="Tumor"), id="no object type"),
        pytest.param(feature(box(16, 32, 64, 48)[:-1], name="Tumor"), id="not closed"),
        pytest.param(feature([[*p, 0.0] for p in box(16, 32, 64, 48)], name="Tumor"), id="with z"),
        pytest.param(
            feature(
                box(16, 32, 64, 48),
                kind=None,
                object_type="annotation",
                classification={"name": "Tumor", "colorRGB": -3670016},
                measurements=[{"name": "area", "value": 3}],
            ),
            id="QuPath 0.3",
        ),
        pytest.param(
            [feature(box(16, 32, 64, 48), kind=None, name="Tumor") | {"id": "PathAnnotationObject"}], id="QuPath 0.2"
        ),
        pytest.param(feature(box(16, 32, 64, 48), classification={"names": ["Tumor"], "color": [1, 2, 3]}), id="names"),
        pytest.param(feature(box(16, 32, 64, 48), classification="Tumor"), id="class as text"),
    ],
)
def test_every_spelling(write, content):
    regions = regions_of(write(content), "slide", SIZE)
    assert [shape.class_name for shape in regions.taken] == ["Tumor"]
    assert regions.left_out == ()
    expected = np.zeros((10, 10), np.uint8)
    expected[2:5, 1:5] = 1
    found = region_mask(regions, (10, 10), 16.0)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_several_polygons_and_holes(write):
    geometry = {
        "type": "MultiPolygon",
        "coordinates": [[box(0, 0, 64, 64), box(16, 16, 32, 32)], [box(96, 96, 32, 32)]],
    }
    shape = {"type": "Feature", "id": "7d3f0f6e", "geometry": geometry, "properties": {"name": "left lobe"}}
    for content in (shape, geometry):
        regions = regions_of(write(content), "slide", SIZE)
        mask = region_mask(regions, (10, 10), 16.0)
        assert mask.sum() == 16 - 4 + 4
        assert not mask[1:3, 1:3].any()
        assert mask[6:8, 6:8].all()
    assert [s.name for s in regions_of(write(shape), "slide", SIZE).taken] == ["left lobe"]


def test_a_pixel_counts_by_its_centre(write):
    regions = regions_of(write(feature(box(7.9, 8.1, 32, 32))), "slide", SIZE)
    assert np.argwhere(region_mask(regions, (10, 10), 16.0)).tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]


def test_ignored_classes_are_left_out(write):
    content = collection(
        feature(box(0, 0, 160, 80), name="Tumor: Positive"),
        feature(box(0, 0, 160, 160), name="Region*"),
        feature(box(0, 0, 80, 160), name="Stroma"),
        feature(box(0, 0, 32, 32), name="Ignore*"),
        feature(box(128, 0, 32, 32), name="Artefact*"),
        feature(box(64, 64, 8, 8), kind="cell"),
        feature(box(64, 64, 8, 8), kind="detection", name="Tumor"),
        feature(box(64, 64, 8, 8), kind="tile"),
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [3, 4]}, "properties": {}},
        {"type": "Feature", "geometry": None, "properties": None},
    )
    path = write(content)
    everything = regions_of(path, "slide", SIZE)
    assert [len(everything.taken), len(everything.left_out), everything.passed_over] == [3, 2, 5]
    assert region_mask(everything, (10, 10), 16.0).sum() == 100 - 8
    tumour = regions_of(path, "slide", SIZE, classes=["Tumor"])
    assert (len(tumour.taken), tumour.unwanted) == (1, 2)
    assert region_mask(tumour, (10, 10), 16.0).sum() == 50 - 8
    assert tumour.record() == {
        "file": "slide.geojson",
        "sha256": tumour.sha256,
        "classes": ["Tumor"],
        "taken": 1,
        "left_out": 2,
        "unwanted": 2,
        "passed_over": 5,
    }
    assert regions_of(path, "slide", SIZE, classes=["Tumor: Positive", "Stroma"]).unwanted == 1
    named = regions_of(path, "slide", SIZE, classes=["Artefact*"])  # by name even an ignored class is taken
    assert region_mask(named, (10, 10), 16.0).sum() == 4


def test_areas_to_leave_out_alone_mean_the_rest_of_the_slide(write):
    regions = regions_of(write(feature(box(0, 0, 32, 32), name="Ignore*")), "slide", SIZE)
    assert regions.taken == ()
    assert region_mask(regions, (10, 10), 16.0).sum() == 96


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("Ignore*", True),
        ("ignore", True),
        ("Ignored by pathologist", True),
        ("Artefact*", True),
        ("Background*: Faint", True),
        ("Region*", False),
        ("Tumor", False),
        ("Tumor: Ignore*", False),
        (None, False),
    ],
)
def test_is_ignored(name, ignored):
    assert is_ignored(name) is ignored


def test_files_of_a_folder(write, tmp_path):
    folder = tmp_path / "regions"
    tcga = "TCGA-3C-AALI-01Z-00-DX1"
    for name in ("a.geojson", f"{tcga}.F6E9-D8FB.json", "Zu\u0308rich.geojson", "my~20slide.geojson", ".b.geojson"):
        write(feature(box(0, 0, 16, 16)), f"regions/{name}")
    write("x", "regions/c.txt")
    for slide_id in ("a", tcga, "Z\u00fcrich", "my slide"):
        assert len(regions_of(folder, slide_id, SIZE).taken) == 1
    for slide_id in ("b", "c"):
        with pytest.raises(BadSlide) as caught:
            regions_of(folder, slide_id, SIZE)
        assert (caught.value.code, caught.value.expected) == ("NOT_FOUND", f"{slide_id}.geojson")
    write(feature(box(0, 0, 16, 16)), "regions/a.json")
    with pytest.raises(BadSlide) as caught:
        regions_of(folder, "a", SIZE)
    assert (caught.value.code, caught.value.got) == ("DUPLICATE_ID", "a.geojson, a.json")


def test_place(write, tmp_path):
    path = write(feature(box(0, 0, 16, 16)))
    check_place(path, 1)
    check_place(tmp_path, 30)
    for place, slides, code in ((path, 2, "BAD_OPTION"), (tmp_path / "gone", 1, "NOT_FOUND")):
        with pytest.raises(BadInput) as caught:
            check_place(place, slides)
        assert (caught.value.code, caught.value.key) == (code, "--regions")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"type": "FeatureCollection", "features": [', "not JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        (b"PK\x03\x04", "compressed"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "too long"),
        ("{}", "not GeoJSON"),
        ("3", "not GeoJSON"),
        ({"type": "FeatureCollection"}, "not GeoJSON"),
        ({"type": "FeatureCollection", "features": {}}, "not GeoJSON"),
        (collection(), "no annotated area"),
        (collection(feature(box(0, 0, 9, 9), kind="cell")), "no annotated area"),
        (feature(), "no annotated area"),
        ([3], "not a GeoJSON feature"),
        ([{"type": "Feature", "geometry": [1]}], "must be objects"),
        ([{"type": "Feature", "geometry": None, "properties": 3}], "must be objects"),
        (feature(box(0, 0, 9, 9), classification={"name": 3}), "name of a class"),
        (feature([[0, 0], [1, 1]]), "three points"),
        (feature([[0, 0], [1, 1], [0, 0]]), "three points"),
        (feature([[0], [1], [2]]), "list of points"),
        (feature([[0, 1], [1], [2, 2]]), "list of points"),
        (feature([["0", "1"], ["1", "2"], ["2", "2"]]), "list of points"),
        (feature([[0, 1], [None, 2], [2, 2]]), "list of points"),
        (feature([[0, 1], [10**30, 2], [2, 2]]), "list of points"),
        (feature([[0, 1], [1e12, 2], [2, 2]]), "cannot be that of a pixel"),
        (feature([]), "list of points"),
        ({"type": "Polygon", "coordinates": 3}, "list of rings"),
        ({"type": "MultiPolygon", "coordinates": {}}, "list of polygons"),
        ('{"type": "Polygon", "coordinates": [[[0, NaN], [1, 2], [2, 2]]]}', "not finite"),
        ('{"type": "Polygon", "coordinates": [[[0, -Infinity], [1, 2], [2, 2]]]}', "not finite"),
    ],
)
def test_files_that_cannot_be_used(write, content, message):
    path = write(content)
    error = refused(path)
    assert (error.code, error.file) == ("BAD_REGIONS", str(path))
    assert message in error.message


def test_numbers_beyond_floating_point(write):
    error = refused(write('{"type": "Polygon", "coordinates": [[[0, 1e999], [1, 2], [2, 2]]]}'))
    assert (error.code, error.key) == ("BAD_REGIONS", "feature 0")


def test_files_that_cannot_be_read(write, tmp_path, monkeypatch):
    assert refused(tmp_path / "gone.geojson").code == "NOT_FOUND"
    monkeypatch.setattr(geojson, "MOST_BYTES", 100)
    error = refused(write(collection(feature(box(0, 0, 16, 16)))))
    assert (error.code, error.message) == ("BAD_REGIONS", "the file of regions is too large")


def test_the_place_of_what_is_wrong(write):
    path = write(collection(feature(box(0, 0, 9, 9)), feature([[0, 0], [1, 1]])))
    assert refused(path).key == "feature 1"


def test_no_area_of_a_class(write):
    error = refused(write(collection(feature(box(0, 0, 9, 9), name="Tumor"))), classes=["Stroma"])
    assert (error.code, error.expected, error.got) == ("BAD_REGIONS", "Stroma", "Tumor")


def test_areas_beyond_the_slide(write):
    beyond = feature(box(200, 10, 30, 30))
    error = refused(write(collection(beyond, feature(box(10, -40, 30, 40)))))
    assert error.code == "OFF_SLIDE"
    assert error.got == "x 10 to 230, y -40 to 40"
    some = regions_of(write(collection(beyond, feature(box(150, 150, 30, 30)))), "slide", SIZE)
    assert region_mask(some, (10, 10), 16.0).sum() == 1
    moved = regions_of(write(beyond), "slide", (400, 400), origin=(-200, 6))
    assert moved.taken[0].polygons[0].bounds() == (0, 16, 30, 46)


def test_bounds_of_a_slide():
    assert qupath_origin({"openslide.bounds-x": "32752", "openslide.bounds-y": "109084"}) == (32752, 109084)
    assert qupath_origin({}) == qupath_origin({"openslide.bounds-x": "-3", "openslide.bounds-y": "a"}) == (0, 0)
