"""Verdicts on tiles: what is dropped is what was spoilt, and nothing else."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.slides.quality import QualityCounts, QualityParameters, Verdict, count_verdicts, judge_tiles
from PIL import Image
from scipy import ndimage

MPP = 0.5
INKS = {
    "blue": (0.15, 0.3, 0.75),
    "dark blue": (0.08, 0.12, 0.5),
    "green": (0.1, 0.55, 0.3),
    "teal": (0.1, 0.5, 0.55),
    "black": (0.06, 0.06, 0.06),
}


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Four tiles of one picture, coloured like eosin: uint8 (4, 256, 256, 3)."""
    from skimage.data import immunohistochemistry

    picture = (immunohistochemistry() * np.array([0.95, 0.65, 0.85])).astype(np.uint8)
    return np.stack([picture[y : y + 256, x : x + 256] for y in (0, 256) for x in (0, 256)])


@pytest.fixture(scope="module")
def lung(shared) -> np.ndarray:
    """48 of the 190 tiles of TCGA lung."""
    with zipfile.ZipFile(shared / "data/tiles/tcga_luad_lusc_190_tiles.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::4]
        return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])


def blurred(tiles: np.ndarray, sigma_um: float, mpp: float = MPP) -> np.ndarray:
    return ndimage.gaussian_filter(tiles, (0, sigma_um / mpp, sigma_um / mpp, 0))


def drawn_over(tiles: np.ndarray, ink: tuple[float, ...], width: int) -> np.ndarray:
    """A stroke down the left of each tile, which lets the tissue shine through."""
    marked = tiles.astype(float)
    marked[:, :, :width] = marked[:, :, :width] * np.array(ink) + 6
    return marked.astype(np.uint8)


def flat(*colour: int) -> np.ndarray:
    return np.full((1, 256, 256, 3), colour, np.uint8)


def test_tissue_is_kept(tissue):
    assert judge_tiles(tissue, MPP).tolist() == [Verdict.KEPT] * 4


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_blur_is_found_at_every_pixel_size(tissue, mpp):
    side = round(256 * MPP / mpp)
    tiles = np.stack([np.asarray(Image.fromarray(tile).resize((side, side), Image.Resampling.BOX)) for tile in tissue])
    assert judge_tiles(tiles, mpp).tolist() == [Verdict.KEPT] * 4
    assert judge_tiles(blurred(tiles, 2.5, mpp), mpp).tolist() == [Verdict.BLURRED] * 4


def test_pale_tissue_in_focus_is_kept_and_out_of_focus_is_not(tissue):
    pale = (255 * (tissue / 255) ** 0.3).astype(np.uint8)
    assert judge_tiles(pale, MPP).tolist() == [Verdict.KEPT] * 4
    assert judge_tiles(blurred(pale, 2.5), MPP).tolist() == [Verdict.BLURRED] * 4


def test_noise_is_not_taken_for_structure(tissue):
    noise = np.random.default_rng(0).normal(0, 1, tissue.shape)
    noisy = (blurred(tissue, 6) + noise).clip(0, 255).round().astype(np.uint8)
    assert judge_tiles(noisy, MPP).tolist() == [Verdict.BLURRED] * 4


def test_glass_shadow_and_frame_are_empty():
    rng = np.random.default_rng(0)
    glass = (flat(242, 240, 243) + rng.normal(0, 2, (1, 256, 256, 3))).round().astype(np.uint8)
    tiles = np.concatenate([glass, flat(255, 255, 255), flat(140, 140, 143), flat(0, 0, 0)])
    assert judge_tiles(tiles, MPP).tolist() == [Verdict.EMPTY] * 4


def test_a_speck_does_not_fill_a_tile(tissue):
    tile = flat(243, 243, 243)
    tile[0, :32, :32] = tissue[0, :32, :32]  # 1.6 %
    assert judge_tiles(tile, MPP).tolist() == [Verdict.EMPTY]
    tile[0, :64, :64] = tissue[0, :64, :64]  # 6.3 %
    assert judge_tiles(tile, MPP).tolist() == [Verdict.KEPT]


@pytest.mark.parametrize("ink", list(INKS))
def test_ink_is_found_on_tissue_and_on_glass(tissue, ink):
    assert judge_tiles(drawn_over(tissue, INKS[ink], 64), MPP).tolist() == [Verdict.PEN] * 4
    assert judge_tiles(drawn_over(flat(243, 243, 243), INKS[ink], 64), MPP).tolist() == [Verdict.PEN]
    assert judge_tiles(drawn_over(tissue, INKS[ink], 12), MPP).tolist() == [Verdict.KEPT] * 4  # 5 %


def test_a_black_frame_beside_tissue_is_no_ink(tissue):
    tiles = tissue.copy()
    tiles[:, :100] = 0
    assert judge_tiles(tiles, MPP).tolist() == [Verdict.KEPT] * 4


def test_red_ink_is_not_told_from_eosin(tissue):
    assert Verdict.PEN not in judge_tiles(drawn_over(tissue, (0.85, 0.1, 0.15), 64), MPP)


def test_a_verdict_does_not_depend_on_the_batch(tissue):
    tiles = np.concatenate([tissue, blurred(tissue, 3), drawn_over(tissue, INKS["blue"], 64), flat(244, 244, 244)])
    order = np.random.default_rng(1).permutation(len(tiles))
    together = judge_tiles(tiles, MPP)
    assert (judge_tiles(tiles[order], MPP) == together[order]).all()
    assert [int(judge_tiles(tile[None], MPP)[0]) for tile in tiles] == together.tolist()
    assert judge_tiles(tiles[:0], MPP).shape == (0,)


def test_counts(tissue):
    tiles = np.concatenate([tissue, blurred(tissue[:2], 3), flat(244, 244, 244)])
    counts = count_verdicts(judge_tiles(tiles, MPP))
    assert counts == QualityCounts(kept=4, empty=1, pen=0, blurred=2)
    assert (counts + QualityCounts(pen=3)).dropped() == {"empty": 1, "pen": 3, "blurred": 2}
    assert count_verdicts(np.zeros(0, np.uint8)) == QualityCounts()


def test_limits_switch_off(tissue):
    spoilt = np.concatenate([blurred(tissue[:1], 4), drawn_over(tissue[:1], INKS["blue"], 200), flat(9, 9, 9)])
    off = QualityParameters(least_tissue=0, most_ink=1, least_sharpness=0)
    assert judge_tiles(spoilt, MPP, off).tolist() == [Verdict.KEPT] * 3


def test_a_tile_too_small_to_tell_is_kept(tissue):
    assert judge_tiles(blurred(tissue, 4)[:, :12, :12], MPP).tolist() == [Verdict.KEPT] * 4


@pytest.mark.parametrize(
    "wrong",
    [{"least_tissue": 1.5}, {"most_ink": -0.1}, {"least_sharpness": float("nan")}, {"noise_levels": float("inf")}],
)
def test_wrong_parameters(wrong):
    with pytest.raises(BadInput) as caught:
        QualityParameters(**wrong)
    assert caught.value.code == "BAD_OPTION"


def test_real_tiles(lung):
    assert count_verdicts(judge_tiles(lung, MPP)) == QualityCounts(kept=len(lung))
    assert count_verdicts(judge_tiles(blurred(lung, 2), MPP)) == QualityCounts(blurred=len(lung))
    for ink in INKS.values():
        assert count_verdicts(judge_tiles(drawn_over(lung, ink, 64), MPP)) == QualityCounts(pen=len(lung))


@pytest.mark.parametrize("name", ["cmu1_small_region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides(shared, name):
    """Of a real slide's tiles, glass is empty, and of those with tissue none is dropped without a reason."""
    import openslide

    mpp = 0.499 if name.startswith("cmu") else 1.0  # the other does not say: judged by its nuclei
    with openslide.OpenSlide(shared / "data/slides" / name) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    corners = [(y, x) for y in range(0, len(pixels) - 255, 256) for x in range(0, pixels.shape[1] - 255, 256)]
    tiles = np.stack([pixels[y : y + 256, x : x + 256] for y, x in corners])
    chroma = np.ptp(tiles, axis=3)
    coloured = (chroma * 12.0 > tiles.max(3)).mean((1, 2))
    assert set(judge_tiles(tiles[coloured < 0.005], mpp).tolist()) == {Verdict.EMPTY}
    counts = count_verdicts(judge_tiles(tiles[coloured > 0.25], mpp))
    expected = QualityCounts(kept=38, pen=1) if name.startswith("cmu") else QualityCounts(kept=160)
    assert counts == expected  # the one carries a surgeon's green dye
