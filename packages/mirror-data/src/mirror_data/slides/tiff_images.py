"""Which tiled images of a TIFF our own decoders can read, and why not the others.

Read: Aperio SVS, generic tiled pyramids and the pyramids of OME-TIFF (whose lower levels are subdirectories); classic
and BigTIFF, either byte order; three interleaved channels of 8 bits as RGB, or YCbCr within JPEG; compressions none,
LZW, deflate, JPEG, and Aperio's two kinds of JPEG 2000. Everything else is `Declined`.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirror_data.slides.reader import Level, true_downsample
from mirror_data.slides.tile_decoders import Decoder, Jpeg2000Decoder, JpegDecoder, PlainDecoder, Undecodable

MAX_TILE_SIDE = 4096  # larger tiles are not worth decoding whole
ASPECT_TOLERANCE = 0.02  # a subdirectory this close to the shape of its parent is a level of it

_COMPRESSIONS = {1: "none", 5: "lzw", 7: "jpeg", 8: "deflate", 32946: "deflate", 33003: "jp2k-ycbcr", 33005: "jp2k-rgb"}
_RGB, _YCBCR = 2, 6
_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION = 254, 258, 259, 262, 266, 274
_SAMPLES, _PLANAR, _PREDICTOR, _OFFSETS, _COUNTS, _SUBDIRECTORIES = 277, 284, 317, 324, 325, 330
_SAMPLE_FORMAT, _TABLES = 339, 347


@dataclass(frozen=True)
class Declined:
    """Why a slide is left to OpenSlide."""

    reason: str


@dataclass(frozen=True)
class TiledImage:
    """One level: where its tiles lie and how they are decoded. A tile of 0 bytes was never written."""

    level: Level
    tile_width: int
    tile_height: int
    offsets: np.ndarray  # int64 (rows * columns,)
    byte_counts: np.ndarray  # int64 (rows * columns,)
    decoder: Decoder
    columns: int
    sparse: bool  # some tiles were never written

    def read_tile(self, file: int, number: int) -> np.ndarray:
        """Pixels of a tile, uint8 (tile_height, tile_width, 3); white if it was never written.

        Raises:
            Undecodable: it is damaged or unusual.
        """
        count = int(self.byte_counts[number])
        if count == 0:
            return np.full((self.tile_height, self.tile_width, 3), 255, np.uint8)
        try:
            data = os.pread(file, count, int(self.offsets[number]))
        except OSError as error:
            raise Undecodable(str(error)) from error
        if len(data) != count:
            raise Undecodable("the file ends within the tile")
        return self.decoder(data)


def find_images(path: Path, levels: tuple[Level, ...], vendor: str | None) -> tuple[TiledImage, ...] | Declined:
    """The tiles of every level of a slide, finest first.

    Args:
        levels: OpenSlide's. Each must be exactly one tiled image of the file. Where OpenSlide sees one level alone,
            subdirectories of it (OME-TIFF) are added as further levels.
        vendor: OpenSlide's name of the format.
    """
    import tifffile

    if vendor not in ("aperio", "generic-tiff"):
        return Declined(f"the format {vendor} is left to OpenSlide")
    try:
        with tifffile.TiffFile(path) as tiff:
            chain: Any = tiff.pages
            pages = [page for page in chain if page.is_tiled]
            images = []
            for level in levels:
                fitting = [page for page in pages if (page.imagewidth, page.imagelength) == (level.width, level.height)]
                if len(fitting) != 1:
                    return Declined(f"{len(fitting)} tiled images of {level.width} x {level.height}")
                images.append(_to_image(fitting[0], level, vendor))
                if len(levels) == 1:
                    images += _subdirectories(fitting[0], level, vendor)
    except Undecodable as reason:
        return Declined(str(reason))
    except (tifffile.TiffFileError, OSError, ValueError, TypeError, KeyError, IndexError, struct.error) as error:
        return Declined(f"tifffile cannot list its images: {type(error).__name__}")
    if vendor == "aperio" and any(image.sparse for image in images[1:]):
        return Declined("a lower level lacks tiles, which OpenSlide makes from the level above")
    return tuple(images)


def _subdirectories(page: Any, finest: Level, vendor: str) -> list[TiledImage]:
    """The lower levels of an OME-TIFF, finest first; none unless all of them are plain."""
    if _SUBDIRECTORIES not in page.tags or page.pages is None:
        return []
    images = []
    for child in page.pages:
        across, down = finest.width / child.imagewidth, finest.height / child.imagelength
        previous = images[-1].level.width if images else finest.width
        alike = abs(across - down) <= ASPECT_TOLERANCE * min(across, down) and child.imagewidth < previous
        if not (alike and child.is_tiled and _tag(child, _SUBFILE, 0) == 1):
            return []
        size = (int(child.imagewidth), int(child.imagelength))
        downsample = true_downsample((finest.width, finest.height), size, (across + down) / 2)
        images.append(_to_image(child, Level(*size, downsample), vendor))
    return images


def _to_image(page: Any, level: Level, vendor: str) -> TiledImage:
    width, height = int(page.tilewidth), int(page.tilelength)
    reason = _oddity(page, width, height)
    if reason:
        raise Undecodable(reason)
    offsets, counts = (np.atleast_1d(np.asarray(page.tags[tag].value, np.int64)) for tag in (_OFFSETS, _COUNTS))
    needed = -(-level.width // width) * -(-level.height // height)
    if not (len(offsets) == len(counts) == needed) or offsets.min() < 0 or counts.min() < 0:
        raise Undecodable(f"{len(offsets)} tile offsets and {len(counts)} lengths, not {needed}")
    decoder = _decoder(page, width, height, vendor)
    return TiledImage(
        level, width, height, offsets, counts, decoder, -(-level.width // width), bool((counts == 0).any())
    )


def _oddity(page: Any, width: int, height: int) -> str | None:
    """What is unusual about an image, None if nothing is."""
    if not (0 < width <= MAX_TILE_SIDE and 0 < height <= MAX_TILE_SIDE):
        return f"tiles of {width} x {height}"
    bits = np.atleast_1d(np.asarray(_tag(page, _BITS, 1))).tolist()
    formats = np.atleast_1d(np.asarray(_tag(page, _SAMPLE_FORMAT, 1))).tolist()
    for oddity, what in (
        (_tag(page, _SAMPLES, 1) != 3, f"{_tag(page, _SAMPLES, 1)} channels"),
        (set(bits) != {8}, f"{max(bits)} bits a channel"),
        (set(formats) != {1}, "samples that are not unsigned integers"),
        (_tag(page, _PLANAR, 1) != 1, "channels in separate planes"),
        (_tag(page, _ORIENTATION, 1) != 1, f"orientation {_tag(page, _ORIENTATION, 1)}"),
        (_tag(page, _FILL_ORDER, 1) != 1, "bits in reverse order"),
        (_tag(page, _COMPRESSION, 1) not in _COMPRESSIONS, f"compression {_tag(page, _COMPRESSION, 1)}"),
    ):
        if oddity:
            return what
    return None


def _decoder(page: Any, width: int, height: int, vendor: str) -> Decoder:
    photometric, predictor = _tag(page, _PHOTOMETRIC, None), _tag(page, _PREDICTOR, 1)
    compression = _COMPRESSIONS[_tag(page, _COMPRESSION, 1)]
    if compression == "jpeg" and photometric in (_RGB, _YCBCR):
        tables = bytes(_tag(page, _TABLES, b""))
        return JpegDecoder.make(width, height, tables, ycbcr=photometric == _YCBCR)
    if compression in ("jp2k-ycbcr", "jp2k-rgb") and vendor == "aperio":
        return Jpeg2000Decoder(width, height, compression == "jp2k-ycbcr")
    if compression in ("none", "deflate", "lzw") and photometric == _RGB:
        if predictor in (1, 2):
            return PlainDecoder(width, height, compression, predictor == 2 and compression != "none")
        raise Undecodable(f"predictor {predictor}")
    raise Undecodable(f"colour model {photometric} in compression {compression}")


def _tag(page: Any, code: int, default: Any) -> Any:
    """The value of a tag as a plain number, tuple or bytes."""
    if code not in page.tags:
        return default
    value = page.tags[code].value
    return int(value) if isinstance(value, int) else value
