"""Stain normalisation, against a mixture of known stains and against published implementations."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides.stain import (
    LIGHT,
    LMS_TO_LAB,
    MACENKO_REFERENCE,
    REINHARD_REFERENCE,
    RGB_TO_LMS,
    MacenkoStains,
    ReinhardColours,
    colour_map,
    fit_macenko,
    fit_reinhard,
    fit_stain,
)

HAEMATOXYLIN, EOSIN = np.array([0.60, 0.73, 0.33]), np.array([0.20, 0.86, 0.47])
HAEMATOXYLIN /= np.linalg.norm(HAEMATOXYLIN)
EOSIN /= np.linalg.norm(EOSIN)


def coloured(haematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
    """Pixels, uint8 (..., 3), of amounts of the two stains by Beer and Lambert."""
    density = haematoxylin[..., None] * HAEMATOXYLIN + eosin[..., None] * EOSIN
    return (LIGHT * np.exp(-density) - 1).clip(0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def mixture() -> np.ndarray:
    """Tissue of two stains, many pixels of each nearly pure: uint8 (4, 128, 128, 3)."""
    rng = np.random.default_rng(0)
    share = rng.beta(0.4, 0.4, (4, 128, 128))
    amount = rng.gamma(6, 0.25, (4, 128, 128)).clip(0.5, 3)
    return coloured(share * amount, (1 - share) * amount)


def test_known_stains_are_found(mixture):
    fitted = fit_macenko(mixture)
    for found, true in ((fitted.haematoxylin, HAEMATOXYLIN), (fitted.eosin, EOSIN)):
        assert np.degrees(np.arccos(np.dot(found, true))) < 1.5
    assert np.linalg.norm(fitted.haematoxylin) == pytest.approx(1)
    assert fitted.strongest == pytest.approx((2.6, 2.6), abs=0.25)


def test_the_share_of_glass_and_a_pen_change_nothing(mixture):
    glass = np.full((4, 128, 128, 3), 243, np.uint8)
    pen = np.full((64, 128, 3), (30, 140, 80), np.uint8)
    for fit in (fit_macenko, fit_reinhard):
        alone = fit(mixture)
        assert fit(np.concatenate([mixture.reshape(-1, 3), glass.reshape(-1, 3), pen.reshape(-1, 3)])) == alone


def test_macenko_agrees_with_torchstain(mixture):
    torchstain = pytest.importorskip("torchstain")
    pixels = mixture.reshape(-1, 3)
    density = np.log(LIGHT / (pixels + 1.0))
    stained = pixels[(density >= 0.15).all(axis=1)][:, None]  # theirs takes strengths over glass too, ours does not
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    changed, _, _ = theirs.normalize(stained, stains=False)
    fitted = fit_macenko(stained)
    ours = colour_map(fitted)(stained[None])[0]
    assert set(np.unique(ours.astype(int) - changed)) <= {0, 1}  # theirs cuts fractions off, ours rounds
    theirs.fit(stained)
    np.testing.assert_allclose([fitted.haematoxylin, fitted.eosin], theirs.HERef.T, atol=1e-9)
    np.testing.assert_allclose(fitted.strongest, theirs.maxCRef, atol=1e-9)


# Computed by HistomicsTK 1.4.0 (its lab_mean_std, rgb_to_lab and lab_to_rgb) from these twelve pixels.
PIXELS = [
    *([151, 105, 154], [149, 87, 128], [147, 94, 148], [187, 131, 166], [111, 75, 123], [200, 155, 198]),
    *([94, 23, 83], [251, 204, 236], [233, 202, 243], [166, 69, 112], [212, 182, 218], [196, 162, 195]),
]
MEAN = (8.526593756671637, -0.1318178820404072, 0.051320915427777815)
SD = (0.6827878767719263, 0.09340220223430057, 0.04301554450790922)
AMGAD = ReinhardColours((8.74108109, -0.12440419, 0.0444982), (0.6135447, 0.10989545, 0.0286032))
MOVED = [
    *([170.0025, 120.7117, 174.8608], [164.4932, 104.8757, 145.9371], [164.058, 109.5742, 169.771]),
    *([206.6411, 150.1743, 182.0445], [128.3472, 88.077, 145.5091], [222.5136, 171.9675, 215.4134]),
    *([100.8347, 33.7023, 106.2942], [275.2075, 221.6157, 248.3941], [259.8552, 216.7259, 258.2188]),
    *([175.7343, 89.889, 127.4438], [238.3454, 197.7019, 233.8523], [220.7888, 178.8202, 211.1429]),
]


def test_reinhard_agrees_with_histomicstk():
    moved = colour_map(ReinhardColours(MEAN, SD), AMGAD)(np.array(PIXELS, np.uint8)[None, None])
    assert (moved[0, 0] == np.clip(np.rint(MOVED), 0, 255)).all()


def test_reinhard_statistics_agree_with_histomicstk():
    stained = [pixel for pixel in PIXELS if max(pixel) <= 205]  # what the fit keeps; HistomicsTK was given these
    found = fit_reinhard(np.array(stained * 200, np.uint8))
    assert found.mean == pytest.approx((8.270332758681066, -0.15237524669003902, 0.06246270368685333), abs=1e-9)
    assert found.sd == pytest.approx((0.5968664844722006, 0.0991469614784793, 0.04431448961390272), abs=1e-9)


def test_a_moved_slide_has_macenkos_reference(mixture):
    again = fit_macenko(colour_map(fit_macenko(mixture))(mixture))
    assert again.haematoxylin == pytest.approx(MACENKO_REFERENCE.haematoxylin, abs=0.02)
    assert again.eosin == pytest.approx(MACENKO_REFERENCE.eosin, abs=0.02)
    assert again.strongest == pytest.approx(MACENKO_REFERENCE.strongest, rel=0.05)


def test_a_moved_slide_has_reinhards_reference(mixture):
    stained = mixture[(mixture <= 205).all(axis=-1)]
    moved = colour_map(fit_reinhard(mixture))(stained[None, None])[0, 0]
    lab = np.log(np.maximum(moved @ np.array(RGB_TO_LMS).T, 1)) @ np.array(LMS_TO_LAB).T
    assert lab.mean(0) == pytest.approx(REINHARD_REFERENCE.mean, abs=0.03)
    assert lab.std(0) == pytest.approx(REINHARD_REFERENCE.sd, rel=0.06)


@pytest.mark.parametrize("fitted", [MACENKO_REFERENCE, REINHARD_REFERENCE])
def test_the_reference_stays_as_it_is(mixture, fitted):
    """Macenko's drops what is no mixture of the two stains, so only mixtures of the reference's own are a fair test."""
    if isinstance(fitted, MacenkoStains):
        stains = np.array([fitted.haematoxylin, fitted.eosin])
        amounts = np.random.default_rng(1).uniform(0, 1.2, (16, 16, 2))
        pixels = (LIGHT * np.exp(-amounts @ stains) - 1).round().astype(np.uint8)
        changed = colour_map(fitted)(pixels[None])[0]
        assert np.abs(changed - (pixels + 1.0)).max() <= 1.5  # the published map adds the 1 that its density takes in
    else:
        assert (colour_map(fitted)(mixture) == mixture).all()


def test_macenko_leaves_glass_white(mixture):
    glass = np.full((1, 8, 8, 3), 255, np.uint8)
    assert colour_map(fit_macenko(mixture))(glass).min() >= 240


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
@pytest.mark.filterwarnings("error")
def test_every_colour_has_an_image_whatever_the_batch(mixture, method):
    change = colour_map(fit_stain(method, mixture))
    levels = np.array([0, 1, 5, 60, 130, 200, 254, 255], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, 16, 32, 3)
    assert (change(colours)[0, ::-1] == change(colours[:, ::-1])[0]).all()
    together = change(mixture)
    assert together.dtype == np.uint8
    assert together.flags.c_contiguous
    assert all((change(tile[None])[0] == moved).all() for tile, moved in zip(mixture, together, strict=True))
    assert change(mixture[:0]).shape == (0, 128, 128, 3)


def test_records_are_plain(mixture):
    for method in ("macenko", "reinhard"):
        record = fit_stain(method, mixture).record()
        assert json.loads(json.dumps(record)) == {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}
        assert record["method"] == method


def refused(fit, pixels: np.ndarray) -> BadSlide:
    with pytest.raises(BadSlide) as caught:
        fit(pixels)
    assert caught.value.code == "STAIN_NOT_FOUND"
    return caught.value


@pytest.mark.parametrize("fit", [fit_macenko, fit_reinhard])
def test_too_few_stained_pixels(fit, mixture):
    glass = np.full((200, 200, 3), 244, np.uint8)
    assert refused(fit, glass).got == "0"
    assert refused(fit, np.concatenate([mixture.reshape(-1, 3)[:900], glass.reshape(-1, 3)])).got.isdigit()
    assert refused(fit, np.zeros((0, 3), np.uint8)).expected == "at least 1,000"


def test_what_is_no_mixture_of_two_stains():
    rng = np.random.default_rng(2)
    amount = rng.gamma(3, 0.3, 20_000)
    one = coloured(amount, np.zeros(20_000)) + rng.integers(-1, 2, (20_000, 3))
    grey = rng.integers(60, 180, (20_000, 1)).repeat(3, 1)
    noise = rng.integers(0, 200, (20_000, 3))
    for pixels in (one, grey, noise):
        assert refused(fit_macenko, pixels.clip(0, 255).astype(np.uint8)).expected.startswith("10 to 60 degrees")


def test_one_colour():
    flat = np.full((64, 64, 3), (180, 90, 150), np.uint8)
    refused(fit_reinhard, flat)
    refused(fit_macenko, flat)


def test_wrong_calls(mixture):
    with pytest.raises(BadInput) as caught:
        fit_stain("vahadane", mixture)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.expected) == ("BAD_OPTION", "macenko, reinhard")
    with pytest.raises(BadInput, match="different methods"):
        colour_map(MACENKO_REFERENCE, REINHARD_REFERENCE)


def test_real_slides_come_together(shared):
    """Four slides of lung: after either normalisation their mean colours lie closer than before."""
    from PIL import Image

    slides: dict[str, list[np.ndarray]] = {}
    with zipfile.ZipFile(shared / "data/tiles/tcga_luad_lusc_190_tiles.zip") as archive:
        for name in sorted(archive.namelist())[::3]:
            if name.endswith(".jpg"):
                slides.setdefault(name.split("_")[-1], []).append(
                    np.asarray(Image.open(io.BytesIO(archive.read(name))))
                )
    tiles = [np.stack(found) for found in slides.values()]
    assert len(tiles) == 4

    def spread(sets: list[np.ndarray]) -> float:
        means = [np.mean([pixel for pixel in s.reshape(-1, 3)[::50] if pixel.min() < 200], axis=0) for s in sets]
        return float(np.std(means, axis=0).mean())

    before = spread(tiles)
    for method in ("macenko", "reinhard"):
        after = [colour_map(fit_stain(method, s[:, ::4, ::4]))(s) for s in tiles]
        assert spread(after) < 0.7 * before
    reference = replace(MACENKO_REFERENCE, strongest=(1.0, 0.5))
    paler = colour_map(fit_macenko(tiles[0][:, ::4, ::4]), reference)(tiles[0][:1])
    assert paler.mean() > tiles[0][:1].mean() + 30
