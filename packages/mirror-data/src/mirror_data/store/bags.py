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


def chunk_checksums(shard: bytes, rows: int) -> str:
    """SHA-256 of the CRC-32C of every chunk, in order: tells bags apart without hashing all of their bytes."""
    count = -(-rows // BAG_CHUNK_ROWS)
    ends = [offset + length for offset, length in _entries(_index(shard, count), count)]
    return rule.sha256(b"".join(shard[end - _CRC_BYTES : end] for end in ends))


def read_bag(files: Files, document: rule.Document, name: str) -> np.ndarray:
    """The whole bag, every chunk checked, and that they are the chunks of this bag and not of one as large.

    Bags of version 0.1.0 do not say which chunks they are; one that was exchanged is found by `check` alone.

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
    known = document.arrays[name].get("checksums")
    if known is not None and known != chunk_checksums(shard, rows):
        raise rule.corrupt(files, key, "these are another bag's chunks")
    return np.frombuffer(b"".join(chunks), dtype).reshape(-1, width)[:rows]


def _chunks(files: Files, key: str, shard: bytes, count: int, chunk_bytes: int) -> list[bytes]:
    """The chunks of a shard in order: its index (offset, length of each, CRC) stands at the end."""
    import google_crc32c

    index = _index(shard, count)
    if len(index) != 2 * _ENTRY.itemsize * count or google_crc32c.value(index) != int.from_bytes(
        shard[-_CRC_BYTES:], "little"
    ):
        raise rule.corrupt(files, key, "the shard's index is damaged or cut")
    found = []
    for number, (offset, length) in enumerate(_entries(index, count)):
        chunk = shard[offset : offset + length - _CRC_BYTES]
        stored = int.from_bytes(shard[offset + length - _CRC_BYTES : offset + length], "little")
        if len(chunk) != chunk_bytes or google_crc32c.value(chunk) != stored:
            raise rule.corrupt(files, key, f"chunk {number} (rows from {number * BAG_CHUNK_ROWS}) fails its checksum")
        found.append(chunk)
    return found


def _index(shard: bytes, count: int) -> bytes:
    return shard[-2 * _ENTRY.itemsize * count - _CRC_BYTES : -_CRC_BYTES]


def _entries(index: bytes, count: int) -> list[list[int]]:
    """Offset and length of each chunk, its CRC included."""
    return np.frombuffer(index, _ENTRY).reshape(count, 2).tolist()
