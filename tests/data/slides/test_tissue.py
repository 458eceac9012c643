"""Masks of glass, tissue, ink and dust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.slides.reader import Level, open_slide
from mirror_data.slides.tissue import (
    TissueParameters,
    find_tissue,
    hole_limit,
    hsv_saturation,
    median_3x3,
    overview_level,
    read_overview,
    tissue_mask,
)
from scipy import ndimage

PARAMETERS = TissueParameters()
PINK = (200, 120, 170)  # saturation 102


def glass(height: int = 200, width: int = 300, noise: int = 3) -> np.ndarray:
    draw = np.random.default_rng(0).integers(-noise, noise + 1, (height, width, 3))
    return (242 + draw).astype(np.uint8)


def test_blank_glass_has_no_tissue():
    for pixels in (glass(), np.full((50, 60, 3), 255, np.uint8), np.full((50, 60, 3), 0, np.uint8), glass(noise=6)):
        mask, threshold = tissue_mask(pixels, 8.0, PARAMETERS)
        assert mask.dtype == np.uint8
        assert mask.shape == pixels.shape[:2]
        assert mask.sum() == 0
        assert threshold == PARAMETERS.least_saturation


def test_a_slide_full_of_tissue_stays_whole():
    pixels = np.empty((200, 200, 3), np.uint8)
    pixels[:] = np.where(np.arange(200)[None, :, None] < 120, PINK, (150, 40, 120))  # pale and strong
    mask, threshold = tissue_mask(pixels, 8.0, PARAMETERS)
    assert threshold == PARAMETERS.most_saturation
    assert mask.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 2), (7, 1), (61, 47)])
def test_median_is_scipys(shape):
    for high in (3, 256):  # with ties and without
        image = np.random.default_rng(0).integers(0, high, shape, dtype=np.uint8)
        assert np.array_equal(median_3x3(image), ndimage.median_filter(image, 3))


def test_square_of_tissue():
    pixels = glass()
    pixels[50:150, 100:200] = PINK
    mask, _ = tissue_mask(pixels, 8.0, PARAMETERS)
    expected = np.zeros_like(mask)
    expected[50:150, 100:200] = 1
    assert (mask != expected).sum() <= 8  # the corners, which the median rounds


def test_glass_at_the_edge_is_no_hole():
    pixels = np.empty((100, 100, 3), np.uint8)
    pixels[:] = PINK
    pixels[:10, :10] = 242  # 6,400 um2 in the corner
    pixels[50:60, 50:60] = 242  # the same inside
    mask, _ = tissue_mask(pixels, 8.0, PARAMETERS)
    assert not mask[:8, :8].any()
    assert mask[50:60, 50:60].all()
    kept, _ = tissue_mask(pixels, 8.0, replace(PARAMETERS, most_hole_um2=hole_limit("keep")))
    assert not kept[52:58, 52:58].any()
    with pytest.raises(BadInput, match="BAD_OPTION"):
        hole_limit("some")


def test_specks_and_holes_by_area():
    pixels = glass(400, 400)
    pixels[20:30, 20:30] = PINK  # 10 x 10 pixels of 8 um: 6,400 um2, a speck
    pixels[60:80, 20:40] = PINK  # 25,600 um2, a piece
    pixels[200:380, 200:380] = PINK
    pixels[220:230, 220:230] = 242  # 6,400 um2, a small hole
    pixels[300:330, 300:330] = 242  # 57,600 um2, a hole
    mask, _ = tissue_mask(pixels, 8.0, PARAMETERS)
    assert mask[15:35, 15:35].sum() == 0
    assert mask[62:78, 22:38].all()
    assert mask[220:230, 220:230].all()
    assert mask[304:326, 304:326].sum() == 0
    coarse, _ = tissue_mask(pixels, 16.0, PARAMETERS)  # the same pixels are four times the area now
    assert coarse[22:28, 22:28].all()
    assert coarse[223:227, 223:227].sum() == 0


def test_ink_and_frame_are_not_tissue():
    pixels = glass()
    pixels[:40] = (12, 4, 8)  # near black, yet of high saturation
    assert tissue_mask(pixels, 8.0, PARAMETERS)[0].sum() == 0


def test_saturation_is_that_of_hsv():
    from skimage.color import rgb2hsv

    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert np.abs(hsv_saturation(pixels, 0) - rgb2hsv(pixels)[..., 1] * 255).max() < 1


def test_overview_level():
    levels = tuple(Level(1, 1, downsample) for downsample in (1.0, 4.0, 16.0, 64.0))
    assert overview_level(levels, 0.25, 8.0) == 2
    assert overview_level(levels, 0.5, 8.0) == 2
    assert overview_level(levels, 0.505, 8.0) == 2
    assert overview_level(levels, 0.51, 8.0) == 1
    assert overview_level(levels, 10.0, 8.0) == 0


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_mask_does_not_depend_on_the_levels(make_slide, levels, monkeypatch):
    monkeypatch.setattr("mirror_data.slides.tissue.BLOCK_PX", 250)  # several blocks, not a divisor of the side
    with open_slide(make_slide(levels=levels, compression="deflate")) as reader:
        tissue = find_tissue(reader, PARAMETERS)
    assert tissue.mask.shape == tissue.thumbnail.shape[:2] == (57, 75)
    assert tissue.mpp == pytest.approx(8.0, abs=0.01)
    assert tissue.transparent_share == 0
    inside = tissue.mask[12:43, 16:47]  # the piece lies at (240, 180) to (752, 692) of level 0, 16 pixels each
    assert inside.mean() > 0.97
    assert tissue.mask.sum() - inside.sum() <= 130


def test_overview_is_the_mean(make_slide):
    pixels = np.random.default_rng(1).integers(0, 256, (331, 450, 3), np.uint8)
    with open_slide(make_slide(pixels=pixels, compression="deflate", levels=1)) as reader:
        overview = read_overview(reader, PARAMETERS)
    assert overview.pixels.shape == (21, 29, 3)
    assert np.abs(overview.pixels[3, 5] - pixels[48:64, 80:96].mean((0, 1))).max() <= 1
    assert np.abs(overview.pixels[20, 28] - pixels[320:, 448:].mean((0, 1))).max() <= 1  # what is left at the corner


def test_big_slides_have_coarser_masks(make_slide):
    with open_slide(make_slide(levels=1)) as reader:
        overview = read_overview(reader, TissueParameters(max_pixels=1000))
    assert overview.pixels.shape[0] * overview.pixels.shape[1] <= 1000
    assert overview.mpp == pytest.approx(0.5 * 34)


def test_bad_parameters():
    for bad in ({"mpp": 0}, {"least_saturation": 70}, {"closing_um": -1}):
        with pytest.raises(BadInput) as caught:
            TissueParameters(**bad)
        assert caught.value.code == "BAD_OPTION"


def test_real_slide(shared):
    with open_slide(shared / "data/slides/cmu1_small_region.svs") as reader:
        tissue = find_tissue(reader, PARAMETERS)
    assert tissue.mask.mean() == pytest.approx(0.36, abs=0.03)  # the mask was looked at
    assert tissue.mask[:, :30].sum() < 300  # glass on the left but for one sliver
    assert tissue.mask[120:170, 60:85].all()
