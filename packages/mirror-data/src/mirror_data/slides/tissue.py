"""Where on the glass the tissue is: a mask at about 8 micrometres per pixel.

Stained tissue is coloured and glass is grey, so the mask is a threshold on saturation: Otsu's
(doi:10.1109/TSMC.1979.4310076), kept within bounds so that neither blank glass nor a slide full of tissue is split in
two. Every length is in micrometres, so a mask means the same on every scanner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mirror_data.errors import BadInput, BadSlide
from mirror_data.slides.reader import Level, SlideReader

LARGEST_UM2 = 1e10  # ten times a slide's glass
BLOCK_PX = 2048  # side of what is decoded at once: memory does not grow with the slide


@dataclass(frozen=True)
class TissueParameters:
    """What decides a mask. Saturation and value are those of HSV, 0 to 255."""

    mpp: float = 8.0  # of the mask; coarser only where a slide would exceed max_pixels
    max_pixels: int = 2**22
    median_um: float = 24.0  # window of the median filter
    least_saturation: int = 15  # Otsu's threshold is raised to this: blank glass stays empty
    most_saturation: int = 60  # ... and lowered to this: a slide full of tissue stays whole
    least_value: int = 25  # darker pixels are ink or the scanner's frame
    closing_um: float = 40.0  # gaps up to this width are closed
    least_piece_um2: float = 16_384.0  # smaller specks are dropped: 128 um squared, a tile of 256 pixels at 0.5
    most_hole_um2: float = 16_384.0  # smaller holes are filled

    def __post_init__(self) -> None:
        sound = self.mpp > 0 and self.max_pixels > 0 and 0 <= self.least_saturation <= self.most_saturation <= 255
        if not sound or min(self.median_um, self.closing_um, self.least_piece_um2, self.most_hole_um2) < 0:
            raise BadInput("BAD_OPTION", "tissue parameters must be positive, and the least not above the most")


def hole_limit(holes: str) -> float:
    """``most_hole_um2`` for what a user may say of holes: those that are "small" count as tissue, all ("fill"), none
    ("keep").

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    limits = {"small": TissueParameters.most_hole_um2, "fill": LARGEST_UM2, "keep": 0.0}
    if holes not in limits:
        raise BadInput("BAD_OPTION", "unknown policy", key="--holes", expected=", ".join(limits), got=holes)
    return limits[holes]


@dataclass(frozen=True)
class Tissue:
    """A slide's mask and the picture it was made from, on one grid that starts at the slide's top left."""

    mask: np.ndarray  # uint8 (h, w), 1 = tissue
    thumbnail: np.ndarray  # uint8 (h, w, 3), RGB
    mpp: float  # micrometres per pixel of both
    threshold: int  # the saturation that was used
    transparent_share: float  # of the picture's pixels, how many were composed on white


@dataclass(frozen=True)
class Overview:
    """A whole slide at low resolution."""

    pixels: np.ndarray  # uint8 (h, w, 3)
    mpp: float
    transparent_share: float


def find_tissue(reader: SlideReader, parameters: TissueParameters) -> Tissue:
    """Mask of a slide.

    Raises:
        BadSlide: ``SPARSE`` if nothing but transparency was read, ``CORRUPT`` if it cannot be decoded.
    """
    overview = read_overview(reader, parameters)
    if overview.transparent_share == 1:
        raise BadSlide("SPARSE", "the whole slide is transparent", hint="copy or export the slide again")
    mask, threshold = tissue_mask(overview.pixels, overview.mpp, parameters)
    return Tissue(mask, overview.pixels, overview.mpp, threshold, overview.transparent_share)


def read_overview(reader: SlideReader, parameters: TissueParameters) -> Overview:
    """The slide at the mask's resolution, read block by block from the coarsest level that is fine enough.

    A pixel is the mean of ``factor`` x ``factor`` pixels of that level.
    """
    from PIL import Image

    index = overview_level(reader.levels, reader.mpp, parameters.mpp)
    level = reader.levels[index]
    factor = max(1, round(parameters.mpp / (reader.mpp * level.downsample)))
    factor = max(factor, math.floor(math.sqrt(level.width * level.height / parameters.max_pixels)))
    while (height := -(-level.height // factor)) * (width := -(-level.width // factor)) > parameters.max_pixels:
        factor += 1
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, BLOCK_PX // factor)
    before = reader.transparent
    for top in range(0, height, rows):
        for left in range(0, width, rows):
            x, y = left * factor, top * factor
            block_width = min(rows * factor, level.width - x)
            block_height = min(rows * factor, level.height - y)
            block = reader.read_region(index, x, y, block_width, block_height)
            if factor > 1:
                block = np.asarray(Image.fromarray(block).reduce(factor))
            pixels[top : top + len(block), left : left + block.shape[1]] = block
    transparent = (reader.transparent - before) / (level.width * level.height)
    return Overview(pixels, reader.mpp * level.downsample * factor, transparent)


def overview_level(levels: tuple[Level, ...], slide_mpp: float, mpp: float) -> int:
    """The coarsest level that is not coarser than ``mpp`` (within 1 %), else the finest."""
    fine_enough = [i for i, level in enumerate(levels) if slide_mpp * level.downsample <= mpp * 1.01]
    return max(fine_enough, key=lambda i: levels[i].downsample, default=0)


def tissue_mask(pixels: np.ndarray, mpp: float, parameters: TissueParameters) -> tuple[np.ndarray, int]:
    """Mask of an overview, and the saturation threshold it was cut at.

    Args:
        pixels: uint8 (h, w, 3), RGB.
        mpp: its micrometres per pixel.

    Returns:
        uint8 (h, w), 1 = tissue.
    """
    from scipy import ndimage

    median = max(1, round(parameters.median_um / mpp)) | 1
    closing = max(1, round(parameters.closing_um / mpp)) | 1
    saturation = hsv_saturation(pixels, parameters.least_value)
    saturation = median_3x3(saturation) if median == 3 else ndimage.median_filter(saturation, median)
    threshold = saturation_threshold(saturation, parameters)
    mask = (saturation > threshold).astype(np.uint8)
    mask = ndimage.grey_closing(mask, (closing, closing), mode="nearest")
    mask = _drop_small(mask, parameters.least_piece_um2 / mpp**2)
    return _fill_holes(mask, parameters.most_hole_um2 / mpp**2), threshold


def hsv_saturation(pixels: np.ndarray, least_value: int) -> np.ndarray:
    """Saturation of HSV in 0 to 255, uint8 (h, w); 0 where the pixel is darker than ``least_value``."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    saturation = chroma.astype(np.uint16) * 255 // np.maximum(value, 1)
    return np.where(value < least_value, 0, saturation).astype(np.uint8)


def median_3x3(image: np.ndarray) -> np.ndarray:
    """Median of each pixel's 3 x 3 neighbours, uint8 (h, w), mirrored at the edges; `scipy.ndimage`'s result.

    Columns of three are sorted once for the three windows that share them. The median of nine is then that of the
    largest minimum, the middle median and the smallest maximum (Paeth, Graphics Gems, 1990): 18 comparisons of whole
    images, a sixth of scipy's time.
    """
    padded = np.pad(image, 1, mode="symmetric")
    low, middle, high = _sorted(padded[:-2], padded[1:-1], padded[2:])  # (h, w + 2) each
    lowest = np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    highest = np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    _, middle, _ = _sorted(middle[:, :-2], middle[:, 1:-1], middle[:, 2:])
    return _sorted(lowest, middle, highest)[1]


def _sorted(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest, middle and largest, pixel by pixel."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    return np.minimum(low, c), np.maximum(low, np.minimum(high, c)), np.maximum(high, c)


def saturation_threshold(saturation: np.ndarray, parameters: TissueParameters) -> int:
    """Otsu's threshold within the parameters' bounds; tissue is above it."""
    from skimage.filters import threshold_otsu

    counts = np.bincount(saturation.ravel(), minlength=256)
    if (counts > 0).sum() < 2:
        return parameters.least_saturation
    otsu = int(threshold_otsu(hist=(counts, np.arange(256))))
    return min(max(otsu, parameters.least_saturation), parameters.most_saturation)


def _drop_small(mask: np.ndarray, least_pixels: float) -> np.ndarray:
    """``mask`` without its connected pieces of fewer pixels."""
    from scipy import ndimage

    pieces, _ = ndimage.label(mask)
    areas = np.bincount(pieces.ravel())
    kept = areas >= least_pixels
    kept[0] = False
    return kept[pieces].astype(np.uint8)


def _fill_holes(mask: np.ndarray, most_pixels: float) -> np.ndarray:
    """``mask`` with its holes of fewer pixels filled. Glass that touches the slide's edge is no hole."""
    from scipy import ndimage

    pieces, _ = ndimage.label(mask == 0)
    filled = np.bincount(pieces.ravel()) < most_pixels
    edges = (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1])
    filled[np.unique(np.concatenate(edges))] = False
    filled[0] = False  # the tissue itself, which stays what it is
    return mask | filled[pieces]
