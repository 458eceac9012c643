"""Every bad slide of the promises in one folder: each fails with its code, and the good ones among them are tiled."""

from __future__ import annotations

import json
import os
import struct
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.ids import to_key
from mirror_data.slides.tiff_layout import read_directories
from mirror_data.store import open_store, read_tiling

MakeSlide = Callable[..., Path]
SECONDS = 10  # a slide


@pytest.fixture
def corpus(make_slide: MakeSlide, make_loop, tag_offset, patch_file, tmp_path) -> dict[str, str]:
    """The folder ``slides`` with one slide a case; returns the code that each id must get, "" for success."""
    folder = tmp_path / "slides"
    glass = np.full((900, 1200, 3), 244, np.uint8)

    def cut(name: str, keep: Callable[[int], int]) -> None:
        path = make_slide(f"slides/{name}.svs")
        data = path.read_bytes()
        path.write_bytes(data[: keep(len(data))])

    def flipped() -> None:
        path = make_slide("slides/flipped.svs")
        directories = read_directories(path)
        assert directories is not None
        start, length = int(directories[0].offsets[7]), int(directories[0].byte_counts[7])
        patch_file(path, start, bytes(byte ^ 0xFF for byte in path.read_bytes()[start : start + length]))

    def sparse() -> None:
        path = make_slide("slides/empty-tile.svs")
        entry = tag_offset(path, 0, 325) + 8
        counts = struct.unpack("<I", path.read_bytes()[entry : entry + 4])[0]
        patch_file(path, counts + 4 * 7, struct.pack("<I", 0))

    def transparent() -> None:
        pixels = np.zeros((480, 480, 4), np.uint8)
        options = {"compression": "deflate", "extrasamples": ["unassalpha"], "resolutionunit": "CENTIMETER"}
        make_slide("slides/clear.tif", pixels, aperio=False, levels=1, resolution=(20_000, 20_000), **options)

    make_slide("slides/good.svs")
    make_slide("slides/comma.svs", mpp="0,5")
    make_slide(f"slides/{unicodedata.normalize('NFC', 'Zürich Ω')}.svs")
    make_slide("slides/glass.svs", glass)
    for mpp in (None, "0", "nan"):
        make_slide(f"slides/mpp-{mpp}.svs", mpp=mpp)
    resolution = {"resolution": (20_000, 10_000), "resolutionunit": "CENTIMETER"}
    make_slide("slides/oblong.tif", aperio=False, **resolution)
    cut("cut-10", lambda size: size // 10)
    cut("cut-50", lambda size: size // 2)
    cut("cut-end", lambda size: size - 4096)
    make_loop(make_slide("slides/loop.svs"))
    flipped()
    sparse()
    transparent()
    bad = make_slide("slides/compression.svs")
    patch_file(bad, tag_offset(bad, 0, 259) + 8, struct.pack("<H", 52479))
    large = make_slide("slides/large.svs")
    patch_file(large, tag_offset(large, 0, 256) + 2, struct.pack("<HII", 4, 1, 2**31))
    (folder / "empty.svs").write_bytes(b"")
    (folder / "page.svs").write_text("<!DOCTYPE html><html>404 Not Found</html>")
    (folder / "dangling.svs").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe.svs")
    make_slide("slides/one/twin.svs")
    make_slide("slides/two/twin.svs", mpp="0.25")
    for form in ("NFC", "NFD"):
        make_slide(f"slides/{form}/{unicodedata.normalize(form, 'Köln')}.svs")
    untiled(folder / "strips.tif")
    return {
        "good": "", "comma": "", "Zürich Ω": "", "glass": "",
        "mpp-None": "NO_MPP", "mpp-0": "NO_MPP", "mpp-nan": "NO_MPP", "oblong": "NO_MPP",
        "cut-10": "TRUNCATED", "cut-50": "TRUNCATED", "cut-end": "TRUNCATED",
        "loop": "CORRUPT", "flipped": "CORRUPT", "compression": "CORRUPT",
        "empty-tile": "SPARSE", "clear": "SPARSE", "large": "TOO_LARGE",
        "empty": "NOT_A_SLIDE", "page": "NOT_A_SLIDE", "pipe": "NOT_A_SLIDE", "strips": "NOT_A_SLIDE",
        "dangling": "NOT_FOUND", "twin": "DUPLICATE_ID", "Köln": "DUPLICATE_ID",
    }  # fmt: skip


def untiled(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.zeros((100, 100, 3), np.uint8))


def test_the_corpus(corpus, tiny_encoder, tmp_path, capsys):
    before = everything(tmp_path / "slides")
    store_url = str(tmp_path / "cohort.zarr")
    arguments = ["--encoder", tiny_encoder.name, "--weights", tiny_encoder.weights, "--tile-px", "128"]
    started = time.monotonic()
    status = run(cli, ["tile", str(tmp_path / "slides"), "--store", store_url, *arguments])
    seconds = time.monotonic() - started
    told = capsys.readouterr()
    rows = [json.loads(line) for line in Path(store_url, ".mirror/failures.jsonl").read_text().splitlines()]
    assert {row["id"]: row["code"] for row in rows} == {name: code for name, code in corpus.items() if code}
    assert status == 3
    assert "Traceback" not in told.out + told.err
    assert all(row["reason"] and row["next_step"] for row in rows)
    store = open_store(store_url)
    tiles = {name: read_tiling(store, name, "128px_0.5mpp").rows for name, code in corpus.items() if not code}
    assert tiles["good"] == tiles["comma"] == tiles["Zürich Ω"] > 9
    assert tiles["glass"] == 0
    assert set(store.keys("slides")) == {to_key(name) for name in tiles}
    assert everything(tmp_path / "slides") == before
    assert seconds < SECONDS * len(corpus)


def everything(folder: Path) -> dict[str, float]:
    """Files below a folder and when they were changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}
