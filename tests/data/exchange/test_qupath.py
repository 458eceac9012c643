"""Tissue and tiles as GeoJSON for QuPath, and the command that writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.errors import BadInput
from mirror_data.exchange.qupath import (
    ExportOptions,
    Feature,
    export_slides,
    tile_features,
    tissue_features,
    write_features,
)
from mirror_data.slides.polygons import Polygon
from mirror_data.slides.regions import region_mask, regions_of
from mirror_data.store import Slide, Tiling, create_store, write_slide, write_tiling

SIZE = (640, 480)
MASK = np.zeros((30, 40), np.uint8)
MASK[2:20, 3:30] = 1
MASK[5:9, 6:12] = 0  # a hole
MASK[24:27, 33:40] = 1
COORDS = np.array([[0, 0], [257, 0], [0, 257]], np.int32)


@pytest.fixture
def store(tmp_path):
    """Slides a (tissue, one tiling), b (tissue, no tiling), c (imported: tiles alone), d (imported, nothing known)."""
    made = create_store(tmp_path / "s.zarr")
    for name in "ab":
        write_slide(made, Slide(name, "p", SIZE, 0.5, tissue=MASK, tissue_mpp=8.0))
    for name in "cd":
        write_slide(made, Slide(name, "p", reader="import clam"))
    write_tiling(made, Tiling("a", "t", 3, COORDS, 256, 0.5, 256.513))
    write_tiling(made, Tiling("c", "t", 3, COORDS, 256, 0.5, 512.0))
    write_tiling(made, Tiling("d", "t", 3, None))
    return made


def features(path: Path) -> list[dict]:
    document = json.loads(path.read_text())
    assert document["type"] == "FeatureCollection"
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
    return document["features"]


def test_export(store, tmp_path):
    report = export_slides(store, [], ExportOptions(tmp_path / "out" / "deep"))
    assert report.exit == 3
    assert [(f.id, f.code) for f in report.failures] == [("d", "NOTHING_TO_EXPORT")]
    found = [(one.slide_id, one.file.name, one.pieces, one.tiles, one.tiling) for one in report.slides]
    assert found == [
        ("a", "a.geojson", 2, 3, "t"),
        ("b", "b.geojson", 2, 0, None),
        ("c", "c.geojson", None, 3, "t"),
    ]
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == [
        "a.geojson",
        "b.geojson",
        "c.geojson",
    ]
    written = features(report.slides[0].file)
    assert [one["properties"]["objectType"] for one in written] == ["annotation"] * 2 + ["tile"] * 3
    assert written[0]["properties"] == {
        "objectType": "annotation",
        "name": "Tissue 1",
        "classification": {"name": "Tissue", "color": [40, 160, 90]},
    }
    outer, hole = written[0]["geometry"]["coordinates"]
    assert outer == [[48, 32], [480, 32], [480, 320], [48, 320], [48, 32]]
    assert sorted(map(tuple, hole[:-1])) == [(96, 80), (96, 144), (192, 80), (192, 144)]
    assert written[3]["geometry"]["coordinates"] == [
        [[257.0, 0.0], [513.51, 0.0], [513.51, 256.51], [257.0, 256.51], [257.0, 0.0]]
    ]


def test_what_comes_back_is_the_mask(store, tmp_path):
    export_slides(store, ["a"], ExportOptions(tmp_path / "out"))
    regions = regions_of(tmp_path / "out", "a", SIZE)
    assert [shape.class_name for shape in regions.taken] == ["Tissue", "Tissue"]
    assert regions.passed_over == 3
    assert np.array_equal(region_mask(regions, MASK.shape, 16.0), MASK)


def test_a_cropped_slide(tmp_path):
    """QuPath counts from the bounds that a slide states; there and back nothing moves."""
    store = create_store(tmp_path / "s.zarr")
    source = {"qupath_origin": [32, 48]}
    write_slide(store, Slide("a", "p", SIZE, 0.5, source=source, tissue=MASK, tissue_mpp=8.0))
    write_tiling(store, Tiling("a", "t", 3, COORDS, 256, 0.5, 256.0))
    written = features(export_slides(store, ["a"], ExportOptions(tmp_path)).slides[0].file)
    assert written[0]["geometry"]["coordinates"][0][0] == [48 - 32, 32 - 48]
    assert written[2]["geometry"]["coordinates"][0][0] == [-32, -48]
    back = regions_of(tmp_path / "a.geojson", "a", SIZE, origin=(32, 48))
    assert np.array_equal(region_mask(back, MASK.shape, 16.0), MASK)


def test_one_of_several_tilings(store, tmp_path):
    write_tiling(store, Tiling("a", "u", 2, COORDS[:2], 256, 1.0, 512.0))
    report = export_slides(store, ["a", "b"], ExportOptions(tmp_path / "out"))
    assert [(f.id, f.code, f.next_step) for f in report.failures] == [
        ("a", "BAD_OPTION", "give --tiling t or u, or --no-tiles")
    ]
    assert [one.slide_id for one in report.slides] == ["b"]
    report = export_slides(store, ["a", "b"], ExportOptions(tmp_path / "two", "u"))
    assert [(one.slide_id, one.tiles) for one in report.slides] == [("a", 2)]
    assert [(f.id, f.code) for f in report.failures] == [("b", "BAD_OPTION")]
    report = export_slides(store, ["a"], ExportOptions(tmp_path / "three", tiles=False))
    assert [(one.pieces, one.tiles, one.tiling) for one in report.slides] == [(2, 0, None)]


def refused(store, slide_ids, options) -> BadInput:
    with pytest.raises(BadInput) as caught:
        export_slides(store, slide_ids, options)
    return caught.value


def test_files_that_are_there(store, tmp_path):
    folder = tmp_path / "out"
    export_slides(store, ["b"], ExportOptions(folder))
    before = (folder / "b.geojson").read_bytes()
    error = refused(store, ["a", "b"], ExportOptions(folder))
    assert (error.code, error.got) == ("EXISTS", "b.geojson")
    assert not (folder / "a.geojson").exists()
    assert len(export_slides(store, ["a", "b"], ExportOptions(folder, overwrite=True)).slides) == 2
    assert (folder / "b.geojson").read_bytes() == before  # the same bytes every time


def test_bad_places_and_ids(store, tmp_path):
    assert refused(store, ["a", "x"], ExportOptions(tmp_path / "out")).code == "NOT_FOUND"
    assert refused(create_store(tmp_path / "e.zarr"), [], ExportOptions(tmp_path / "out")).code == "EMPTY"
    assert refused(store, [], ExportOptions(tmp_path / "s.zarr" / "out")).code == "BAD_OPTION"
    assert refused(store, [], ExportOptions(tmp_path / "s.zarr")).code == "BAD_OPTION"
    (tmp_path / "file").write_text("")
    assert refused(store, [], ExportOptions(tmp_path / "file")).code == "BAD_PATH"
    assert refused(store, [], ExportOptions(tmp_path / "file" / "below")).code == "UNWRITABLE"
    assert not (tmp_path / "out").exists()


def test_names_of_files(tmp_path):
    store = create_store(tmp_path / "s.zarr")
    names = {"../a/b c": "~2e.~2fa~2fb~20c.geojson", "Fall 12, Zürich": "Fall 12, Zürich.geojson", "c": "c.geojson"}
    for slide_id in names:
        write_slide(store, Slide(slide_id, "p", SIZE, 0.5, tissue=MASK, tissue_mpp=8.0))
    report = export_slides(store, [], ExportOptions(tmp_path / "out"))
    assert {one.slide_id: one.file.name for one in report.slides} == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names.values())
    for slide_id in names:  # and each is found again
        assert len(regions_of(tmp_path / "out", slide_id, SIZE).taken) == 2


def test_half_a_file_is_never_left(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text("before")

    def broken():
        yield Feature(Polygon((np.array([[0, 0], [1, 0], [1, 1.0]]),)), "tile")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(path, broken())
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.geojson"]
    with pytest.raises(BadInput) as caught:
        write_features(tmp_path / "gone" / "a.geojson", ())
    assert caught.value.code == "UNWRITABLE"


def test_measurements_and_nothing(tmp_path):
    path = tmp_path / "a.geojson"
    weights = np.array([0.25, 0.5, 0.125], np.float32)
    assert write_features(path, tile_features(COORDS, 256.0, {"attention": weights})) == 3
    assert [one["properties"] for one in features(path)] == [
        {"objectType": "tile", "measurements": {"attention": weight}} for weight in (0.25, 0.5, 0.125)
    ]
    assert write_features(path, tissue_features(np.zeros((4, 4), np.uint8), 8.0, 0.5)) == 0
    assert features(path) == []
    with pytest.raises(ValueError, match="JSON"):
        write_features(path, tile_features(COORDS, 256.0, {"attention": weights * np.nan}))
    assert features(path) == []


def test_command(store, tmp_path, capsys):
    arguments = ["geojson", "--store", store.url, "--out", str(tmp_path / "out")]
    assert run(cli, [*arguments, "a", "c"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "a: tissue in 2 pieces, 3 tiles of t",
        "c: no tissue mask, 3 tiles of t",
        f"2 slides written to {tmp_path / 'out'}, 0 failed",
    ]
    assert run(cli, [*arguments, "a"]) == 2
    assert capsys.readouterr().err.startswith("EXISTS: ")
    assert run(cli, [*arguments, "--overwrite", "--no-tiles", "--json"]) == 3
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert [(one["slide_id"], one["pieces"], one["tiles"]) for one in told["slides"]] == [("a", 2, 0), ("b", 2, 0)]
    assert [(one["id"], one["code"]) for one in told["failures"]] == [
        ("c", "NOTHING_TO_EXPORT"),
        ("d", "NOTHING_TO_EXPORT"),
    ]
    assert "c: NOTHING_TO_EXPORT:" in shown.err
    assert run(cli, [*arguments, "d", "--tiling", "nosuch"]) == 2
    assert "give --tiling t, or --no-tiles" in capsys.readouterr().err
    assert run(cli, ["geojson", "--store", str(tmp_path / "none.zarr"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("NOT_A_STORE: ")


def test_a_real_slide_and_back(shared, tmp_path):
    from mirror_data.slides.reader import open_slide
    from mirror_data.slides.tissue import TissueParameters, find_tissue

    store = create_store(tmp_path / "s.zarr")
    with open_slide(shared / "data/slides/cmu1_small_region.svs") as reader:
        tissue = find_tissue(reader, TissueParameters())
        slide = Slide("cmu1", "p", reader.size, reader.mpp, tissue=tissue.mask, tissue_mpp=tissue.mpp)
    write_slide(store, slide)
    report = export_slides(store, ["cmu1"], ExportOptions(tmp_path))
    assert report.slides[0].pieces
    regions = regions_of(report.slides[0].file, "cmu1", reader.size)
    assert np.array_equal(region_mask(regions, tissue.mask.shape, tissue.mpp / reader.mpp), tissue.mask)
