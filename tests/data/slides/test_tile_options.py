"""Regions, overlap, judged tiles and normalised stain: what each does to the records of a slide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.errors import BadSlide, StoreError
from mirror_data.slides.direct import open_fastest
from mirror_data.slides.grid import GridParameters
from mirror_data.slides.options import RegionOptions, TileOptions
from mirror_data.slides.pipeline import SlideJob, SlideOutcome, encoder_of, tile_slide
from mirror_data.slides.quality import QualityParameters
from mirror_data.slides.sources import find_slides
from mirror_data.slides.stain import colour_map
from mirror_data.slides.stream import read_tiles
from mirror_data.slides.treatment import fit_slide
from mirror_data.store import check, create_store, open_store, read_features, read_slide, read_tiling
from PIL import Image, ImageFilter


@pytest.fixture
def options(tiny_encoder) -> TileOptions:
    return TileOptions(GridParameters(64, 0.5, 0.5), encoder=tiny_encoder, batch_size=8)


@pytest.fixture
def store_url(tmp_path) -> str:
    return str(tmp_path / "cohort.zarr")


def tile(path: Path, store_url: str, options: TileOptions) -> SlideOutcome:
    create_store(store_url)
    return tile_slide(SlideJob(find_slides([path]).slides[0], store_url, options))


def places(store_url: str, options: TileOptions) -> set[tuple[int, int]]:
    coords = read_tiling(open_store(store_url), "slide", options.tiling).coords
    assert coords is not None
    return set(map(tuple, coords.tolist()))


def draw(path: Path, x: int, y: int, width: int, height: int, name: str = "Tumor") -> Path:
    """A rectangle as QuPath exports it."""
    ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def test_regions_choose_among_the_tissue(make_slide, store_url, options, tmp_path):
    slide = make_slide()
    tile(slide, store_url, options)
    drawn = replace(options, regions=RegionOptions(draw(tmp_path / "slide.geojson", 384, 256, 192, 320)))
    tile(slide, store_url, drawn)
    assert drawn.tiling == "64px_0.5mpp_regions"
    inside = {(x, y) for x, y in places(store_url, options) if 384 <= x < 576 and 256 <= y < 576}
    assert places(store_url, drawn) == inside
    assert len(inside) == 15
    record = read_tiling(open_store(store_url), "slide", drawn.tiling).parameters["regions"]
    assert (record["file"], record["taken"], len(record["sha256"])) == ("slide.geojson", 1, 64)
    assert tile(slide, store_url, drawn).skipped
    draw(tmp_path / "slide.geojson", 384, 256, 64, 64)
    with pytest.raises(StoreError, match="MISMATCH"):
        tile(slide, store_url, drawn)
    assert tile(slide, store_url, replace(drawn, overwrite=True)).tiles == 1
    assert check(open_store(store_url)).findings == ()


def test_overlap_and_border(make_slide, store_url, options):
    slide = make_slide()
    half = replace(options, grid=GridParameters(64, 0.5, 0.5, overlap=32))
    tile(slide, store_url, options)
    tile(slide, store_url, half)
    assert half.tiling == "64px_0.5mpp_overlap32"
    assert read_tiling(open_store(store_url), "slide", half.tiling).overlap == 32
    assert places(store_url, options) < places(store_url, half)
    assert {x % 64 for x, _ in places(store_url, half)} == {0, 32}


def test_judged_tiles_are_left_out_and_counted(make_slide, store_url, options, tissue):
    """The right half of the tissue is out of focus: its tiles go, the others' features are what they were."""
    blurred = np.asarray(Image.fromarray(tissue).filter(ImageFilter.GaussianBlur(12)))
    pixels = np.where(np.arange(tissue.shape[1])[None, :, None] < 512, tissue, blurred)
    slide = make_slide(pixels=pixels, compression="deflate")
    judged = replace(options, quality=QualityParameters())
    tile(slide, store_url, options)
    tile(slide, store_url, judged)
    store = open_store(store_url)
    every, kept = places(store_url, options), places(store_url, judged)
    assert kept < every
    assert not {(x, y) for x, y in kept if x >= 512}
    found = read_tiling(store, "slide", judged.tiling).parameters["found"]
    assert found["judged"] == len(every)
    assert sum(found["dropped"].values()) == len(every) - len(kept)
    assert tile(slide, store_url, judged).dropped == found["dropped"]
    assert found["dropped"]["blurred"] >= len({(x, y) for x, y in every if x >= 512})
    all_coords = read_tiling(store, "slide", options.tiling).coords
    assert all_coords is not None
    rows = [row for row, place in enumerate(map(tuple, all_coords.tolist())) if place in kept]
    expected = read_features(store, "slide", options.tiling, options.features).values[rows]
    assert np.array_equal(read_features(store, "slide", judged.tiling, judged.features).values, expected)
    assert tile(slide, store_url, judged).skipped


def test_options_of_the_command(make_slide, tiny_encoder, tmp_path, capsys):
    make_slide("slides/a.svs")
    store_url = str(tmp_path / "cohort.zarr")
    draw(tmp_path / "a.geojson", 240, 180, 300, 300)
    encoder = ["--encoder", tiny_encoder.name, "--weights", tiny_encoder.weights]
    base = ["tile", str(tmp_path / "slides"), "--store", store_url, *encoder, "--tile-px", "64"]
    more = ["--overlap", "16", "--border", "pad", "--holes", "fill", "--qc", "--regions", str(tmp_path / "a.geojson")]
    assert run(cli, [*base, *more, "--region-class", "Tumor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tiling"], told["encoder"]) == ("64px_0.5mpp_overlap16_pad_regions_qc", "timm:test_resnet")
    assert told["tiles"] > 9


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--region-class", "Tumor"], 2, "--region-class needs --regions"),
        (["--regions", "nowhere"], 2, "NOT_FOUND"),
        (["--regions", "one.geojson"], 2, "BAD_OPTION"),  # two slides
        (["--overlap", "64"], 2, "--overlap"),
        (["--border", "mirror"], 2, "--border"),
        (["--holes", "some"], 2, "--holes"),
        (["--stain", "vahadane"], 2, "--stain"),
        (["--regions", "drawn"], 3, "BAD_REGIONS"),  # of one slide; the other has none
    ],
)
def test_wrong_options(make_slide, tiny_encoder, tmp_path, capsys, monkeypatch, arguments, status, words):
    make_slide("slides/a.svs")
    make_slide("slides/b.svs")
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "one.geojson", 0, 0, 9, 9)
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "a.geojson").write_text("{}")
    encoder = ["--encoder", tiny_encoder.name, "--weights", tiny_encoder.weights]
    assert run(cli, ["tile", "slides", "--store", "cohort.zarr", *encoder, "--tile-px", "64", *arguments]) == status
    told = capsys.readouterr()
    assert words in told.out + told.err
    assert "Traceback" not in told.err
    if status == 2:
        assert not (tmp_path / "cohort.zarr").exists()
    else:
        rows = [json.loads(line) for line in (tmp_path / "cohort.zarr/.mirror/failures.jsonl").read_text().splitlines()]
        assert {row["id"]: row["code"] for row in rows} == {"a": "BAD_REGIONS", "b": "NOT_FOUND"}


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_stain_is_fitted_to_the_slide_and_recorded(make_slide, store_url, options, method):
    slide = make_slide()
    plain, normalised = options, replace(options, stain=method)
    tile(slide, store_url, plain)
    tile(slide, store_url, normalised)
    assert normalised.features == f"timm:test_resnet+{method}"
    store = open_store(store_url)
    before, after = (read_features(store, "slide", o.tiling, o.features) for o in (plain, normalised))
    found = after.transform["stain"]["found"]
    assert after.transform["stain"]["method"] == found["method"] == method
    with open_fastest(slide) as opened:
        tiles = read_tiles(opened.reader, read_tiling(store, "slide", plain.tiling), np.arange(8))
        fitted = fit_slide(
            opened.reader, read_slide(store, "slide"), read_tiling(store, "slide", plain.tiling), normalised
        )
    assert fitted is not None
    assert json.loads(json.dumps(fitted.record())) == found
    encoder = encoder_of(options.encoder, 1)
    assert np.array_equal(after.values[:8], encoder(colour_map(fitted)(tiles)).astype(np.float16))
    assert not np.array_equal(after.values, before.values)
    assert tile(slide, store_url, normalised).skipped
    assert check(store).findings == ()


def test_a_slide_without_two_stains_fails_by_name(make_slide, store_url, options, tissue):
    amount = 3 * (1 - tissue.mean(axis=2, keepdims=True) / 244)
    one_stain = 244 * np.exp(-amount * [0.65, 0.70, 0.29])
    slide = make_slide(pixels=one_stain.astype(np.uint8), compression="deflate")
    with pytest.raises(BadSlide, match="STAIN_NOT_FOUND"):
        tile(slide, store_url, replace(options, stain="macenko"))
    assert not open_store(store_url).keys("slides")


def test_glass_needs_no_stain(make_slide, store_url, options):
    glass = np.full((900, 1200, 3), 244, np.uint8)
    assert tile(make_slide(pixels=glass), store_url, replace(options, stain="macenko")).tiles == 0
