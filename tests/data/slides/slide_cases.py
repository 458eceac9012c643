"""Small slides of every kind the direct reader claims, described so that hypothesis can draw them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
from hypothesis import strategies as st

from benchmarks.slide_files import (
    DEFLATE,
    JP2K_RGB,
    JP2K_YCBCR,
    JPEG,
    LZW,
    NONE,
    RGB,
    YCBCR,
    TiffImage,
    aperio_description,
    write_tiff,
)

TABLES = 347
PREDICTOR = 317
KINDS = (NONE, DEFLATE, LZW, JPEG, JP2K_YCBCR, JP2K_RGB)


@dataclass(frozen=True)
class SlideCase:
    """One slide, up to its pixels, which follow from ``seed``."""

    compression: int = JPEG
    photometric: int = RGB  # of the TIFF; matters for JPEG
    inside: str = "RGB"  # colour model of the JPEG streams themselves, "RGB" or "YCBCR"
    subsampling: str = "444"
    shared_tables: bool = True
    aperio: bool = True
    differenced: bool = False
    size: tuple[int, int] = (300, 200)
    tile: tuple[int, int] = (64, 64)
    ratios: tuple[float, ...] = (2,)  # of the lower levels
    missing: float = 0.0  # share of tiles never written, of generic slides
    order: str = "<"  # OpenSlide opens ">" only if big
    big: bool = False
    seed: int = 0


@st.composite
def slide_cases(draw: st.DrawFn) -> SlideCase:
    compression = draw(st.sampled_from(KINDS))
    aperio = compression in (JP2K_RGB, JP2K_YCBCR) or draw(st.booleans())
    side = st.integers(9, 500)
    order, big = draw(st.sampled_from([("<", False), ("<", True), (">", True)]))
    # OpenSlide refuses uncompressed tiles unless their bytes are a multiple of 1,024.
    tile_side = st.sampled_from([32, 64, 256] if compression == NONE else [16, 48, 64, 240, 256])
    return SlideCase(
        compression=compression,
        photometric=draw(st.sampled_from([RGB, YCBCR])) if compression == JPEG else RGB,
        inside=draw(st.sampled_from(["RGB", "YCBCR"])),
        subsampling=draw(st.sampled_from(["444", "422", "420", "440", "411"])),
        shared_tables=draw(st.booleans()),
        aperio=aperio,
        differenced=draw(st.booleans()),
        size=(draw(side), draw(side)),
        tile=(draw(tile_side), draw(tile_side)),
        ratios=draw(st.sampled_from([(), (2,), (4,), (2, 4), (2.01, 7.9)])),
        missing=0.0 if aperio else draw(st.sampled_from([0.0, 0.3])),
        order=order,
        big=big,
        seed=draw(st.integers(0, 9)),
    )


def write_case(path: Path, case: SlideCase) -> None:
    rng = np.random.default_rng(case.seed)
    images = []
    for level, ratio in enumerate((1, *case.ratios)):
        width, height = (max(1, int(side / ratio)) for side in case.size)
        image = encode_level(picture(width, height, rng), case)
        if case.missing:
            kept = rng.random(len(image.tiles)) >= case.missing
            image = replace(image, tiles=[tile if keep else b"" for tile, keep in zip(image.tiles, kept, strict=True)])
        if case.aperio:
            image = replace(image, description=aperio_description(width, height))
        images.append(replace(image, reduced=level > 0, mpp=None if case.aperio else 0.5 * ratio))
    write_tiff(path, images, order=case.order, big=case.big)


def picture(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Waves of colour, some pixels of noise and some full white and black: uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    channels = [128 + 100 * np.sin((x * a + y * b) / 9 + c) for a, b, c in rng.normal(size=(3, 3)) + 0.2]
    pixels = np.stack(channels, axis=-1) + rng.normal(0, 12, (height, width, 1))
    pixels[rng.random((height, width)) < 0.05] = rng.choice([0, 255])
    return pixels.clip(0, 255).astype(np.uint8)


def encode_level(pixels: np.ndarray, case: SlideCase) -> TiffImage:
    height, width = pixels.shape[:2]
    tile_width, tile_height = case.tile
    rows, columns = -(-height // tile_height), -(-width // tile_width)
    padding = ((0, rows * tile_height - height), (0, columns * tile_width - width), (0, 0))
    padded = np.pad(pixels, padding, mode="edge")
    tiles = [
        encode_tile(padded[y : y + tile_height, x : x + tile_width], case)
        for y in range(0, rows * tile_height, tile_height)
        for x in range(0, columns * tile_width, tile_width)
    ]
    tags = {}
    if case.compression == JPEG and case.shared_tables:
        tags[TABLES] = split_tables(tiles[0])[0]
        tiles = [split_tables(tile)[1] for tile in tiles]
    if case.differenced and case.compression in (LZW, DEFLATE):
        tags[PREDICTOR] = 2
    return TiffImage(width, height, case.tile, tiles, case.compression, case.photometric, tags=tags)


def encode_tile(pixels: np.ndarray, case: SlideCase) -> bytes:
    pixels = np.ascontiguousarray(pixels)
    if case.compression == JPEG:
        return imagecodecs.jpeg8_encode(
            pixels,
            75,
            colorspace="RGB",
            outcolorspace=case.inside,
            subsampling=case.subsampling if case.inside == "YCBCR" else "444",
        )
    if case.compression in (JP2K_RGB, JP2K_YCBCR):
        rgb = case.compression == JP2K_RGB
        return imagecodecs.jpeg2k_encode(pixels, 0, codecformat="J2K", reversible=True, mct=rgb, resolutions=2)
    if case.differenced and case.compression != NONE:
        pixels = np.diff(pixels, axis=1, prepend=np.zeros_like(pixels[:, :1]))
    raw = pixels.tobytes()
    return {NONE: bytes, LZW: imagecodecs.lzw_encode, DEFLATE: imagecodecs.zlib_encode}[case.compression](raw)


def split_tables(stream: bytes) -> tuple[bytes, bytes]:
    """A JPEG as tables and abbreviated stream, the way a TIFF shares tables."""
    tables, rest = b"", b""
    at = 2
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4])
        if stream[at + 1] in (0xDB, 0xC4):
            tables += stream[at:end]
        else:
            rest += stream[at:end]
        at = end
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + stream[at:]
