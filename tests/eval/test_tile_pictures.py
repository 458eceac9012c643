"""Pictures of single tiles: the pixels that the slide has there, or a reason why there are none."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Slide
from mirror_eval.tile_pictures import SlideFiles, from_file, from_thumbnail, slide_files, tile_pictures

from tests.eval.attention_store import GRID, SIZE, WEIGHTS, attention_of

SLIDE = "data/slides/cmu1_small_region.svs"  # 2220 x 2967, one level
COORDS = np.array([[0, 0], [1100, 1500], [1974, 2721]], dtype=np.int32)  # the last reaches 10 pixels over both edges
WEIGHTS_3 = np.array([0.2, 0.5, 0.3])


def code_of(call, *arguments) -> str:
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    return caught.value.code


def test_cut_out_of_the_thumbnail():
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)  # 8 level-0 pixels each
    shown = attention_of(WEIGHTS, Slide("A", "a", SIZE, 0.5, thumbnail=picture), GRID, 256.0)
    found = from_thumbnail(shown, [5, 0])
    assert found.source == "thumbnail"
    assert np.array_equal(found.images[0], picture[72:104, 40:72])  # level-0 (320, 576), 256 wide
    assert np.array_equal(found.images[1], picture[40:72, 0:32])


def test_a_thumbnail_too_coarse_to_recognise_anything():
    picture = np.zeros((120, 160, 3), np.uint8)
    shown = attention_of(WEIGHTS, Slide("A", "a", SIZE, 0.5, thumbnail=picture), GRID, 256.0)
    assert code_of(from_thumbnail, shown, [0]) == "TOO_COARSE"
    wider = attention_of(WEIGHTS, Slide("A", "a", SIZE, 0.5, thumbnail=picture), GRID, 24 * 16.0)
    assert from_thumbnail(wider, [0]).images[0].shape == (24, 24, 3)
    assert (
        code_of(from_thumbnail, attention_of(WEIGHTS, Slide("A", "a", SIZE, 0.5), GRID, 256.0), [0]) == "NO_THUMBNAIL"
    )


def test_files_of_a_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.svs", "b.tif", "deep/b.svs", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    files = slide_files(tmp_path)
    assert files.of("a") == tmp_path / "a.svs"
    assert code_of(files.of, "b") == "DUPLICATE_ID"
    assert code_of(files.of, "notes") == "NOT_FOUND"
    assert code_of(slide_files, tmp_path / "none") == "NOT_FOUND"
    (tmp_path / "empty").mkdir()
    assert code_of(slide_files, tmp_path / "empty") == "EMPTY"


@pytest.fixture
def real(shared):
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(shared / SLIDE) as opened:
        size, hash_ = opened.dimensions, opened.properties["openslide.quickhash-1"]
        first = np.asarray(opened.read_region((1100, 1500), 0, (256, 256)))[..., :3]
    source = {"size_bytes": (shared / SLIDE).stat().st_size, "quickhash": hash_}
    slide = Slide("cmu1_small_region", "p", size, 0.499, source=source)
    shown = attention_of(WEIGHTS_3, slide, COORDS, 256.0)
    return shown, shared / SLIDE, first


def test_read_from_the_slides_file(real):
    shown, path, first = real
    found = from_file(path, shown, [1, 2])
    assert found.source == "slide"
    assert [image.shape for image in found.images] == [(256, 256, 3)] * 2
    assert first.std() > 20  # tissue
    assert np.array_equal(found.images[0], first)
    assert (found.images[1][-10:] == 255).all()  # beyond the slide
    assert (found.images[1][:, -10:] == 255).all()
    assert not (found.images[1][:-10, :-10] == 255).all()
    assert tile_pictures(shown, [1], slide_files(path.parent)).source == "slide"


def test_another_file_of_the_same_name_is_refused(real, shared, tmp_path):
    shown, path, _ = real
    other = tmp_path / path.name
    shutil.copy(shared / "data/slides/tcga-cr-7395-01a-01-ts1.svs", other)
    assert code_of(from_file, other, shown, [0]) == "MISMATCH"
    for source, size in (({"size_bytes": 1}, None), ({"quickhash": "0"}, None), ({}, (2220, 2968))):
        wrong = replace(shown, slide=replace(shown.slide, source=source, size=size or shown.slide.size))
        assert code_of(from_file, path, wrong, [0]) == "MISMATCH"
    other.unlink()
    assert code_of(from_file, other, shown, [0]) == "NOT_FOUND"
    assert code_of(tile_pictures, shown, [0], SlideFiles(tmp_path, {}, frozenset())) == "NOT_FOUND"
    other.write_bytes(b"<html></html>")
    unknown = replace(shown, slide=replace(shown.slide, source={}))
    assert code_of(from_file, other, unknown, [0]) == "NOT_A_SLIDE"


def test_a_slide_that_states_no_pixel_size(shared):
    """What was told to `tile` then is not asked for again."""
    slide = Slide("tcga-cr-7395-01a-01-ts1", "p", (4443, 3567), 0.5)
    shown = attention_of(WEIGHTS_3, slide, COORDS, 256.0)
    (image,) = from_file(shared / "data/slides/tcga-cr-7395-01a-01-ts1.svs", shown, [1]).images
    assert image.shape == (256, 256, 3)
    assert image.std() > 20
