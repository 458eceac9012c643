"""The slide corpus of bad input, and what a good slide reads as."""

from __future__ import annotations

import os
import struct
import time
import unicodedata
from pathlib import Path

import numpy as np
import openslide
import pytest
from mirror_data.errors import BadSlide
from mirror_data.slides.reader import ALLOWED_PROPERTIES, open_slide, true_downsample
from mirror_data.slides.tiff_layout import read_directories
from mirror_data.slides.tissue import TissueParameters, find_tissue

LIMIT_SECONDS = 10


def read_all(path: Path, **options: float) -> None:
    with open_slide(path, **options) as reader:
        find_tissue(reader, TissueParameters())
        reader.read_region(0, 0, 0, *reader.size)


def code_of(path: Path, **options: float) -> str:
    """The code a slide fails with, however far it gets: open, tissue, every pixel."""
    started = time.monotonic()
    with pytest.raises(BadSlide) as caught:
        read_all(path, **options)
    assert time.monotonic() - started < LIMIT_SECONDS
    assert caught.value.exit == 2
    return caught.value.code


def test_good_slide(make_slide, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    with open_slide(make_slide(pixels=pixels, compression="deflate", label=True)) as reader:
        assert reader.size == (500, 300)
        assert [(level.width, level.height) for level in reader.levels] == [(500, 300), (125, 75)]
        assert reader.levels[1].downsample == 4
        assert (reader.mpp, reader.mpp_source) == (0.5, "openslide.mpp")
        assert reader.name == f"openslide {openslide.__library_version__}"
        assert set(reader.properties) <= set(ALLOWED_PROPERTIES)
        assert len(reader.properties["openslide.quickhash-1"]) == 64
        assert np.array_equal(reader.read_region(0, 30, 250, 20, 40), pixels[250:290, 30:50])
        small = reader.read_region(1, 10, 20, 5, 5)
        assert np.abs(small.astype(int) - pixels[80:100, 40:60].reshape(5, 4, 5, 4, 3).mean((1, 3))).max() <= 1


@pytest.mark.parametrize(
    ("base", "level", "given", "expected"),
    [
        ((1021, 1018), (256, 255), 3.990, 4.0),
        ((4443, 3567), (2221, 1783), 2.0005, 2.0),
        ((1000, 1000), (333, 333), 3.003, 3.0),
        ((1000, 1000), (300, 300), 3.3333, 3.3333),
        ((1000, 900), (250, 230), 3.96, 3.96),
    ],
)
def test_downsample_is_whole_where_it_can_be(base, level, given, expected):
    assert true_downsample(base, level, given) == expected


def test_outside_is_white_and_counted(make_slide):
    with open_slide(make_slide(pixels=np.full((300, 300, 3), 7, np.uint8), compression="deflate", levels=1)) as reader:
        region = reader.read_region(0, 290, 290, 20, 20)
        assert (region[:10, :10] == 7).all()
        assert (region[10:] == 255).all()
        assert (region[:, 10:] == 255).all()
        assert reader.transparent == 300


def test_transparent_pixels_are_composed_on_white(make_slide):
    pixels = np.zeros((480, 480, 4), np.uint8)
    pixels[..., :3] = (200, 0, 100)
    pixels[:, 240:, 3] = 255
    pixels[240:, :240, 3] = 128
    path = make_slide("a.tif", pixels, aperio=False, levels=1, compression="deflate", extrasamples=["unassalpha"])
    with open_slide(path, mpp_override=0.5) as reader:
        found = reader.read_region(0, 0, 0, 480, 480)
        assert reader.transparent == 240 * 480
    assert (found[:, 240:] == (200, 0, 100)).all()
    assert (found[:240, :240] == 255).all()
    half = 255 - (255 - np.array((200, 0, 100))) * 128 / 255
    assert np.abs(found[300, 100] - half).max() <= 2


def test_associated_images_are_never_read(make_slide, monkeypatch):
    path = make_slide(label=True)
    with openslide.OpenSlide(path) as slide:
        assert "label" in slide.associated_images

    def forbidden(*_):
        raise AssertionError("an associated image was touched")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(forbidden))
    monkeypatch.setattr(openslide.lowlevel, "read_associated_image", forbidden)
    with open_slide(path) as reader:
        find_tissue(reader, TissueParameters())


def test_missing(tmp_path):
    assert code_of(tmp_path / "no.svs") == "NOT_FOUND"


def test_dangling_link(tmp_path):
    (tmp_path / "link.svs").symlink_to(tmp_path / "gone.svs")
    assert code_of(tmp_path / "link.svs") == "NOT_FOUND"


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404 Not Found</html>", b"II*", os.urandom(5000)])
def test_not_a_slide(tmp_path, content):
    (tmp_path / "a.svs").write_bytes(content)
    assert code_of(tmp_path / "a.svs") == "NOT_A_SLIDE"


def test_folder_and_pipe(tmp_path):
    (tmp_path / "a.svs").mkdir()
    assert code_of(tmp_path / "a.svs") == "NOT_A_SLIDE"
    os.mkfifo(tmp_path / "b.svs")
    assert code_of(tmp_path / "b.svs") == "NOT_A_SLIDE"  # and does not wait for a writer


def test_untiled_tiff(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((100, 100, 3), np.uint8))
    assert code_of(tmp_path / "a.tif") == "NOT_A_SLIDE"


@pytest.mark.parametrize("kept", [0.1, 0.5, 4096])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_truncated(make_slide, tmp_path, kept, bigtiff):
    import tifffile

    path = make_slide()
    if bigtiff:
        path = tmp_path / "big.tif"
        tifffile.imwrite(path, np.zeros((900, 900, 3), np.uint8), tile=(240, 240), photometric="rgb", bigtiff=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if kept < 1 else -int(kept)])
    assert code_of(path, mpp_override=0.5) == "TRUNCATED"


def test_directory_loop(make_slide, make_loop):
    path = make_slide()
    make_loop(path)
    assert code_of(path) == "CORRUPT"


def test_flipped_tile(make_slide, patch_file):
    path = make_slide()
    directories = read_directories(path)
    assert directories is not None
    tile, length = int(directories[0].offsets[7]), int(directories[0].byte_counts[7])
    patch_file(path, tile, bytes(byte ^ 0xFF for byte in path.read_bytes()[tile : tile + length]))
    assert code_of(path) == "CORRUPT"


def test_bad_compression(make_slide, tag_offset, patch_file):
    path = make_slide(aperio=False, levels=1, compression="deflate")
    patch_file(path, tag_offset(path, 0, 259) + 8, struct.pack("<H", 52479))
    assert code_of(path, mpp_override=0.5) == "CORRUPT"


def test_zero_length_tile(make_slide, tag_offset, patch_file):
    path = make_slide()
    at = struct.unpack("<I", path.read_bytes()[(entry := tag_offset(path, 0, 325) + 8) : entry + 4])[0]
    patch_file(path, at + 4 * 7, struct.pack("<I", 0))
    assert code_of(path) == "SPARSE"


def test_all_transparent(make_slide):
    pixels = np.zeros((480, 480, 4), np.uint8)
    path = make_slide("a.tif", pixels, aperio=False, levels=1, compression="deflate", extrasamples=["unassalpha"])
    assert code_of(path, mpp_override=0.5) == "SPARSE"


def test_too_large(make_slide, tag_offset, patch_file):
    path = make_slide()
    patch_file(path, tag_offset(path, 0, 256) + 2, struct.pack("<HII", 4, 1, 2**31))
    assert code_of(path) == "TOO_LARGE"


@pytest.mark.parametrize("mpp", [None, "0", "nan", "-0.5", "352.8", "abc"])
def test_no_mpp(make_slide, mpp):
    assert code_of(make_slide(mpp=mpp)) == "NO_MPP"


def test_mpp_x_twice_y(make_slide):
    path = make_slide("a.tif", aperio=False, resolution=(20_000, 10_000), resolutionunit="CENTIMETER")
    assert code_of(path) == "NO_MPP"


def test_decimal_comma(make_slide):
    with open_slide(make_slide(mpp="0,25")) as reader:
        assert reader.mpp == 0.25


def test_tiff_resolution(make_slide):
    path = make_slide("a.tif", aperio=False, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    with open_slide(path) as reader:
        assert reader.mpp == pytest.approx(0.5)


def test_unicode_name(make_slide):
    for form in ("NFC", "NFD"):
        with open_slide(make_slide(unicodedata.normalize(form, "Zürich Ω.svs"))) as reader:
            assert reader.size == (1200, 900)


def test_permission_denied(make_slide, tmp_path):
    path = make_slide()
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may read everything
    try:
        assert code_of(path) == "UNREADABLE"
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("plain_untiled.tif", "NOT_A_SLIDE"),
        ("refused_by_openslide.dcm", "NOT_A_SLIDE"),
        ("odd_files/unopenable.tiff", "CORRUPT"),
        ("odd_files/unreadable.svs", "CORRUPT"),
        ("odd_files/boxes.tiff", "NO_MPP"),
        ("odd_files/boxes.png", "NOT_A_SLIDE"),
        ("tcga-cr-7395-01a-01-ts1.svs", "NO_MPP"),
    ],
)
def test_real_odd_files(shared, name, code):
    assert code_of(shared / "data/slides" / name) == code


@pytest.mark.parametrize("kept", [0.1, 0.5, 4096])
def test_real_slide_cut(shared, tmp_path, kept):
    data = (shared / "data/slides/cmu1_small_region.svs").read_bytes()
    (tmp_path / "a.svs").write_bytes(data[: int(len(data) * kept) if kept < 1 else -int(kept)])
    assert code_of(tmp_path / "a.svs") == "TRUNCATED"


def test_real_slide(shared):
    with open_slide(shared / "data/slides/cmu1_small_region.svs") as reader:
        assert (reader.size, reader.mpp, reader.mpp_source) == ((2220, 2967), 0.499, "openslide.mpp")
