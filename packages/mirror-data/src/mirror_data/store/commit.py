"""The commit rule: a record is its arrays, then one document that makes it exist.

A record is a zarr group. Its arrays are built in memory, written and synced; then the group's own ``zarr.json`` is
created, holding the attributes, shape and SHA-256 of every array, the SHA-256 of every stored key, and a hash of the
document itself. Readers recognise a record by that document alone, so a writer that dies leaves nothing behind but keys
that the next writer sweeps away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mirror_data.errors import Busy, StoreError
from mirror_data.store.files import Files
from mirror_data.store.schema import FORMAT_VERSION, is_record

DOCUMENT = "zarr.json"


@dataclass(frozen=True)
class Document:
    """A committed record's own metadata."""

    path: str
    kind: str  # what the record is: "slide", "features", ...
    attributes: dict[str, Any]  # the record's own attributes
    arrays: dict[str, dict[str, Any]]  # name -> shape, dtype, sha256 of the values in C order
    keys: dict[str, str] = field(repr=False)  # stored key, relative to the record -> sha256 of its bytes
    parents: dict[str, str]  # store path -> hash of what this record was derived from
    hash: str  # identity of the record


def canonical(value: object) -> bytes:
    """One spelling of a JSON value: sorted keys, no white space, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def array_digest(values: np.ndarray) -> dict[str, Any]:
    """Shape, dtype and SHA-256 of an array's little-endian bytes in C order."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    data = little.data.cast("B") if values.size else b""
    return {"shape": list(values.shape), "dtype": values.dtype.name, "sha256": sha256(data)}


STORE_EVERY_CHUNK = {"write_empty_chunks": True}  # a chunk equal to the fill value is stored like any other
CONTAINER = canonical({"attributes": {}, "node_type": "group", "zarr_format": 3})


def root_document() -> bytes:
    attributes = {"mirror": {"format": FORMAT_VERSION, "kind": "cohort"}}
    return canonical({"attributes": attributes, "node_type": "group", "zarr_format": 3})


def build_tree(fill: Callable[[Any], None]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Run ``fill`` on an empty in-memory zarr group; returns its keys and bytes, and the group's attributes."""
    import zarr
    from zarr.storage import MemoryStore

    buffers: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(buffers), zarr_format=3)
    fill(group)
    tree = {key: buffer.to_bytes() for key, buffer in sorted(buffers.items())}
    attributes = json.loads(tree.pop(DOCUMENT))["attributes"]
    return tree, attributes


def commit(
    files: Files,
    path: str,
    kind: str,
    tree: Mapping[str, bytes],
    *,
    arrays: Mapping[str, dict[str, Any]],
    attributes: Mapping[str, Any],
    parents: Mapping[str, str],
    overwrite: bool = False,
) -> str:
    """Write one record; returns its hash. Without ``overwrite``, an equal record that is there already stays.

    Raises:
        StoreError: ``EXISTS`` if another record is committed there and ``overwrite`` is not set.
        Busy: another process committed or is committing it.
    """
    document = f"{path}/{DOCUMENT}"
    body: dict[str, Any] = {
        "kind": kind,
        "format": FORMAT_VERSION,
        "arrays": dict(arrays),
        "keys": {key: sha256(data) for key, data in sorted(tree.items())},
        "parents": dict(parents),
    }
    body["hash"] = _identity(attributes, body)
    text = canonical({"attributes": {**attributes, "mirror": body}, "node_type": "group", "zarr_format": 3})
    with files.claim(path):
        if files.exists(document):
            if not overwrite:
                if read_document(files, path).hash == body["hash"]:
                    return body["hash"]
                raise StoreError(
                    "EXISTS",
                    "another record stands here in the store",
                    file=files.url,
                    key=path,
                    hint="use --overwrite to replace it",
                )
            files.delete(document)
        files.delete(path)
        _ensure_containers(files, path)
        for key, data in tree.items():
            files.write(f"{path}/{key}", data)
        try:
            files.create(document, text)
        except FileExistsError:
            raise Busy("BUSY", "another process committed this item", file=files.url, key=path) from None
    return body["hash"]


def joint_hash(hashes: Mapping[str, str]) -> str:
    """One hash for several records, by path."""
    return sha256(canonical(sorted(hashes.items())))


def _identity(attributes: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    return sha256(canonical({"attributes": {k: v for k, v in attributes.items() if k != "mirror"}, "body": body}))


def _ensure_containers(files: Files, path: str) -> None:
    """Give the store and every group above a record its document, so that any zarr reader can walk down to it."""
    parts = path.split("/")[:-1]
    if not files.exists(DOCUMENT):
        with contextlib.suppress(FileExistsError):
            files.create(DOCUMENT, root_document())
    for depth in range(1, len(parts) + 1):
        above = "/".join(parts[:depth])
        document = f"{above}/{DOCUMENT}"
        if is_record(above):
            if not files.exists(document):
                raise StoreError("INCOMPLETE", "the record above was never committed", file=files.url, key=above)
        elif not files.exists(document):
            with contextlib.suppress(FileExistsError):  # another writer made the same bytes a moment ago
                files.create(document, CONTAINER)


def read_document(files: Files, path: str) -> Document:
    """The committed document of a record, verified.

    Raises:
        StoreError: ``MISSING``, ``INCOMPLETE``, ``CORRUPT_STORE`` or ``NEWER_FORMAT``, naming the key.
    """
    key = f"{path}/{DOCUMENT}"
    try:
        raw = files.read(key)
    except KeyError:
        code = "INCOMPLETE" if files.keys(path) else "MISSING"
        message = "this record was never committed" if code == "INCOMPLETE" else "this record is not in the store"
        raise StoreError(code, message, file=files.url, key=path, hint="run the command that writes it") from None
    return parse_document(files, path, raw)


def parse_document(files: Files, path: str, raw: bytes) -> Document:
    key = f"{path}/{DOCUMENT}"
    try:
        parsed = json.loads(raw)
        attributes = parsed["attributes"]
        body = attributes.pop("mirror")
        version = body["format"]
        if version > FORMAT_VERSION:
            raise newer_format(files, key, version)
        claimed = body.pop("hash")
        sound = _identity(attributes, body) == claimed
        body["hash"] = claimed
        respelt = canonical({"attributes": {**attributes, "mirror": body}, "node_type": "group", "zarr_format": 3})
        document = Document(path, body["kind"], attributes, body["arrays"], body["keys"], body["parents"], claimed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(files, key, f"the record's document cannot be read: {type(error).__name__}") from None
    if not sound or respelt != raw:
        raise corrupt(files, key, "the record's document does not match its own hash")
    return document


def read_tree(files: Files, document: Document, part: str = "") -> Any:
    """The record as a read-only zarr group in memory, every key checked against its digest.

    Args:
        part: read only the keys that start so.

    Raises:
        StoreError: ``CORRUPT_STORE``, naming the key that is missing or altered.
    """
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    make = default_buffer_prototype().buffer.from_bytes
    top = canonical({"attributes": document.attributes, "node_type": "group", "zarr_format": 3})
    buffers = {DOCUMENT: make(top)}
    for key in (key for key in document.keys if key.startswith(part)):
        buffers[key] = make(read_key(files, document, key))
    return zarr.open_group(MemoryStore(buffers, read_only=True), mode="r", zarr_format=3)


def read_key(files: Files, document: Document, key: str) -> bytes:
    """The bytes of one of a record's keys, checked against the document."""
    full = f"{document.path}/{key}"
    try:
        data = files.read(full)
    except KeyError:
        raise corrupt(files, full, "a key of this record is missing") from None
    if sha256(data) != document.keys[key]:
        raise corrupt(files, full, "the bytes differ from what was committed")
    return data


def corrupt(files: Files, key: str, message: str) -> StoreError:
    return StoreError(
        "CORRUPT_STORE",
        message,
        file=files.url,
        key=key,
        hint="restore it from a copy, or write it again with --overwrite",
    )


def newer_format(files: Files, key: str, version: object) -> StoreError:
    return StoreError(
        "NEWER_FORMAT",
        "this store was written by a newer version of mirror-data",
        file=files.url,
        key=key,
        expected=f"format {FORMAT_VERSION} or older",
        got=f"format {version}",
        hint="install a newer mirror-data",
    )
