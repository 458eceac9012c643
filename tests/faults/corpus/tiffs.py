"""Valid tiny slides with a few bytes changed: number ``k`` is always damaged in the same way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from benchmarks.slide_files import (
    DEFLATE,
    JP2K_RGB,
    JP2K_YCBCR,
    JPEG,
    LZW,
    NONE,
    YCBCR,
    aperio_description,
    write_tiff,
)
from tests.data.slides.conftest import tissue_pixels
from tests.data.slides.slide_cases import SlideCase, encode_level

SOUND = (
    SlideCase(),
    SlideCase(JPEG, YCBCR, inside="YCBCR", subsampling="420", shared_tables=False),
    SlideCase(JPEG, aperio=False, ratios=(2, 4), big=True),
    SlideCase(DEFLATE, aperio=False, differenced=True),
    SlideCase(LZW, aperio=False, big=True, order=">"),
    SlideCase(NONE, aperio=False),
    SlideCase(JP2K_RGB),
    SlideCase(JP2K_YCBCR),
)


@dataclass(frozen=True)
class Sound:
    """A valid slide and where its structure is told."""

    data: bytes
    directories: tuple[int, ...]  # offsets; the values too long for an entry stand right before them
    streams: tuple[int, ...]  # of its tiles


def write_sound(folder: Path) -> list[Sound]:
    """Every sound slide."""
    found = []
    for case in SOUND:
        path = folder / "sound.tif"
        _write(path, case)
        with tifffile.TiffFile(path) as file:
            directories = tuple(page.offset for page in file.pages)
            streams = tuple(at for page in file.pages for at in page.dataoffsets if at)
        found.append(Sound(path.read_bytes(), directories, streams))
        path.unlink()
    return found


def _write(path: Path, case: SlideCase) -> None:
    """A piece of tissue, 350 pixels wide, on glass."""
    pixels = np.full((400, 400, 3), 244, np.uint8)
    pixels[25:375, 25:375] = tissue_pixels()[200:550, 300:650]
    images = []
    for ratio in (1, *case.ratios):
        level = np.asarray(Image.fromarray(pixels).reduce(int(ratio)))
        image = encode_level(level, case)
        if case.aperio:
            image = replace(image, description=aperio_description(*level.shape[1::-1]))
        images.append(replace(image, reduced=ratio > 1, mpp=None if case.aperio else 0.5 * ratio))
    write_tiff(path, images, order=case.order, big=case.big)


def damaged(sound: Sequence[Sound], number: int) -> bytes:
    """Slide ``number``: one of the sound ones after one to four changes, most of them where its structure is told."""
    draw = random.Random(number)
    slide = sound[number % len(sound)]
    data = bytearray(slide.data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        _change(data, slide, draw)
    return bytes(data)


def _change(data: bytearray, slide: Sound, draw: random.Random) -> None:
    at, length = _place(data, slide, draw), draw.choice((1, 1, 2, 4, 8))
    kind = draw.choice(("flip", "noise", "zero", "full", "small", "move", "insert", "delete", "cut"))
    if kind == "flip":
        data[at] ^= 1 << draw.randrange(8)
    elif kind == "noise":
        data[at : at + length] = draw.randbytes(length)
    elif kind in ("zero", "full"):
        data[at : at + length] = (b"\0" if kind == "zero" else b"\xff") * length
    elif kind == "small":  # a believable number in place of another: a count, a type, a compression
        data[at : at + 4] = draw.randrange(70_000).to_bytes(4, "little")
    elif kind == "move":
        other = _place(data, slide, draw)
        data[at : at + 12] = data[other : other + 12]
    elif kind == "insert":
        data[at:at] = draw.randbytes(length)
    elif kind == "delete":
        del data[at : at + length]
    elif draw.random() < 0.3:  # most cuts say the same
        del data[draw.randrange(16, len(data)) :]


def _place(data: bytearray, slide: Sound, draw: random.Random) -> int:
    """Somewhere in the header, in or before a directory, at the start of a tile's stream, or anywhere."""
    where = draw.random()
    if where < 0.1:
        at = draw.randrange(16)
    elif where < 0.6:
        at = draw.choice(slide.directories) + draw.randrange(-150, 250)
    elif where < 0.8:
        at = draw.choice(slide.streams) + draw.randrange(60)
    else:
        at = draw.randrange(len(data))
    return min(at, len(data) - 1)
