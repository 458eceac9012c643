"""Heatmaps as files: what the GeoJSON and the PNG hold, the command, and what is refused."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.errors import BadInput
from mirror_data.slides.geojson import read_shapes
from mirror_data.store import Slide, Store
from mirror_data.whole import write_whole
from mirror_eval.attention_features import attention_features
from mirror_eval.cli.main import cli
from mirror_eval.heatmaps import HeatmapOptions, write_heatmaps
from PIL import Image

from tests.eval.attention_store import GRID, PALE, SIZE, TOP, WEIGHTS, attention_of, make_store

RANKS = [12, 11, 9, 8, 7, 6, 5, 4, 1, 3, 2, 10]
OPACITY = 0.7


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("attention") / "cohort.zarr")


@pytest.fixture(scope="module")
def written(store, tmp_path_factory) -> Path:
    """A folder with the heatmaps of every slide that can have one."""
    folder = tmp_path_factory.mktemp("heatmaps")
    write_heatmaps(store, "r", ["A", "B", "C", "D", "../../x"], HeatmapOptions(folder))
    return folder


@pytest.fixture
def told(capsys):
    """Run a command line: exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run(cli, ["heatmap", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return int(status), out, err

    return call


def check_geojson(path: Path) -> list[dict]:
    """The features of a file, each of them as RFC 7946 and QuPath have it."""
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert set(document) == {"type", "features"}
    assert document["type"] == "FeatureCollection"
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        x, y = np.array(ring[:-1]).T
        assert (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == 256 * 256  # its area: a square, not crossed
        assert set(feature["properties"]) <= {"objectType", "name", "classification", "measurements"}
        measurements = feature["properties"]["measurements"]
        assert all(isinstance(name, str) and isinstance(value, int | float) for name, value in measurements.items())
    return document["features"]


def test_geojson_holds_every_tile_with_its_measurements(written):
    features = check_geojson(written / "A-attention.geojson")
    tiles = [one for one in features if one["properties"]["objectType"] == "tile"]
    assert len(tiles) == 12
    corners = [one["geometry"]["coordinates"][0] for one in tiles]
    assert [ring[0] for ring in corners] == GRID.tolist()
    assert corners[5] == [[320, 576], [576, 576], [576, 832], [320, 832], [320, 576]]
    measured = [one["properties"]["measurements"] for one in tiles]
    assert [one["attention"] for one in measured] == pytest.approx(WEIGHTS.tolist())
    assert sum(one["attention"] for one in measured) == pytest.approx(1, abs=1e-6)
    assert [one["attention_rank"] for one in measured] == RANKS
    assert [one["attention_times_even_share"] for one in measured] == pytest.approx((WEIGHTS * 12).tolist())
    assert measured[8]["attention_percentile"] == 95.833
    assert measured[2]["attention_percentile"] == measured[11]["attention_percentile"] == 25.0


def test_geojson_names_the_top_tiles(written):
    features = check_geojson(written / "A-attention.geojson")
    marks = [one for one in features if one["properties"]["objectType"] == "annotation"]
    assert [one["properties"]["name"] for one in marks] == [f"Attention {k}" for k in range(1, 7)]
    assert [one["geometry"]["coordinates"][0][0] for one in marks] == GRID[list(TOP)].tolist()
    assert [one["properties"]["measurements"]["attention_rank"] for one in marks] == [1, 2, 3, 4, 5, 6]
    assert marks[0]["properties"]["classification"] == {"name": "Attention", "color": [253, 231, 37]}


def test_another_reader_finds_the_marks(written):
    """mirror-data's reader of what QuPath exports: annotations are areas, tile objects are passed over."""
    content = read_shapes(written / "A-attention.geojson")
    assert content.passed_over == 12
    assert [shape.name for shape in content.shapes] == [f"Attention {k}" for k in range(1, 7)]
    assert content.shapes[0].polygons[0].bounds() == (0, 832, 256, 1088)


def test_a_slide_that_qupath_crops():
    slide = Slide("A", "a", SIZE, 0.5, source={"qupath_origin": [100, 50]})
    first, *_ = attention_features(attention_of(WEIGHTS, slide, GRID, 256.0), 2)
    assert first.polygon.bounds() == (-100, 270, 156, 526)


def test_tiles_that_were_not_weighed_are_left_out():
    weighed = WEIGHTS > 0.05
    shown = attention_of(WEIGHTS * weighed, Slide("A", "a", SIZE, 0.5), GRID, 256.0, weighed)
    features = list(attention_features(shown, 3))
    assert [one.object_type for one in features] == ["tile"] * 6 + ["annotation"] * 3
    assert [one.measurements["attention_rank"] for one in features[:6]] == [6, 5, 4, 1, 3, 2]


def colour_at(picture: np.ndarray, box: tuple[int, int, int, int], at: tuple[float, float]) -> np.ndarray:
    """Colour of a PNG at a level-0 pixel of the slide."""
    left, top, width, height = box
    return picture[round(top + at[1] / SIZE[1] * height), round(left + at[0] / SIZE[0] * width), :3]


def test_png_shows_percentiles_where_the_tiles_are(store, tmp_path):
    (shown,) = write_heatmaps(store, "r", ["A"], HeatmapOptions(tmp_path)).slides
    assert shown.png is not None
    assert shown.map_px is not None
    with Image.open(shown.png) as image:
        assert image.format == "PNG"
        assert image.size == (2180, 1133)
        assert "Software" not in image.info
        picture = np.asarray(image.convert("RGB"))
    under = np.array(3 * [0.75 * PALE + 0.25 * 255])
    viridis = mpl.colormaps["viridis"]
    for tile, percentile in ((8, 95.833), (0, 4.167), (2, 25.0), (11, 25.0)):
        middle = GRID[tile] + (100, 100)  # not where a number may lie
        blended = 255 * OPACITY * np.array(viridis(percentile / 100)[:3]) + (1 - OPACITY) * under
        assert colour_at(picture, shown.map_px, tuple(middle)) == pytest.approx(blended, abs=4)
    glass = colour_at(picture, shown.map_px, (2300, 1700))
    assert glass == pytest.approx(under, abs=2)


def test_without_a_thumbnail_there_is_still_a_map(store, tmp_path):
    report = write_heatmaps(store, "r", ["C"], HeatmapOptions(tmp_path))
    assert report.exit == 0
    (shown,) = report.slides
    assert shown.reason is not None
    assert shown.reason.startswith("the store has no thumbnail of this slide")
    assert (shown.fold, shown.part, shown.pictures) == (1, "test", None)
    with Image.open(io.BytesIO(shown.png.read_bytes())) as image:
        picture = np.asarray(image.convert("RGB"))
    under = np.array(3 * [0.75 * 244 + 0.25 * 255])
    top = 255 * OPACITY * np.array(mpl.colormaps["viridis"](0.95833)[:3]) + (1 - OPACITY) * under
    assert colour_at(picture, shown.map_px, tuple(GRID[3] + 100)) == pytest.approx(top, abs=4)
    assert len(check_geojson(shown.geojson)) == 18


def test_names_of_files_stay_in_the_folder(written):
    assert sorted(path.name for path in written.iterdir()) == sorted(
        f"{name}-attention.{kind}" for name in ("A", "B", "C", "D", "~2e.~2f..~2fx") for kind in ("png", "geojson")
    )


@pytest.mark.long
def test_same_bytes_whatever_the_workers(store, written, tmp_path):
    report = write_heatmaps(store, "r", ["D", "A", "E"], HeatmapOptions(tmp_path), workers=2)
    assert report.exit == 3
    assert [(failure.id, failure.code) for failure in report.failures] == [("E", "NO_COORDS")]
    assert [one.slide_id for one in report.slides] == ["A", "D"]
    made = sorted(tmp_path.iterdir())
    assert len(made) == 4
    for path in made:
        assert path.read_bytes() == (written / path.name).read_bytes()


def test_all_slides_that_the_run_weighed(store, tmp_path):
    report = write_heatmaps(store, "r", [], HeatmapOptions(tmp_path))
    assert [one.slide_id for one in report.slides] == ["../../x", "A", "B", "C", "D"]
    assert [failure.id for failure in report.failures] == ["E"]


def test_a_file_is_replaced_whole_or_not_at_all(store, tmp_path, monkeypatch):
    place = tmp_path / "a.png"
    place.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BadInput) as caught:
            write_whole(place, b"after")
        report = write_heatmaps(store, "r", ["A"], HeatmapOptions(tmp_path))
    assert caught.value.code == "UNWRITABLE"
    assert [(failure.id, failure.code) for failure in report.failures] == [("A", "UNWRITABLE")]
    assert place.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    write_heatmaps(store, "r", ["A"], HeatmapOptions(place))
    assert place.read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# The command -------------------------------------------------------------------------------------------------------


def test_command_tells_what_it_drew(told, store, tmp_path):
    status, out, _ = told("--store", store.url, "--run", "r", "--out", tmp_path / "new", "A", "B")
    assert status == 0
    assert out.splitlines() == [
        "A: fold 0, test patient; 12 tiles of 128 µm, half of the attention on 17% of them",
        "  top tiles not shown by themselves: a tile is only 16 pixels wide on the stored thumbnail; "
        "name the folder of the slide files with --slides",
        f"  {tmp_path / 'new' / 'A-attention.png'}",
        f"  {tmp_path / 'new' / 'A-attention.geojson'}",
        "B: fold 1, validation patient; 12 tiles of 128 µm, half of the attention on 17% of them",
        "  top tiles not shown by themselves: a tile is only 16 pixels wide on the stored thumbnail; "
        "name the folder of the slide files with --slides",
        f"  {tmp_path / 'new' / 'B-attention.png'}",
        f"  {tmp_path / 'new' / 'B-attention.geojson'}",
        "2 slides drawn, 0 failed",
    ]


def test_command_as_json_and_one_file(told, store, tmp_path):
    out = tmp_path / "a.geojson"
    arguments = ("--store", store.url, "--run", "r", "--fold", 1, "--top", 2, "--out", out, "A", "--json")
    status, text, _ = told(*arguments)
    assert status == 0
    (found,) = json.loads(text)["slides"]
    assert (found["fold"], found["part"], found["tiles"], found["png"]) == (1, "train", 12, None)
    assert found["geojson"] == str(out)
    assert [(top["mark"], top["x"], top["y"]) for top in found["top"]] == [(1, 960, 320), (2, 320, 320)]
    assert found["top"][0]["weight"] == pytest.approx(0.4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.geojson"]


def test_one_slide_that_fails_costs_itself(told, store, tmp_path):
    status, text, err = told("--store", store.url, "--run", "r", "--out", tmp_path, "--json", "A", "E", "F")
    assert status == 3
    found = json.loads(text)
    assert [one["slide_id"] for one in found["slides"]] == ["A"]
    assert [(one["id"], one["code"]) for one in found["failures"]] == [("E", "NO_COORDS"), ("F", "MISSING")]
    assert "E: NO_COORDS: the store does not know where this slide's tiles lie" in err
    assert "mirror-model embed --attention --run r" in err
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--run", "r", "Z"], "NOT_FOUND"),
        (["--run", "r", "A", "../../etc/passwd"], "NOT_FOUND"),
        (["--run", "nobody", "A"], "MISSING"),
        (["--run", "bare", "A"], "MISSING"),
        (["--run", "bare", "--all"], "MISSING"),
        (["--run", "r"], "BAD_OPTION"),
        (["--run", "r", "--all", "A"], "BAD_OPTION"),
        (["--run", "r", "--fold", "9", "A"], "BAD_OPTION"),
        (["--run", "r", "--top", "0", "A"], "BAD_OPTION"),
        (["--run", "r", "--workers", "0", "A"], "BAD_OPTION"),
        (["--run", "r", "E"], "NO_COORDS"),
        (["--run", "r", "--slides", "nowhere", "A"], "NOT_FOUND"),
        (["--run", "r", "--slides", ".", "A"], "EMPTY"),
        (["--run", "r", "--out", "STORE/heatmaps", "A"], "BAD_OPTION"),
        (["--run", "r", "--out", "STORE", "A"], "BAD_OPTION"),
        (["--run", "r", "--out", "STORE/a.png", "A"], "BAD_OPTION"),
        (["--run", "r", "--out", "no/such/folder", "A"], "NOT_FOUND"),
        (["--run", "r", "--out", "no/a.png", "A"], "NOT_FOUND"),
        (["--run", "r", "--out", "a.png", "A", "B"], "BAD_OPTION"),
        (["--run", "r", "--out", "file.txt", "A"], "BAD_PATH"),
        (["A"], "Missing option"),
    ],
)
def test_wrong_command_lines_write_nothing(told, store, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("")
    before = sorted(Path(store.url).rglob("*"))
    status, out, err = told("--store", store.url, *(part.replace("STORE", store.url) for part in arguments))
    assert status == 2
    assert code in err
    assert "Traceback" not in err
    assert out in ("", "0 slides drawn, 1 failed\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert sorted(Path(store.url).rglob("*")) == before


def test_no_store(told, tmp_path):
    status, _, err = told("--store", tmp_path / "none.zarr", "--run", "r", "A")
    assert status == 2
    assert err.startswith("NOT_A_STORE")
