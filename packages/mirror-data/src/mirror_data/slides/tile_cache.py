"""Decoded tiles, kept as long as a fixed number of bytes allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Key = tuple[int, int]  # level, number of the tile in it


@dataclass
class _Underway:
    """A tile that some thread is decoding. Whoever gets past ``done`` finds it there, or None if it failed."""

    done: threading.Lock = field(default_factory=threading.Lock)
    tile: np.ndarray | None = None


class TileCache:
    """The tiles used last, up to ``capacity`` bytes.

    Neighbouring regions share tiles, and so do neighbouring threads: a tile that one thread decodes is waited for by
    the others, so that each is decoded once. Reading in raster order decodes nothing twice if two rows of the file's
    tiles fit.
    """

    def __init__(self, capacity: int, decode: Callable[[Key], np.ndarray]) -> None:
        """
        Args:
            capacity: bytes of tiles to keep.
            decode: makes a tile; called without a lock held. What it raises reaches the caller of `fetch`.
        """
        self.capacity = capacity
        self.decoded = 0  # tiles decoded so far
        self._decode = decode
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._underway: dict[Key, _Underway] = {}

    def __len__(self) -> int:
        """Tiles kept now."""
        return len(self._tiles)

    def fetch(self, keys: Sequence[Key]) -> list[np.ndarray]:
        """The tiles named (none twice), in that order. They are shared: read them, never write to them."""
        found: dict[Key, np.ndarray] = {}
        mine: list[Key] = []
        others: list[tuple[Key, _Underway]] = []
        with self._lock:
            for key in keys:
                tile = self._tiles.get(key)
                if tile is not None:
                    self._tiles.move_to_end(key)
                    found[key] = tile
                elif (underway := self._underway.get(key)) is not None:
                    others.append((key, underway))
                else:
                    started = _Underway()
                    started.done.acquire()
                    self._underway[key] = started
                    mine.append(key)
        try:
            while mine:  # own tiles first: whoever waits for them may be waited for below
                found[mine[0]] = self._make(mine[0])
                del mine[0]
        finally:
            for key in mine:
                self._finish(key, None)
        for key, underway in others:
            with underway.done:
                tile = underway.tile
            found[key] = self._decode(key) if tile is None else tile
        return [found[key] for key in keys]

    def _make(self, key: Key) -> np.ndarray:
        tile = self._decode(key)
        self._finish(key, tile)
        return tile

    def _finish(self, key: Key, tile: np.ndarray | None) -> None:
        with self._lock:
            underway = self._underway.pop(key)
            if tile is not None:
                self.decoded += 1
                self._tiles[key] = tile
                self._bytes += tile.nbytes
                while self._bytes > self.capacity and len(self._tiles) > 1:
                    _, oldest = self._tiles.popitem(last=False)
                    self._bytes -= oldest.nbytes
        underway.tile = tile
        underway.done.release()
