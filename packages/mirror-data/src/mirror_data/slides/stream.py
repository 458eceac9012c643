"""Tiles to features in one pass: threads read ahead, the encoder works through full batches in order.

Between reading and encoding a tile may be judged (and left out) and its stain normalised; both happen in the reading
threads. Every batch has the same size, the last one filled up with blank tiles: a convolution's rounding depends on the
shape of its batch (measured for efficientnet-lite0 in fp32: up to 7e-6), so features must not depend on how many tiles
are left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mirror_data.errors import BadSlide
from mirror_data.runner import usable_cores
from mirror_data.slides.encoders import Encoder
from mirror_data.slides.grid import read_tile
from mirror_data.slides.quality import Verdict
from mirror_data.slides.reader import SlideReader
from mirror_data.store import Tiling

READERS = 2  # threads that decode for an encoder on the CPU, which needs 40 times as long for a tile
MOST_READERS = 16  # for one on a GPU, if there are so many cores

Judge = Callable[[np.ndarray], np.ndarray]  # uint8 (B, H, H, 3) -> int (B,), a `Verdict` each
Normaliser = Callable[[np.ndarray], np.ndarray]  # uint8 (B, H, H, 3) -> the same


@dataclass(frozen=True)
class Treatment:
    """What happens to tiles between reading and encoding."""

    judge: Judge | None = None
    normalise: Normaliser | None = None


@dataclass(frozen=True)
class Encoded:
    """Features of the tiles that were kept, and the verdict on every tile read."""

    features: np.ndarray  # float16 (N, P), N = number of verdicts to keep
    verdicts: np.ndarray  # uint8 (M,), rows as the tiling's


@dataclass(frozen=True)
class _Chunk:
    """Some tiles of a tiling, in its order."""

    tiles: np.ndarray  # uint8 (k, H, H, 3): the kept ones
    rows: np.ndarray  # int (k,): theirs in the tiling
    verdicts: np.ndarray  # uint8: of all tiles read


def encode_tiles(
    reader: SlideReader,
    tiling: Tiling,
    encoder: Encoder,
    *,
    batch_size: int,
    treatment: Treatment | None = None,
    report: Callable[[int], None] = lambda tiles: None,
) -> Encoded:
    """Features of the tiles of a tiling.

    Args:
        batch_size: tiles the encoder sees at once.
        treatment: done to the tiles first.
        report: told the number of tiles of each finished batch.

    Raises:
        BadSlide: ``CORRUPT`` if a tile cannot be decoded, ``NOT_FINITE`` if the encoder gives NaN, infinity or a value
            beyond float16, naming the tile.
    """
    count = tiling.rows if tiling.coords is not None else 0
    features = np.full((count, encoder.width), np.nan, np.float16)  # a row left out would be refused
    verdicts: list[np.ndarray] = []
    done = 0
    readers = READERS if encoder.device == "cpu" else max(READERS, min(MOST_READERS, usable_cores()))
    with closing(_read(reader, tiling, batch_size, treatment or Treatment(), verdicts, readers)) as chunks:
        for batch in _full_batches(chunks, batch_size):
            filled = len(batch.rows)
            with np.errstate(over="ignore"):
                values = encoder(batch.tiles)[:filled].astype(np.float16)  # (filled, P)
            _require_finite(values, tiling, batch.rows)
            features[done : done + filled] = values
            done += filled
            report(filled)
    return Encoded(features[:done], np.concatenate([*verdicts, np.zeros(0, np.uint8)]))


def _require_finite(values: np.ndarray, tiling: Tiling, rows: np.ndarray) -> None:
    finite = np.isfinite(values).all(axis=1)
    if finite.all() or tiling.coords is None:
        return
    x, y = tiling.coords[rows[int(np.argmin(finite))]]
    raise BadSlide(
        "NOT_FINITE",
        "the encoder gave NaN, infinity or a value beyond float16",
        key=f"tile at x {x}, y {y}",
        got=f"{int((~finite).sum())} of {len(values)} tiles of this batch",
        hint="try --precision fp32; if it stays, look at the weights",
    )


def read_tiles(reader: SlideReader, tiling: Tiling, rows: np.ndarray) -> np.ndarray:
    """Some tiles of a tiling, uint8 (len(rows), tile_px, tile_px, 3)."""
    coords, level, tile_px, width = tiling.coords, tiling.read_level, tiling.tile_px, tiling.tile_px_level0
    if coords is None or level is None or tile_px is None or width is None:
        raise ValueError("a tiling without places cannot be read")
    tiles = np.empty((len(rows), tile_px, tile_px, 3), np.uint8)
    for tile, (x, y) in zip(tiles, coords[rows].tolist(), strict=True):
        tile[:] = read_tile(reader, x, y, level=level, tile_px_level0=width, tile_px=tile_px)
    return tiles


def _read(
    reader: SlideReader, tiling: Tiling, size: int, treatment: Treatment, verdicts: list[np.ndarray], readers: int
) -> Generator[_Chunk]:
    """The kept tiles of every ``size`` tiles of a tiling, in order; ``verdicts`` collects those on all of them.

    Twice as many chunks as ``readers`` may lie read or in reading: memory does not grow with the slide.
    """
    count = tiling.rows if tiling.coords is not None else 0

    def read(start: int) -> _Chunk:
        rows = np.arange(start, min(start + size, count))
        tiles = read_tiles(reader, tiling, rows)
        found = np.zeros(len(rows), np.uint8)
        if treatment.judge is not None:
            found = treatment.judge(tiles).astype(np.uint8)
            tiles, rows = tiles[found == Verdict.KEPT], rows[found == Verdict.KEPT]
        if treatment.normalise is not None and len(tiles):
            tiles = treatment.normalise(tiles)
        return _Chunk(tiles, rows, found)

    starts = iter(range(0, count, size))
    threads = ThreadPoolExecutor(readers, thread_name_prefix="tiles")
    try:
        waiting: deque[Future[_Chunk]] = deque(threads.submit(read, start) for start in islice(starts, 2 * readers))
        while waiting:
            chunk = waiting.popleft().result()
            verdicts.append(chunk.verdicts)
            yield chunk
            waiting.extend(threads.submit(read, start) for start in islice(starts, 1))
    finally:
        threads.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Batch:
    tiles: np.ndarray  # uint8 (batch_size, H, H, 3), the last ones blank if there are too few
    rows: np.ndarray  # int (k,): those of the k tiles that are not blank


def _full_batches(chunks: Iterator[_Chunk], size: int) -> Iterator[_Batch]:
    """The tiles of ``chunks`` in the same order, ``size`` at a time. A chunk that is a batch is not copied."""
    parts: list[_Chunk] = []
    held = 0
    for chunk in chunks:
        if not held and len(chunk.rows) == size:
            yield _Batch(chunk.tiles, chunk.rows)
            continue
        parts.append(chunk)
        held += len(chunk.rows)
        if held >= size:
            tiles, rows = np.concatenate([p.tiles for p in parts]), np.concatenate([p.rows for p in parts])
            yield _Batch(tiles[:size], rows[:size])
            parts = [_Chunk(tiles[size:], rows[size:], chunk.verdicts)]
            held -= size
    if held:
        tiles, rows = np.concatenate([p.tiles for p in parts]), np.concatenate([p.rows for p in parts])
        blank = np.zeros((size - held, *tiles.shape[1:]), np.uint8)
        yield _Batch(np.concatenate([tiles, blank]), rows)
