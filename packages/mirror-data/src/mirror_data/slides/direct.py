"""Tiled TIFF slides read without OpenSlide's own decoding: each of the file's tiles is decoded once.

OpenSlide decodes a tile for nearly every region that touches it, and mixes them through a drawing library. Here decoded
tiles are kept (`tile_cache`) and regions are copied out of them, which reads a raster about three times as fast.

OpenSlide stays the authority. It names the levels and the resolution; some tiles are compared with it before anything
is believed; what it alone can read (`tiff_images`, `tile_decoders`) is declined, or, for a single damaged or unusual
tile, handed to it region by region, so that a slide it refuses is refused here in its words.

Which pixel is meant. `read_region` takes pixels of the level. At level 0 both readers return the same. OpenSlide takes
level-0 pixels and divides them by the level's downsample. Where the quotient is a whole number (to 1/1024 of a pixel)
both return the same. Elsewhere, which is nearly everywhere if a level's size is no exact fraction of level 0's (4443 /
2221), OpenSlide blends each pixel with its neighbours to move the picture by the fraction; this reader returns the
stored pixels of the place asked for. The two then differ by less than half a pixel of shift, and OpenSlide's blur.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from mirror_data.errors import BadSlide
from mirror_data.slides.reader import OpenSlideReader, open_slide
from mirror_data.slides.tiff_images import Declined, TiledImage, find_images
from mirror_data.slides.tile_cache import Key, TileCache
from mirror_data.slides.tile_decoders import Undecodable

CACHE_BYTES = 128 * 2**20  # two rows of tiles of a slide 150,000 pixels wide, a third of them tissue
BATCH = 64  # tiles held at once beside the cache
CHECK_SECONDS = 0.03  # no further tile is compared after this
EXACT = 1 / 1024  # of a pixel; OpenSlide starts to blend at about 1/256


@dataclass(frozen=True)
class Opened:
    """A slide and its fastest reader; ``reason`` says why that is not the direct one, None if it is."""

    reader: DirectReader | OpenSlideReader
    reason: str | None

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reader.close()


def open_fastest(path: Path, *, stated_mpp: float | None = None, mpp_override: float | None = None) -> Opened:
    """Open a slide for the direct reader, or for OpenSlide where that declines; takes and raises as `open_slide`."""
    openslide = open_slide(path, stated_mpp=stated_mpp, mpp_override=mpp_override)
    try:
        reader = direct_reader(path, openslide)
    except BaseException:
        openslide.close()
        raise
    return Opened(openslide, reader.reason) if isinstance(reader, Declined) else Opened(reader, None)


def direct_reader(path: Path, openslide: OpenSlideReader, *, cache_bytes: int = CACHE_BYTES) -> DirectReader | Declined:
    """A reader of a tiled TIFF slide, or the reason why OpenSlide has to read it.

    Args:
        path: the slide.
        openslide: the same slide, open. The reader returned closes it; if declined it stays open.
        cache_bytes: of decoded tiles to keep.
    """
    images = find_images(path, openslide.levels, openslide.properties.get("openslide.vendor"))
    if isinstance(images, Declined):
        return images
    reader = DirectReader(path, images, openslide, cache_bytes)
    difference = find_difference(reader)
    if difference is not None:
        reader.release()
        return Declined(difference)
    return reader


class DirectReader:
    """A slide read tile by tile. Safe to read from several threads."""

    def __init__(self, path: Path, images: tuple[TiledImage, ...], openslide: OpenSlideReader, cache: int) -> None:
        self.path = path
        self.name = f"direct, checked against {openslide.name}"
        self.images = images
        self.levels = tuple(image.level for image in images)
        self.mpp = openslide.mpp
        self.mpp_source = openslide.mpp_source
        self.properties = openslide.properties
        self.openslide = openslide
        self.handed_over = 0  # regions that OpenSlide had to read
        self._outside = 0
        self._counting = threading.Lock()
        self._file = os.open(path, os.O_RDONLY)
        self._cache = TileCache(cache, self._read_tile)

    @property
    def size(self) -> tuple[int, int]:
        return self.levels[0].width, self.levels[0].height

    @property
    def transparent(self) -> int:
        """Pixels read so far that lay outside a level or in tiles that were never written."""
        return self._outside + self.openslide.transparent

    @property
    def decoded(self) -> int:
        """Tiles of the file decoded so far."""
        return self._cache.decoded

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Pixels of a rectangle of a level.

        Args:
            x, y: top left in pixels of that level.
            width, height: in pixels of that level. What lies outside the level, or was never written, is white.

        Returns:
            uint8 (height, width, 3), RGB.

        Raises:
            BadSlide: ``CORRUPT``.
        """
        try:
            return self.read_own(level, x, y, width, height)
        except Undecodable as reason:
            return self._hand_over(str(reason), level, x, y, width, height)

    def read_own(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """`read_region` without OpenSlide's help.

        Raises:
            Undecodable: a tile of the file is damaged or unusual.
        """
        image = self.images[level]
        left, right = max(x, 0), min(x + width, image.level.width)
        top, bottom = max(y, 0), min(y + height, image.level.height)
        pixels = np.empty((height, width * 3), np.uint8)
        transparent = width * height - max(right - left, 0) * max(bottom - top, 0)
        if transparent:
            pixels[:] = 255
        columns = _parts(left, right, image.tile_width)
        rows = _parts(top, bottom, image.tile_height)
        at_once = max(1, BATCH // max(1, len(columns)))  # rows of tiles
        for start in range(0, len(rows) if columns else 0, at_once):
            some = rows[start : start + at_once]
            keys = [(level, row.tile * image.columns + column.tile) for row in some for column in columns]
            tiles = iter(self._cache.fetch(keys))
            for row in some:
                line = pixels[row.first - y : row.last - y]
                for column in columns:
                    _copy(line, column.first - x, next(tiles)[row.inside], column.inside)
            if image.sparse:
                transparent += _never_written(image, some, columns)
        if transparent:
            self._count_outside(transparent)
        return pixels.reshape(height, width, 3)

    def _count_outside(self, pixels: int) -> None:
        with self._counting:
            self._outside += pixels

    def _read_tile(self, key: Key) -> np.ndarray:
        level, number = key
        return self.images[level].read_tile(self._file, number)

    def _hand_over(self, reason: str, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        with self._counting:
            self.handed_over += 1
        if level < len(self.openslide.levels):
            return self.openslide.read_region(level, x, y, width, height)
        raise BadSlide(
            "CORRUPT",
            "a part of the slide cannot be decoded",
            file=self.path,
            key=f"level {level}, x {x}, y {y}",
            got=reason,
            hint="copy the file again, or leave it out",
        )

    def release(self) -> None:
        """Close this reader's own file and leave OpenSlide open."""
        os.close(self._file)

    def close(self) -> None:
        self.release()
        self.openslide.close()

    def __enter__(self) -> DirectReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Part(NamedTuple):
    """What a region takes of one column, or row, of tiles."""

    tile: int  # number of the column
    first: int  # in pixels of the level
    last: int  # one beyond
    inside: slice  # the same in pixels of the tile


def _parts(first: int, last: int, side: int) -> list[_Part]:
    """The tiles, each ``side`` wide, that hold the pixels from ``first`` to before ``last``."""
    parts = []
    while first < last:
        tile = first // side
        start = tile * side
        end = min(start + side, last)
        parts.append(_Part(tile, first, end, slice(first - start, end - start)))
        first = end
    return parts


def _copy(line: np.ndarray, at: int, tile: np.ndarray, inside: slice) -> None:
    """Copy columns ``inside`` of ``tile``, uint8 (h, w, 3), to ``line``, uint8 (h, width * 3), from pixel ``at`` on.

    Each row is one item to NumPy. Of so few items it keeps the interpreter's lock; giving it up and waiting for it
    again takes longer than the copy when several threads read.
    """
    first, last = 3 * inside.start, 3 * inside.stop
    row = _rows_of(last - first)
    line[:, 3 * at : 3 * at + last - first].view(row)[:] = tile.reshape(len(tile), -1)[:, first:last].view(row)


@functools.lru_cache(maxsize=1024)
def _rows_of(count: int) -> np.dtype:
    """``count`` bytes as one item."""
    return np.dtype(("V", count))


def _never_written(image: TiledImage, rows: list[_Part], columns: list[_Part]) -> int:
    """Pixels of a region that lie in tiles of no bytes."""
    return sum(
        (row.last - row.first) * (column.last - column.first)
        for row in rows
        for column in columns
        if image.byte_counts[row.tile * image.columns + column.tile] == 0
    )


def find_difference(reader: DirectReader) -> str | None:
    """Compare tiles with OpenSlide's pixels: of each level the one with most bytes, then one at random, finest first.

    Returns:
        What differs, None if nothing does. At least one tile is compared; none is begun after `CHECK_SECONDS`.
    """
    deadline = time.perf_counter() + CHECK_SECONDS
    rng = np.random.default_rng(0)
    checks = [(index, dense) for dense in (True, False) for index in range(len(reader.openslide.levels))]
    for done, (index, dense) in enumerate(checks):
        if done and time.perf_counter() > deadline:
            return None
        image = reader.images[index]
        across, down = reader.size[0] / image.level.width, reader.size[1] / image.level.height
        factor = (across + down) / 2  # OpenSlide's, by which it divides level-0 pixels
        xs, ys = _exact_positions(image.level.width, factor), _exact_positions(image.level.height, factor)
        rows, columns = np.unique(ys // image.tile_height), np.unique(xs // image.tile_width)
        numbers = (rows[:, None] * image.columns + columns).ravel()
        numbers = numbers[image.byte_counts[numbers] > 0]
        if not len(numbers):
            continue
        row, column = divmod(
            int(numbers[image.byte_counts[numbers].argmax()] if dense else rng.choice(numbers)), image.columns
        )
        x, y = int(xs[xs // image.tile_width == column][0]), int(ys[ys // image.tile_height == row][0])
        width = min((column + 1) * image.tile_width, image.level.width) - x
        height = min((row + 1) * image.tile_height, image.level.height) - y
        difference = _compare(reader, index, x, y, width, height)
        if difference is not None:
            return difference
    return None


def _compare(reader: DirectReader, level: int, x: int, y: int, width: int, height: int) -> str | None:
    try:
        ours = reader.read_own(level, x, y, width, height)
    except Undecodable:
        return None  # OpenSlide's own affair. Its first error breaks its handle, so it is not asked before it must be.
    try:
        theirs = reader.openslide.read_region(level, x, y, width, height)
    except BadSlide:
        return f"OpenSlide refuses a tile of level {level} that could be decoded, at x {x}, y {y}"
    return None if np.array_equal(ours, theirs) else f"pixels of level {level} differ from OpenSlide's at x {x}, y {y}"


def _exact_positions(side: int, downsample: float) -> np.ndarray:
    """Pixels of a level, int64, that OpenSlide's level-0 pixels can name."""
    pixels = np.arange(side)
    return pixels[np.abs(np.rint(pixels * downsample) / downsample - pixels) < EXACT]
