"""Bags: float16 (N, P) arrays in one uncompressed shard of 256-row chunks, each chunk with a CRC-32C.

The layout is plain zarr 3 and any zarr library reads it. We read it ourselves because a checksum that nobody checks is
worth nothing: the zarrs 0.2.3 codec pipeline skips the inner chunks' CRC when a whole shard is read (a flipped byte
went unnoticed), and zarr-python's own pipeline, which checks, takes 2.5 times as long.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mirror_data.store import commit as rule
from mirror_data.store.files import Files
from mirror_data.store.schema import BAG_CHUNK_ROWS

_ENTRY = np.dtype("<u8")
_CRC_BYTES = 4


def bag_tree(name: str, values: np.ndarray) -> dict[str, bytes]:
    """Keys and bytes of a bag named ``name``."""
    from zarr.codecs import Crc32cCodec

    rows, width = values.shape
    chunks = max(1, -(-rows // BAG_CHUNK_ROWS))

    def fill(group: Any) -> None:
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(BAG_CHUNK_ROWS, width),
            shards=(BAG_CHUNK_ROWS * chunks, width),
            compressors=[Crc32cCodec()],
            filters=None,
            config=rule.STORE_EVERY_CHUNK,
        )
        array[...] = values

    tree, _ = rule.build_tree(fill)
    return tree


def read_bag(files: Files, document: rule.Document, name: str) -> np.ndarray:
    """The whole bag, every chunk checked.

    Raises:
        StoreError: ``CORRUPT_STORE``, naming the key.
    """
    rows, width = document.arrays[name]["shape"]
    dtype = np.dtype(document.arrays[name]["dtype"]).newbyteorder("<")
    meta = json.loads(rule.read_key(files, document, f"{name}/zarr.json"))
    if meta["shape"] != [rows, width]:
        raise rule.corrupt(files, f"{document.path}/{name}", "the array's shape differs from the commit document")
    if rows == 0:
        return np.empty((0, width), dtype)
    key = f"{document.path}/{name}/c/0/0"
    try:
        shard = files.read(key)
    except KeyError:
        raise rule.corrupt(files, key, "a key of this record is missing") from None
    chunks = _chunks(files, key, shard, -(-rows // BAG_CHUNK_ROWS), BAG_CHUNK_ROWS * width * dtype.itemsize)
    return np.frombuffer(b"".join(chunks), dtype).reshape(-1, width)[:rows]


def _chunks(files: Files, key: str, shard: bytes, count: int, chunk_bytes: int) -> list[bytes]:
    """The chunks of a shard in order: its index (offset, length of each, CRC) stands at the end."""
    import google_crc32c

    index_bytes = 2 * _ENTRY.itemsize * count
    index = shard[-index_bytes - _CRC_BYTES : -_CRC_BYTES]
    if len(index) != index_bytes or google_crc32c.value(index) != int.from_bytes(shard[-_CRC_BYTES:], "little"):
        raise rule.corrupt(files, key, "the shard's index is damaged or cut")
    found = []
    for number, (offset, length) in enumerate(np.frombuffer(index, _ENTRY).reshape(count, 2).tolist()):
        chunk = shard[offset : offset + length - _CRC_BYTES]
        stored = int.from_bytes(shard[offset + length - _CRC_BYTES : offset + length], "little")
        if len(chunk) != chunk_bytes or google_crc32c.value(chunk) != stored:
            raise rule.corrupt(files, key, f"chunk {number} (rows from {number * BAG_CHUNK_ROWS}) fails its checksum")
        found.append(chunk)
    return found
