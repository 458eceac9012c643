"""Which tiles are worth encoding: those with tissue on them, in focus, and not drawn over.

Everything is judged at a fixed physical scale, on pixels of about 1 um made by averaging. H&E is assumed.

``EMPTY``    Hardly a pixel is coloured like tissue: glass (grey and bright), shadow (grey), a scanner's frame (black).
``PEN``      Marker ink covers more than a share of the tile. Haematoxylin and eosin both absorb green at least as much
             as red, so a pixel that absorbs red clearly more is green, teal or blue ink; blue ink also is where blue
             outshines red by far without red outshining green; and what is nearly black, or dark and grey, is black
             ink. **Red ink is not found**: it has the colour of eosin and of red blood cells. Nor is violet ink, which
             has that of haematoxylin, nor a thin wash over deeply stained tissue.
``BLURRED``  The picture has too little fine structure for the coarse structure it has: the mean squared difference of
             neighbouring 1 um pixels over that of neighbouring 4 um pixels, both of light in the green channel, where
             both stains absorb. Staining too pale or too deep changes both alike. What a camera's noise adds to the
             former is taken off first, so that the noise in a picture without any structure is not taken for structure.

Measured with the defaults on tiles of 256 pixels, at least a quarter tissue, half overlapping: 190 of TCGA lung (0.5 um
per pixel), 168 of CMU-1 (0.499), 632 of a TCGA frozen section (taken for 1.0; soft all over).

untouched                  dropped: 0, 6 and 1. The 6 carry a surgeon's green dye on a tenth of the tile or more,
                           the 1 holds a fold out of focus. Without the dyed ones that is 0.1 %.
three times paler          0, 0 and 11 dropped as blurred: of the soft section only
Gaussian blur, lung        blurred at 1 um 2 %, 1.5 um 86 %, 2 um and more all, also under noise of 2 grey levels and
                           JPEG of quality 80; under noise of 4 levels 95 % at 4 um, 16 % at 8 um
  CMU-1, frozen section    1 % and 69 % at 1 um, 67 % and all at 1.5 um, all from 2 um on; noise does less
ink on a quarter of it     blue, dark blue, green, teal, black: all found; pale green 100 %, 100 %, 98 %; pale blue
                           95 %, 100 %, 30 %; thin black 88 %, 98 %, 16 %
ink on bare glass          all found but red and violet
bare glass, 292 tiles      all empty

The limits for blur hold in fine pixels: 1 um at 0.25, 0.5 and 1 um per pixel, 0.67 to 1.5 um in between. Tiles coarser
than that are judged at their own pixels (at 2 um per pixel: none of 632 dropped, all blurred by 4 um found).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum

import numpy as np

from mirror_data.errors import BadInput

FINE_UM = 1.0  # width of the pixels that are judged, as nearly as whole pixels allow
COARSE = 4  # fine pixels to a coarse one
LATTICE = 2  # colours are looked at in every second row and column of fine pixels

TISSUE_SATURATION = 15  # of HSV, 0 to 255; glass of the two slides has 0 to 9
FRAME_VALUE = 8  # darker than this is no ink but the scanner's frame
BLACK_VALUE = 50  # black ink, and hardly ever a nucleus
GREY_BLACK_VALUE = 90  # black ink spread thin, if it is grey besides: chroma below a quarter of the value
INK_GREEN_OVER_RED = 15  # grey levels by which green ink's green exceeds its red
INK_BLUE_OVER_RED = 30
INK_RED_TO_BLUE = 0.7
INK_RED_OVER_GREEN = 10


class Verdict(IntEnum):
    """What becomes of a tile, and why."""

    KEPT = 0
    EMPTY = 1
    PEN = 2
    BLURRED = 3


@dataclass(frozen=True)
class QualityParameters:
    """Limits of the verdicts. A limit of 0, for ink of 1, switches its verdict off."""

    least_tissue: float = 0.02  # share of pixels coloured like tissue; a tile with less is empty
    most_ink: float = 0.1  # share of pixels in ink's colours; a tile with more is a pen's
    least_sharpness: float = 0.14  # energy of differences 1 um apart over 4 um apart; a tile with less is blurred
    noise_levels: float = 0.6  # standard deviation of what noise is taken off, in grey levels of a 1 um pixel

    def __post_init__(self) -> None:
        if not (0 <= self.least_tissue <= 1 and 0 <= self.most_ink <= 1):
            got = f"{self.least_tissue:g}, {self.most_ink:g}"
            raise BadInput("BAD_OPTION", "a share lies between 0 and 1", key="least_tissue, most_ink", got=got)
        if not (0 <= self.least_sharpness < np.inf and 0 <= self.noise_levels < np.inf):
            got = f"{self.least_sharpness:g}, {self.noise_levels:g}"
            message = "sharpness and noise are not negative"
            raise BadInput("BAD_OPTION", message, key="least_sharpness, noise_levels", got=got)


@dataclass(frozen=True)
class QualityCounts:
    """Tiles by verdict."""

    kept: int = 0
    empty: int = 0
    pen: int = 0
    blurred: int = 0

    def __add__(self, other: QualityCounts) -> QualityCounts:
        mine, theirs = asdict(self), asdict(other)
        return QualityCounts(**{name: mine[name] + theirs[name] for name in mine})

    def dropped(self) -> dict[str, int]:
        """Dropped tiles by reason, as a tiling's parameters keep them."""
        return {name: count for name, count in asdict(self).items() if name != "kept"}


def count_verdicts(verdicts: np.ndarray) -> QualityCounts:
    """How many tiles got each verdict."""
    counts = np.bincount(verdicts, minlength=len(Verdict)).tolist()
    return QualityCounts(**{verdict.name.lower(): counts[verdict] for verdict in Verdict})


def judge_tiles(tiles: np.ndarray, mpp: float, parameters: QualityParameters | None = None) -> np.ndarray:
    """Verdict on each tile, whatever else is in the batch.

    Args:
        tiles: uint8 (B, H, H, 3), RGB.
        mpp: micrometres per pixel of the tiles. Tiles coarser than 1 um per pixel are judged at their own pixels, and
            count as blurred from about 2 pixels on.

    Returns:
        uint8 (B,), values of `Verdict`. A tile drawn over counts as such even if it is blurred besides.
    """
    parameters = parameters or QualityParameters()
    return np.array([_judge(tile, mpp, parameters) for tile in tiles], np.uint8)


def _judge(tile: np.ndarray, mpp: float, parameters: QualityParameters) -> Verdict:
    factor = max(1, round(FINE_UM / mpp))
    green = _sums(tile[..., 1], factor, 1)  # factor**2 pixels in each
    colours = _Colours(
        _sums(tile[..., 0], factor, LATTICE), green[::LATTICE, ::LATTICE], _sums(tile[..., 2], factor, LATTICE)
    )
    levels = factor**2
    ink = _ink(colours, levels)
    if ink.mean() > parameters.most_ink:
        return Verdict.PEN
    if (_is_coloured(colours, levels) & ~ink).mean() < parameters.least_tissue:
        return Verdict.EMPTY
    if _sharpness(green, levels, parameters.noise_levels) < parameters.least_sharpness:
        return Verdict.BLURRED
    return Verdict.KEPT


@dataclass(frozen=True)
class _Colours:
    """Sums of the same pixels in three channels, int32 (h, w) each."""

    red: np.ndarray
    green: np.ndarray
    blue: np.ndarray

    @property
    def value(self) -> np.ndarray:
        return np.maximum(np.maximum(self.red, self.green), self.blue)

    @property
    def chroma(self) -> np.ndarray:
        return self.value - np.minimum(np.minimum(self.red, self.green), self.blue)


def _sums(channel: np.ndarray, factor: int, step: int) -> np.ndarray:
    """Sums of squares of ``factor`` x ``factor`` pixels, one square in every ``step`` each way; int32.

    Adding strided views takes a third of the time of a reshaped sum.
    """
    height, width = (side // factor * factor for side in channel.shape)
    stride = factor * step
    parts = [channel[y:height:stride, x:width:stride] for y in range(factor) for x in range(factor)]
    total = parts[0].astype(np.int32)
    for part in parts[1:]:
        total += part
    return total


def has_ink_colour(pixels: np.ndarray) -> np.ndarray:
    """Which pixels have the colour of green, teal or blue ink.

    Args:
        pixels: uint8 (..., 3), RGB.

    Returns:
        bool (...).
    """
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return _coloured_ink(_Colours(red, green, blue), 1)


def _ink(colours: _Colours, levels: int) -> np.ndarray:
    """Pixels in the colours of any ink; ``levels`` is what one grey level comes to in a sum."""
    value = colours.value
    dark_grey = (value < GREY_BLACK_VALUE * levels) & (4 * colours.chroma < value)
    black = ((value < BLACK_VALUE * levels) | dark_grey) & (value >= FRAME_VALUE * levels)
    return _coloured_ink(colours, levels) | black


def _coloured_ink(colours: _Colours, levels: int) -> np.ndarray:
    red, green, blue = colours.red, colours.green, colours.blue
    bluer = (blue - red > INK_BLUE_OVER_RED * levels) & (red < INK_RED_TO_BLUE * blue)
    return (green - red > INK_GREEN_OVER_RED * levels) | (bluer & (red - green <= INK_RED_OVER_GREEN * levels))


def _is_coloured(colours: _Colours, levels: int) -> np.ndarray:
    """Pixels saturated like tissue and not black."""
    value = colours.value
    return (255 * colours.chroma > TISSUE_SATURATION * value) & (value >= FRAME_VALUE * levels)


def _sharpness(fine: np.ndarray, levels: int, noise_levels: float) -> float:
    """Energy of differences between neighbouring pixels over that between neighbouring means of 4 x 4 pixels.

    Args:
        fine: int32 (h, w), sums of ``levels`` pixels.
        noise_levels: standard deviation of the noise to take off, in grey levels of the pixels' means.

    Returns:
        About 0.1 for a picture blurred by 2 pixels (standard deviation of a Gaussian), 0.2 to 1.5 for tissue in focus,
        0 for a picture with no more structure than noise, infinity for one too small to tell.
    """
    coarse = _sums(fine, COARSE, 1)
    if min(coarse.shape) < 2:
        return np.inf
    structure = _energy(fine) / levels**2 - 4 * noise_levels**2  # both differences of two noisy pixels
    if structure <= 0:
        return 0.0
    return structure / max(_energy(coarse) / (levels * COARSE**2) ** 2, 1e-6)


def _energy(sums: np.ndarray) -> float:
    """Mean squared difference across plus that down, of float32 (h, w)."""
    light = sums.astype(np.float32)
    across, down = light[:, 1:] - light[:, :-1], light[1:] - light[:-1]
    return float(np.vdot(across, across)) / across.size + float(np.vdot(down, down)) / down.size
