"""Decoded tiles, kept as long as they may be wanted again, within a fixed number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

START_BYTES = 16 * 2**20
GROWTH = 4  # tiles

Key = tuple[int, int]  # level, number of the tile in it


@dataclass
class _Underway:
    """A tile that some thread is decoding. Whoever gets past ``done`` finds it there, or None if it failed."""

    done: threading.Lock = field(default_factory=threading.Lock)
    tile: np.ndarray | None = None


class TileCache:
    """The tiles used last.

    Neighbouring regions share tiles, and so do neighbouring threads: a tile that one thread decodes is waited for by
    the others, so that each is decoded once.

    The less memory is cycled through, the more of it stays in the processor's own caches. So this one starts small and
    grows by a few tiles whenever one has to be decoded again that a larger cache would have kept, up to ``limit``.
    Reading in raster order, it settles at two rows of the tiles that are read.
    """

    def __init__(self, limit: int, decode: Callable[[Key], np.ndarray], start: int = START_BYTES) -> None:
        """
        Args:
            limit: bytes of tiles to keep at most.
            decode: makes a tile; called without a lock held. What it raises reaches the caller of `fetch`.
            start: bytes of tiles to keep at first.
        """
        self.capacity = min(start, limit)
        self.decoded = 0  # tiles decoded so far
        self._limit = limit
        self._decode = decode
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._dropped: OrderedDict[Key, None] = OrderedDict()  # the tiles dropped last
        self._underway: dict[Key, _Underway] = {}

    def __len__(self) -> int:
        """Tiles kept now."""
        return len(self._tiles)

    def fetch(self, keys: Sequence[Key]) -> list[np.ndarray]:
        """The tiles named (none twice), in that order. They are shared: read them, never write to them."""
        tiles = self._tiles
        mine: list[int] = []
        others: list[tuple[int, _Underway]] = []
        with self._lock:
            found = [tiles.get(key) for key in keys]
            for place, key in enumerate(keys):
                if found[place] is not None:
                    tiles.move_to_end(key)
                elif (underway := self._underway.get(key)) is not None:
                    others.append((place, underway))
                else:
                    started = _Underway()
                    started.done.acquire()
                    self._underway[key] = started
                    mine.append(place)
        try:
            while mine:  # own tiles first: whoever waits for them may be waited for below
                found[mine[0]] = self._make(keys[mine[0]])
                del mine[0]
        finally:
            for place in mine:
                self._finish(keys[place], None)
        for place, underway in others:
            with underway.done:
                tile = underway.tile
            found[place] = self._decode(keys[place]) if tile is None else tile
        return found  # type: ignore[return-value]  # none is left None

    def _make(self, key: Key) -> np.ndarray:
        tile = self._decode(key)
        self._finish(key, tile)
        return tile

    def _finish(self, key: Key, tile: np.ndarray | None) -> None:
        with self._lock:
            underway = self._underway.pop(key)
            if tile is not None:
                self.decoded += 1
                self._keep(key, tile)
        underway.tile = tile
        underway.done.release()

    def _keep(self, key: Key, tile: np.ndarray) -> None:
        if key in self._dropped:
            del self._dropped[key]
            self.capacity = min(self.capacity + GROWTH * tile.nbytes, self._limit)
        self._tiles[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > self.capacity and len(self._tiles) > 1:
            oldest, dropped = self._tiles.popitem(last=False)
            self._bytes -= dropped.nbytes
            self._dropped[oldest] = None
        while len(self._dropped) * tile.nbytes > self._limit:
            self._dropped.popitem(last=False)
