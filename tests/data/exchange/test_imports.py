"""Bags of other software into the store: values, coordinates, order, and what must be refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.errors import BadInput
from mirror_data.exchange import clam, region_bags, stamp, trident
from mirror_data.exchange.bags import ImportOptions, Source, as_slide_id, import_bags, read_slides_table
from mirror_data.store import check, open_store, read_features, read_slide, read_tiling

COORDS = np.array([[512, 0], [0, 512], [0, 0], [512, 512]])
FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)
RASTER = [2, 0, 1, 3]  # by y, then x
SLIDE = "TCGA-3C-AALI-01Z-00-DX1"


def h5(path: Path, attributes: dict | None = None, file_attributes: dict | None = None, **data) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name] = values
        if "coords" in data:
            file["coords"].attrs.update(attributes or {})
        file.attrs.update(file_attributes or {})
    return path


def imported(store: Path, *arguments: object) -> int:
    return run(cli, ["import", *map(str, arguments), "--store", str(store)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.zarr"


def npz(path: Path, **change) -> Path:
    arrays = {
        "feats": FEATURES.astype(np.float16),
        "offsets": np.array([0, 1, 4]),
        "slide_ids": np.array([f"{SLIDE}.F6E9", "TCGA-3C-AALJ-01Z-00-DX1.777C"]),
    }
    np.savez_compressed(path, **(arrays | change))
    return path


def test_region_bags(store: Path, tmp_path: Path, capsys):
    path = npz(tmp_path / "b.npz")
    more = ["--tiling", "regions", "--encoder", "hipt", "--tile-px", "4096", "--mpp", "0.5"]
    assert imported(store, "bags", path, *more, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"failures": [], "imported": 2, "tiles": 4}
    opened = open_store(store)
    assert opened.keys("slides") == [SLIDE, "TCGA-3C-AALJ-01Z-00-DX1"]
    assert read_slide(opened, SLIDE).patient_id == "TCGA-3C-AALI"
    tiling = read_tiling(opened, "TCGA-3C-AALJ-01Z-00-DX1", "regions")
    assert (tiling.rows, tiling.coords, tiling.tile_px, tiling.mpp) == (3, None, 4096, 0.5)
    values = read_features(opened, "TCGA-3C-AALJ-01Z-00-DX1", "regions", "hipt").values
    assert np.array_equal(values, FEATURES[1:].astype(np.float16))
    assert check(opened).findings == ()
    before = opened.hash("slides/*/tilings/regions/features/hipt")
    assert imported(store, "bags", path, *more) == 0  # the same again
    assert open_store(store).hash("slides/*/tilings/regions/features/hipt") == before


def test_clam_features_with_coordinates(store: Path, tmp_path: Path):
    attributes = {"patch_size": 256, "patch_level": 1, "downsample": [2.0, 2.0], "level_dim": [1000, 800]}
    h5(tmp_path / f"clam/patches/{SLIDE}.h5", attributes | {"name": SLIDE}, coords=COORDS)
    h5(tmp_path / f"clam/h5_files/{SLIDE}.h5", features=FEATURES, coords=COORDS.astype(np.int32))
    more = ["--tiling", "t", "--encoder", "uni", "--patches", tmp_path / "clam/patches"]
    assert imported(store, "clam", tmp_path / "clam", *more, "--mpp", "0.5") == 0
    opened = open_store(store)
    tiling = read_tiling(opened, SLIDE, "t")
    assert tiling.coords is not None
    assert np.array_equal(tiling.coords, COORDS[RASTER])
    assert (tiling.tile_px, tiling.tile_px_level0, tiling.mpp) == (256, 512.0, 0.5)
    assert read_slide(opened, SLIDE).size == (2000, 1600)
    assert np.array_equal(read_features(opened, SLIDE, "t", "uni").values, FEATURES[RASTER].astype(np.float16))
    h5(tmp_path / f"moved/h5_files/{SLIDE}.h5", features=FEATURES, coords=COORDS + 1)
    assert imported(store, "clam", tmp_path / "moved", *more) == 2  # not those of the patches folder
    assert imported(store, "clam", tmp_path / "moved", "--tiling", "t", "--encoder", "uni") == 2  # another tiling
    assert imported(store, "clam", tmp_path / "moved", "--tiling", "t", "--encoder", "uni", "--overwrite") == 0
    assert read_tiling(open_store(store), SLIDE, "t").coords[0].tolist() == [1, 1]


def test_clam_tensors(store: Path, tmp_path: Path, capsys):
    torch = pytest.importorskip("torch")
    folder = tmp_path / "pt_files"
    folder.mkdir()
    torch.save(torch.from_numpy(FEATURES), folder / f"{SLIDE}.pt")
    assert imported(store, "clam", tmp_path, "--tiling", "t", "--encoder", "uni") == 0
    assert np.array_equal(read_features(open_store(store), SLIDE, "t", "uni").values, FEATURES.astype(np.float16))
    torch.save({"features": Path("x")}, folder / "TCGA-3C-AALJ-01Z-00-DX1.pt")
    (folder / "TCGA-3C-AALK-01Z-00-DX1.pt").write_bytes(b"no tensor")
    assert imported(store, "clam", tmp_path, "--tiling", "t", "--encoder", "uni") == 3
    error = capsys.readouterr().err
    assert "TCGA-3C-AALJ-01Z-00-DX1: UNSAFE_FORMAT" in error
    assert "TCGA-3C-AALK-01Z-00-DX1: " in error
    listed = (store / ".mirror/failures.jsonl").read_text().splitlines()
    assert next(json.loads(line)["code"] for line in listed) == "UNSAFE_FORMAT"
    for path in folder.glob("*J-*.pt"):
        path.unlink()
    for path in folder.glob("*K-*.pt"):
        path.unlink()
    assert imported(store, "clam", tmp_path, "--tiling", "t", "--encoder", "uni") == 0
    assert not (store / ".mirror/failures.jsonl").exists()


def test_the_real_clam_file(shared: Path, store: Path):
    assert imported(store, "clam", shared / "data/formats/clam_coords.h5", "--tiling", "t512") == 0
    tiling = read_tiling(open_store(store), "TCGA-2Y-A9GS-01Z-00-DX1", "t512")
    assert (tiling.rows, tiling.tile_px, tiling.tile_px_level0) == (10505, 512, 512.0)
    assert tiling.coords is not None
    assert (np.diff(tiling.coords[:, 1]) >= 0).all()
    assert read_slide(open_store(store), "TCGA-2Y-A9GS-01Z-00-DX1").size == (85416, 65080)


def test_trident(store: Path, tmp_path: Path):
    attributes = {
        "patch_size": 512,
        "patch_size_level0": 1024.0,
        "target_magnification": 20,
        "level0_magnification": 40,
        "overlap": 0,
        "level0_width": 5000,
        "level0_height": 4000,
        "name": "case1",
    }
    job = tmp_path / "job/20x_512px_0px_overlap"
    h5(job / "patches/case1_patches.h5", attributes, coords=COORDS)
    h5(job / "features_uni_v1/case1.h5", coords=COORDS, features=FEATURES[None])  # some versions keep a batch of one
    table = tmp_path / "slides.csv"
    table.write_text("slide_id,case_id\ncase1.svs,P7\nother.svs,P8\n")
    more = ["--tiling", "20x_512", "--encoder", "uni_v1", "--slides-table", table]
    assert imported(store, "trident", job, *more) == 0
    opened = open_store(store)
    slide, tiling = read_slide(opened, "case1"), read_tiling(opened, "case1", "20x_512")
    assert (slide.patient_id, slide.size) == ("P7", (5000, 4000))
    assert (tiling.tile_px, tiling.mpp, tiling.tile_px_level0, tiling.overlap) == (512, 0.5, 1024.0, 0)
    assert np.array_equal(tiling.coords, COORDS[RASTER])
    assert np.array_equal(
        read_features(opened, "case1", "20x_512", "uni_v1").values, FEATURES[RASTER].astype(np.float16)
    )
    (job / "features_other").mkdir()
    assert imported(store, "trident", job, *more) == 2
    alone = imported(tmp_path / "alone.zarr", "trident", job / "patches/case1_patches.h5", "--tiling", "20x_512")
    assert alone == 0
    assert open_store(tmp_path / "alone.zarr").keys("slides") == ["case1"]


def test_stamp(store: Path, tmp_path: Path):
    about = {"extractor": "ctranspath", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
    um = COORDS.astype(np.float32) / 2
    path = h5(tmp_path / "ctranspath/case1.h5", None, about, feats=FEATURES.astype(np.float16), coords=um)
    more = ["--tiling", "256um", "--encoder", "ctranspath"]
    assert imported(store, "stamp", path.parent, *more) == 0
    tiling = read_tiling(open_store(store), "case1", "256um")
    assert (tiling.coords, tiling.tile_px) == (None, 224)
    assert tiling.mpp == pytest.approx(256 / 224)
    assert np.array_equal(read_features(open_store(store), "case1", "256um", "ctranspath").values, FEATURES[RASTER])
    assert imported(tmp_path / "placed.zarr", "stamp", path, *more, "--slide-mpp", "0.25") == 0
    opened = open_store(tmp_path / "placed.zarr")
    tiling = read_tiling(opened, "case1", "256um")
    assert np.array_equal(tiling.coords, COORDS[RASTER] * 2)
    assert tiling.tile_px_level0 == 1024
    assert read_slide(opened, "case1").mpp == 0.25
    h5(tmp_path / "px/case1.h5", None, about | {"unit": "px"}, feats=FEATURES, coords=um)
    with pytest.raises(BadInput, match="BAD_VALUE"):
        stamp.read(Source("case1", tmp_path / "px/case1.h5"))


BAD_BAGS = {
    "nan": ({"features": np.full((4, 3), np.nan), "coords": COORDS}, "BAD_VALUE"),
    "too large for float16": ({"features": FEATURES * 1e5, "coords": COORDS}, "BAD_VALUE"),
    "whole numbers": ({"features": FEATURES.astype(int), "coords": COORDS}, "BAD_VALUE"),
    "rows that differ": ({"features": FEATURES, "coords": COORDS[:3]}, "MISMATCH"),
    "negative coordinates": ({"features": FEATURES, "coords": COORDS - 600}, "BAD_VALUE"),
    "coordinates beyond any slide": ({"features": FEATURES, "coords": COORDS + 2**33}, "BAD_VALUE"),
    "nothing": ({"other": FEATURES}, "NOT_A_BAG"),
}


@pytest.mark.parametrize("case", BAD_BAGS)
def test_bad_bags_fail_with_a_code(store: Path, tmp_path: Path, capsys, case: str):
    data, code = BAD_BAGS[case]
    path = h5(tmp_path / "a.h5", **data)
    assert imported(store, "clam", path, "--tiling", "t", "--encoder", "e") == 2
    assert f"a: {code}" in capsys.readouterr().err
    assert not (store / "zarr.json").exists()  # bad input makes no store


def test_files_that_are_no_bags(store: Path, tmp_path: Path, capsys):
    (tmp_path / "text.h5").write_text("no HDF5")
    cut = h5(tmp_path / "cut.h5", features=np.ones((5000, 64), np.float32), coords=np.zeros((5000, 2)))
    cut.write_bytes(cut.read_bytes()[:5000])
    for path in (tmp_path / "text.h5", cut):
        assert imported(store, "trident", path, "--tiling", "t", "--encoder", "e") == 2
        assert "NOT_A_BAG" in capsys.readouterr().err
    assert imported(store, "trident", tmp_path / "gone.h5", "--tiling", "t", "--encoder", "e") == 2
    assert capsys.readouterr().err.startswith("NOT_FOUND")
    (tmp_path / "empty").mkdir()
    assert imported(store, "stamp", tmp_path / "empty", "--tiling", "t", "--encoder", "e") == 2
    assert capsys.readouterr().err.startswith("EMPTY")


def test_links_and_bombs_in_hdf5_are_refused(tmp_path: Path):
    secret = h5(tmp_path / "secret.h5", features=FEATURES, coords=COORDS)
    for name, link in (("soft", h5py.SoftLink("/other")), ("external", h5py.ExternalLink(str(secret), "features"))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["coords"], file["other"], file["features"] = COORDS, FEATURES, link
        with pytest.raises(BadInput) as caught:
            trident.read(Source("x", tmp_path / f"{name}.h5"))
        assert caught.value.code == "UNSAFE_FORMAT"
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["coords"] = COORDS
        raw = [(str(secret), 0, 48)]
        file.create_dataset("features", (4, 3), np.float32, external=raw)
    with pytest.raises(BadInput, match="UNSAFE_FORMAT"):
        trident.read(Source("x", tmp_path / "outside.h5"))
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file["coords"] = COORDS
        file.create_dataset("features", (200_000, 512), np.float32, compression="gzip", chunks=(200_000, 512))
    with pytest.raises(BadInput, match="BOMB"):
        trident.read(Source("x", tmp_path / "bomb.h5"))


def test_bad_region_bags(tmp_path: Path):
    cases = {
        "offsets": (npz(tmp_path / "a.npz", offsets=np.array([0, 1, 3])), "NOT_A_BAG"),
        "too few": (npz(tmp_path / "b.npz", offsets=np.array([0, 4])), "NOT_A_BAG"),
        "pickle": (npz(tmp_path / "c.npz", slide_ids=np.array([{}, {}], dtype=object)), "UNSAFE_FORMAT"),
        "bomb": (npz(tmp_path / "d.npz", feats=np.zeros((60_000, 256), np.float16)), "BOMB"),
        "text": (tmp_path / "e.npz", "NOT_A_BAG"),
        "gone": (tmp_path / "f.npz", "NOT_FOUND"),
    }
    (tmp_path / "e.npz").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "g.npz", "w") as archive:
        archive.writestr("x.npy", "x")
    cases["other arrays"] = (tmp_path / "g.npz", "NOT_A_BAG")
    for path, code in cases.values():
        with pytest.raises(BadInput) as caught:
            region_bags.find(path)
        assert caught.value.code == code


def test_slides_tables_and_ids(tmp_path: Path, store: Path, capsys):
    assert as_slide_id("TCGA-3C-AALI-01Z-00-DX1.UUID") == as_slide_id("TCGA-3C-AALI-01Z-00-DX1.UUID.svs") == SLIDE
    assert (as_slide_id("case.1"), as_slide_id("case.1.h5"), as_slide_id("case.1.svs")) == ("case.1",) * 3
    path = tmp_path / "t.csv"
    path.write_text("slide,patient_id\na.svs,P1\na.svs,P1\nb,P2\n")
    assert read_slides_table(path) == {"a": "P1", "b": "P2"}
    path.write_text("slide,patient_id\na.svs,P1\na,P2\n")
    with pytest.raises(BadInput, match="CONFLICT"):
        read_slides_table(path)
    path.write_text("slide,label\na.svs,P1\n")
    with pytest.raises(BadInput, match="MISSING_COLUMN"):
        read_slides_table(path)
    path.write_text("slide,patient_id\nzzz,P1\n")
    bag = h5(tmp_path / "a.h5", features=FEATURES, coords=COORDS)
    assert imported(store, "clam", bag, "--tiling", "t", "--encoder", "e", "--slides-table", path) == 2
    assert capsys.readouterr().err.startswith("NO_OVERLAP")
    assert imported(store, "clam", bag, "--tiling", "t", "--encoder", "e") == 0
    path.write_text("slide,patient_id\na,P1\n")
    assert imported(store, "clam", bag, "--tiling", "t", "--encoder", "e", "--slides-table", path) == 2
    assert "CONFLICT" in capsys.readouterr().err
    h5(tmp_path / "two/h5_files/a.h5", features=FEATURES, coords=COORDS)
    h5(tmp_path / "two/h5_files/b.h5", {"name": "a"}, features=FEATURES, coords=COORDS)
    with pytest.raises(BadInput, match="DUPLICATE_ID"):
        import_bags(open_store(store), clam.find(tmp_path / "two"), clam.read, ImportOptions("t", "e"))


def test_features_and_names_belong_together(store: Path, tmp_path: Path, capsys):
    bag = h5(tmp_path / "a.h5", features=FEATURES, coords=COORDS)
    assert imported(store, "clam", bag, "--tiling", "t") == 2
    assert "BAD_OPTION" in capsys.readouterr().err
    assert imported(store, "clam", bag, "--tiling", "../t", "--encoder", "e") == 2
    assert capsys.readouterr().err.startswith("BAD_PATH")
    alone = h5(tmp_path / "b.h5", coords=COORDS)
    assert imported(store, "clam", alone, "--tiling", "t", "--encoder", "e") == 2
    assert "b: NOT_A_BAG" in capsys.readouterr().err
