"""Tiles to features in one pass: threads read ahead, the encoder works through the batches in order.

Every batch has the same size, the last one filled up with blank tiles: a convolution's rounding depends on the shape of
its batch (measured for efficientnet-lite0 in fp32: up to 7e-6), so features must not depend on how many tiles are left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import numpy as np

from mirror_data.errors import BadSlide
from mirror_data.slides.encoders import Encoder
from mirror_data.slides.grid import read_tile
from mirror_data.slides.reader import SlideReader
from mirror_data.store import Tiling

READERS = 2  # threads that decode
AHEAD = 4  # batches that may lie read or in reading


def encode_tiles(
    reader: SlideReader,
    tiling: Tiling,
    encoder: Encoder,
    *,
    batch_size: int,
    report: Callable[[int], None] = lambda tiles: None,
) -> np.ndarray:
    """Features of every tile of a tiling.

    Args:
        batch_size: tiles the encoder sees at once.
        report: told the number of tiles of each finished batch.

    Returns:
        float16 (N, P), rows as the tiling's.

    Raises:
        BadSlide: ``CORRUPT`` if a tile cannot be decoded, ``NOT_FINITE`` if the encoder gives NaN, infinity or a value
            beyond float16, naming the tile.
    """
    coords = tiling.coords if tiling.coords is not None else np.zeros((0, 2), np.int32)
    features = np.full((len(coords), encoder.width), np.nan, np.float16)  # a row left out would be refused
    start = 0
    with closing(read_batches(reader, tiling, batch_size)) as batches:
        for tiles in batches:  # (batch_size, tile_px, tile_px, 3)
            count = min(batch_size, len(coords) - start)
            with np.errstate(over="ignore"):
                values = encoder(tiles)[:count].astype(np.float16)  # (count, P)
            finite = np.isfinite(values).all(axis=1)
            if not finite.all():
                x, y = coords[start + int(np.argmin(finite))]
                raise BadSlide(
                    "NOT_FINITE",
                    "the encoder gave NaN, infinity or a value beyond float16",
                    key=f"tile at x {x}, y {y}",
                    got=f"{int((~finite).sum())} of {count} tiles of this batch",
                    hint="try --precision fp32; if it stays, look at the weights",
                )
            features[start : start + count] = values
            start += count
            report(count)
    return features


def read_batches(reader: SlideReader, tiling: Tiling, batch_size: int) -> Generator[np.ndarray]:
    """Batches of tiles in order, uint8 (batch_size, tile_px, tile_px, 3), the last one filled up with black."""
    coords, level, tile_px, width = tiling.coords, tiling.read_level, tiling.tile_px, tiling.tile_px_level0
    if coords is None or level is None or tile_px is None or width is None:
        return

    def read(start: int) -> np.ndarray:
        batch = np.zeros((batch_size, tile_px, tile_px, 3), np.uint8)
        for row, (x, y) in enumerate(coords[start : start + batch_size].tolist()):
            batch[row] = read_tile(reader, x, y, level=level, tile_px_level0=width, tile_px=tile_px)
        return batch

    starts = iter(range(0, len(coords), batch_size))
    threads = ThreadPoolExecutor(READERS, thread_name_prefix="tiles")
    try:
        waiting: deque[Future[np.ndarray]] = deque(threads.submit(read, start) for start in islice(starts, AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(read, start) for start in islice(starts, 1))
    finally:
        threads.shutdown(cancel_futures=True)
