"""Stain normalisation: the colours of a slide moved to those of a fixed reference, fitted once a slide.

``macenko``   Optical density is a mixture of two stains. Their directions are the extremes, by angle, of the stained
              pixels in the plane of greatest variance; their strength is the 99th percentile of each. Each pixel's
              amounts are kept, relative to the strongest, and mixed again from the reference's stains.
              Macenko et al. 2009, doi:10.1109/ISBI.2009.5193250.
``reinhard``  The mean and standard deviation of each axis of the colour space l-alpha-beta are moved to the
              reference's. Reinhard et al. 2001, doi:10.1109/38.946629; the space is Ruderman et al. 1998,
              doi:10.1364/JOSAA.15.002036.

Both are, pixel by pixel, one affine map of the logarithm of light (`ColourMap`): 0.7 and 1.0 ms a tile of 256 pixels on
one core. A pixel's new colour depends on nothing but its old one and the slide's fit, so overlapping tiles agree.
Reinhard's makes no difference between tissue and glass, which takes a tint; Macenko's leaves glass white.

Fitted on stained pixels alone, so the share of glass in a sample does not matter: those with an optical density of at
least 0.15 in every channel, and not in the colour of ink. (Left in, the green dye of CMU-1 turned its haematoxylin into
(0.79, 0.53, 0.30); without, it is (0.65, 0.66, 0.38).)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mirror_data.errors import BadInput, BadSlide, some
from mirror_data.slides.quality import has_ink_colour

StainMethod = Literal["macenko", "reinhard"]

LIGHT = 240.0  # grey level of unstained glass, as the reference's strengths assume
LEAST_DENSITY = 0.15  # optical density below which a pixel is taken for unstained
EXTREME_PERCENT = 1.0  # the angles taken for pure stains: this percentile, and 100 less it
STRONG_PERCENT = 99.0
LEAST_PIXELS = 1000
LEAST_ANGLE, MOST_ANGLE = 10.0, 60.0  # degrees between two stains; grey has 0, one noisy stain up to 8, tissue 14 to 40

RGB_TO_LMS = ((0.3811, 0.5783, 0.0402), (0.1967, 0.7244, 0.0782), (0.0241, 0.1288, 0.8444))
LMS_TO_LAB = ((3**-0.5,) * 3, (6**-0.5, 6**-0.5, -2 * 6**-0.5), (2**-0.5, -(2**-0.5), 0.0))
LEAST_LMS = 1.0  # a darker pixel is taken to be this light: the logarithm of black is no colour
MOST_LOG = 12.0  # beyond white by far; keeps exponentials finite


@dataclass(frozen=True)
class MacenkoStains:
    """Two stains as optical density (natural logarithm) of red, green and blue, and how strong each gets."""

    haematoxylin: tuple[float, float, float]  # of length 1
    eosin: tuple[float, float, float]
    strongest: tuple[float, float]  # 99th percentile of the amount of each

    def record(self) -> dict[str, Any]:
        """As a tiling's parameters keep it."""
        return {"method": "macenko", **asdict(self)}


@dataclass(frozen=True)
class ReinhardColours:
    """Mean and standard deviation of l, alpha and beta, with natural logarithms of grey levels 0 to 255."""

    mean: tuple[float, float, float]
    sd: tuple[float, float, float]

    def record(self) -> dict[str, Any]:
        """As a tiling's parameters keep it."""
        return {"method": "reinhard", **asdict(self)}


# The stains and strengths that implementations of Macenko's method have shared since that of M. Veta (2013, for the
# challenge AMIDA13).
MACENKO_REFERENCE = MacenkoStains((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581), (1.9705, 1.0308))
# Mean over four slides of TCGA lung (LUAD and LUSC, two each) of what `fit_reinhard` finds on their tiles. The colour
# standard of Amgad et al. 2019 (doi:10.1093/bioinformatics/btz083; 8.741, -0.124, 0.044 and 0.614, 0.110, 0.029) is of
# a whole region, glass included: stained pixels alone, moved to it, come out far too light.
REINHARD_REFERENCE = ReinhardColours((8.2237, -0.1554, 0.0597), (0.5627, 0.1195, 0.0285))


@dataclass(frozen=True)
class ColourMap:
    """light' = after . exp(matrix . log(before . (light + lift)) + offset), on grey levels."""

    before: np.ndarray | None  # (3, 3)
    lift: float
    matrix: np.ndarray  # (3, 3)
    offset: np.ndarray  # (3,)
    after: np.ndarray | None  # (3, 3)

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Tiles in the reference's colours.

        Args:
            tiles: uint8 (B, H, W, 3), RGB.

        Returns:
            uint8 (B, H, W, 3), rounded to the nearest level.
        """
        changed = np.empty_like(tiles)
        shape = (tiles[0].size // 3, 3) if len(tiles) else (0, 3)
        one, other = np.empty(shape, np.float32), np.empty(shape, np.float32)
        matrix, offset = _for_rows(self.matrix), self.offset.astype(np.float32)
        before = None if self.before is None else _for_rows(self.before)
        after = None if self.after is None else _for_rows(self.after)
        for tile, result in zip(tiles, changed, strict=True):  # one by one: the buffers stay in the cache
            np.copyto(one, tile.reshape(shape))
            one += np.float32(self.lift)
            if before is not None:
                np.maximum(np.matmul(one, before, out=other), np.float32(LEAST_LMS), out=one)
            np.log(one, out=one)
            np.matmul(one, matrix, out=other)
            other += offset
            np.exp(np.minimum(other, np.float32(MOST_LOG), out=other), out=other)
            light = other if after is None else np.matmul(other, after, out=one)
            np.clip(np.rint(light, out=light), 0, 255, out=light)
            np.copyto(result, light.reshape(tile.shape), casting="unsafe")
        return changed


def fit_stain(method: StainMethod, pixels: np.ndarray) -> MacenkoStains | ReinhardColours:
    """Fit a slide by the method of that name; see `fit_macenko`, `fit_reinhard`."""
    methods: dict[str, Callable[[np.ndarray], MacenkoStains | ReinhardColours]]
    methods = {"macenko": fit_macenko, "reinhard": fit_reinhard}
    if method not in methods:
        raise BadInput("BAD_OPTION", "unknown normalisation", key="--stain", expected=some(list(methods)), got=method)
    return methods[method](pixels)


def fit_macenko(pixels: np.ndarray) -> MacenkoStains:
    """The two stains of a slide.

    Args:
        pixels: uint8 (..., 3), RGB: a sample of the slide's tissue. 100,000 pixels are plenty.

    Raises:
        BadSlide: ``STAIN_NOT_FOUND`` if fewer than 1,000 pixels are stained, or the pixels are not a mixture of two
            stains.
    """
    density = _stained_density(pixels)  # (n, 3)
    _, vectors = np.linalg.eigh(np.cov(density.T))
    plane = vectors[:, :0:-1]  # (3, 2), the direction of most variance first
    plane = plane * np.where(plane.sum(0) < 0, -1, 1)  # towards more stain, so that angles do not wrap
    across, along = density @ plane[:, 1], density @ plane[:, 0]
    angles = np.percentile(np.arctan2(across, along), [EXTREME_PERCENT, 100 - EXTREME_PERCENT])
    between = float(np.degrees(angles[1] - angles[0]))
    if not LEAST_ANGLE <= between <= MOST_ANGLE:
        expected = f"{LEAST_ANGLE:g} to {MOST_ANGLE:g} degrees between two stains"
        raise _not_found("the tissue's colours are no mixture of two stains", expected, f"{between:.1f}")
    stains = plane @ np.stack([np.cos(angles), np.sin(angles)])  # (3, 2)
    if stains[0, 0] < stains[0, 1]:
        stains = stains[:, ::-1]  # haematoxylin absorbs more red
    amounts = np.linalg.lstsq(stains, density.T)[0]  # (2, n)
    strongest = np.percentile(amounts, STRONG_PERCENT, axis=1)
    if not (strongest > 0).all():
        raise _not_found("one of two stains is nowhere", "an amount above 0", str(strongest.round(3).tolist()))
    return MacenkoStains(_triple(stains[:, 0]), _triple(stains[:, 1]), (float(strongest[0]), float(strongest[1])))


def fit_reinhard(pixels: np.ndarray) -> ReinhardColours:
    """The colour statistics of a slide; arguments and errors as `fit_macenko`'s, of one colour refused."""
    density = _stained_density(pixels)
    light = LIGHT * np.exp(-density) - 1
    lms = np.maximum(light @ np.array(RGB_TO_LMS).T, LEAST_LMS)
    lab = np.log(lms) @ np.array(LMS_TO_LAB).T  # (n, 3)
    mean, sd = lab.mean(0), lab.std(0)
    if sd.min() < 1e-3:
        raise _not_found("the tissue has one colour only", "varying colours", "a standard deviation of 0")
    return ReinhardColours(_triple(mean), _triple(sd))


def colour_map(
    fitted: MacenkoStains | ReinhardColours, reference: MacenkoStains | ReinhardColours | None = None
) -> ColourMap:
    """What moves the fitted slide's colours to a reference's: of the same method, by default the one above."""
    if isinstance(fitted, MacenkoStains):
        target = reference or MACENKO_REFERENCE
        if isinstance(target, MacenkoStains):
            return _macenko_map(fitted, target)
    else:
        target = reference or REINHARD_REFERENCE
        if isinstance(target, ReinhardColours):
            return _reinhard_map(fitted, target)
    raise BadInput("BAD_OPTION", "slide and reference were fitted by different methods", key="reference")


def _macenko_map(source: MacenkoStains, target: MacenkoStains) -> ColourMap:
    """Density d = log LIGHT - log(light + 1); mixed anew, d' = target . scale . unmix . d; light' = LIGHT exp(-d')."""
    unmix = np.linalg.pinv(np.array([source.haematoxylin, source.eosin]).T)  # (2, 3)
    scale = np.diag(np.array(target.strongest) / np.array(source.strongest))
    matrix = np.array([target.haematoxylin, target.eosin]).T @ scale @ unmix
    offset = np.log(LIGHT) * (1 - matrix.sum(1))
    return ColourMap(None, 1.0, matrix, offset, None)


def _reinhard_map(source: ReinhardColours, target: ReinhardColours) -> ColourMap:
    to_lms, to_lab = np.array(RGB_TO_LMS), np.array(LMS_TO_LAB)
    scale = np.array(target.sd) / np.array(source.sd)
    shift = np.array(target.mean) - scale * np.array(source.mean)
    matrix = to_lab.T @ np.diag(scale) @ to_lab  # its inverse is its transpose
    return ColourMap(to_lms, 0.0, matrix, to_lab.T @ shift, np.linalg.inv(to_lms))


def _stained_density(pixels: np.ndarray) -> np.ndarray:
    """Optical density, float64 (n, 3), of the pixels that are stained and not inked."""
    flat = pixels.reshape(-1, 3)
    flat = flat[~has_ink_colour(flat)]
    density = np.log(LIGHT / (np.arange(256) + 1.0))[flat]
    density = density[(density >= LEAST_DENSITY).all(axis=1)]
    if len(density) < LEAST_PIXELS:
        raise _not_found("too few stained pixels to fit", f"at least {LEAST_PIXELS:,}", f"{len(density):,}")
    return density


def _not_found(message: str, expected: str, got: str) -> BadSlide:
    hint = "tile this slide without stain normalisation, and look whether it is H&E"
    return BadSlide("STAIN_NOT_FOUND", message, expected=expected, got=got, hint=hint)


def _for_rows(matrix: np.ndarray) -> np.ndarray:
    """For pixels as rows: ``rows @ _for_rows(m)`` is m times each."""
    return np.ascontiguousarray(matrix.T, np.float32)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
