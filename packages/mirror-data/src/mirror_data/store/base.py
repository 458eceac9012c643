"""Open a store, and the few moves that every record's write and read are made of.

The pairs themselves, ``write_x(store, x, parents=...) -> hash`` and ``read_x(store, ...) -> record``, stand in
io_slides.py, io_tables.py and io_runs.py. Writes follow the rule of commit.py; reads verify what they return.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd

from mirror_data.errors import StoreError
from mirror_data.opaque import AS_THEY_ARE, Naming, require_same
from mirror_data.store import commit as rule
from mirror_data.store import schema
from mirror_data.store.bags import bag_tree, chunk_checksums
from mirror_data.store.files import Files, open_files

Parents = Mapping[str, str]


class Store:
    """One cohort. Make it with `create_store`, `begin_store` or `open_store`."""

    def __init__(self, files: Files, naming: Naming = AS_THEY_ARE) -> None:
        self.files = files
        self.url = files.url
        self.naming = naming  # of the ids that tables and file names bring

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @property
    def fingerprint(self) -> str | None:
        """That of the key that made the store's ids opaque; None where they are as they were."""
        return _fingerprint(self.files)

    def document(self, path: str) -> rule.Document:
        """The verified document of the record at ``path``."""
        return rule.read_document(self.files, path)

    def has(self, path: str) -> bool:
        """Whether a committed record stands at ``path``."""
        return self.files.exists(f"{path}/{rule.DOCUMENT}")

    def hash(self, path: str) -> str:
        """Identity of a record, or of all that match a pattern with one ``*`` (see `schema.all_features`)."""
        if "*" not in path:
            return self.document(path).hash
        head, tail = path.split("*")
        found = [p for name in self.files.children(head.rstrip("/")) if self.has(p := f"{head}{name}{tail}")]
        return rule.joint_hash({p: self.document(p).hash for p in found})

    def parents(self, *paths: str) -> dict[str, str]:
        """Path and hash of what a new record is derived from."""
        return {path: self.hash(path) for path in paths}

    def keys(self, container: str) -> list[str]:
        """Keys of the committed records in a container ("slides", "splits", ...), sorted."""
        return [name for name in self.files.children(container) if self.has(f"{container}/{name}")]

    def claim(self, item: str) -> AbstractContextManager[None]:
        """Hold the work on ``item`` against other processes; raises `Busy`. Not the path of a record: name the work."""
        return self.files.claim(f"work/{item}")

    @contextlib.contextmanager
    def replacing(self, path: str) -> Iterator[Store]:
        """A store to write the new record at ``path`` into, with all below it: old or new is seen, nothing between.

        On an object store, which cannot exchange anything, the old record goes first.
        """
        with self.files.replacing(path) as staged:
            yield Store(staged, self.naming)

    def make(self) -> None:
        """Write the store's own document, if there is none yet: before its first record, or for an empty store."""
        if not self.files.exists(rule.DOCUMENT):
            with contextlib.suppress(FileExistsError):  # another process made it a moment ago
                self.files.create(rule.DOCUMENT, rule.root_document(self.naming.fingerprint))

    def delete(self, path: str) -> None:
        """Remove a record and all below it; its document goes first, so that it is never seen half."""
        self.files.delete(f"{path}/{rule.DOCUMENT}")
        self.files.delete(path)


def create_store(url: str | os.PathLike, naming: Naming = AS_THEY_ARE) -> Store:
    """Open the store at ``url`` to add to it, making an empty one if there is none.

    Raises:
        StoreError: as `open_store`; ``READ_ONLY``, ``DISK_FULL``.
    """
    begin_store(url, naming).make()
    return open_store(url, naming)


def begin_store(url: str | os.PathLike, naming: Naming = AS_THEY_ARE) -> Store:
    """The store at ``url`` to add to; if there is none, one that its first record makes: bad input leaves nothing.

    Raises:
        StoreError: as `open_store`; ``READ_ONLY``.
    """
    files = open_files(url)
    files.require_writable()
    if not files.exists(rule.DOCUMENT):
        return Store(files, naming)
    files.sweep()
    return open_store(url, naming)


def open_store(url: str | os.PathLike, naming: Naming | None = None) -> Store:
    """Open an existing store.

    Args:
        naming: how ids from outside are named; needed only to add some.

    Raises:
        StoreError: ``NOT_A_STORE``, ``CORRUPT_STORE`` or ``NEWER_FORMAT``; ``MISMATCH`` if the store names otherwise.
    """
    files = open_files(url)
    fingerprint = _fingerprint(files)
    if naming is None:
        return Store(files)
    require_same(fingerprint, naming, files.url)
    return Store(files, naming)


def _fingerprint(files: Files) -> str | None:
    """That of the key that made the store's ids, from its verified document; None where ids are as they are."""
    try:
        raw = files.read(rule.DOCUMENT)
    except KeyError:
        raise StoreError(
            "NOT_A_STORE",
            "there is no cohort store here",
            file=files.url,
            hint="make one with `mirror-data tile`, `expression`, `outcomes` or `import`, or check the path",
        ) from None
    try:
        marks = json.loads(raw)["attributes"]["mirror"]
        version = int(marks["format"])
        is_cohort = marks["kind"] == "cohort"
        fingerprint = marks["opaque_ids"]["fingerprint"] if "opaque_ids" in marks else None
        sound = raw == rule.root_document(fingerprint)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise rule.corrupt(files, rule.DOCUMENT, "the store's own document cannot be read") from None
    if version > schema.FORMAT_VERSION:
        raise rule.newer_format(files, rule.DOCUMENT, version)
    if not is_cohort or not sound:
        raise rule.corrupt(files, rule.DOCUMENT, "the store's own document was altered")
    return fingerprint


def write_record(
    store: Store,
    path: str,
    kind: str,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    bags: Mapping[str, np.ndarray] | None = None,
    elements: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    parents: Parents | None = None,
    overwrite: bool = False,
) -> str:
    """Commit plain arrays, bags (one uncompressed shard each) and AnnData elements as one record."""
    arrays, bags, elements = arrays or {}, bags or {}, elements or {}

    def fill(group: Any) -> None:
        for name, values in arrays.items():
            group.create_array(name, data=np.ascontiguousarray(values), config=rule.STORE_EVERY_CHUNK)
        for name, element in elements.items():
            write_element(group, name, element)

    tree, made = rule.build_tree(fill)
    digests = {name: rule.array_digest(values) for name, values in {**arrays, **bags}.items()}
    for name, values in bags.items():
        tree |= bag_tree(name, values)
        if len(values):
            digests[name]["checksums"] = chunk_checksums(tree[f"{name}/c/0/0"], len(values))
    store.make()
    return rule.commit(
        store.files,
        path,
        kind,
        tree,
        arrays=digests,
        attributes={**made, **(attributes or {})},
        parents=parents or {},
        overwrite=overwrite,
    )


def write_element(group: Any, name: str, element: Any) -> None:
    """Write an AnnData element with plain chunks, whatever the installed anndata would choose by itself."""
    import anndata
    from anndata.io import write_elem

    with anndata.settings.override(auto_shard_zarr_v3=False):
        write_elem(group, name, element)


def open_record(store: Store, path: str, kind: str) -> tuple[rule.Document, Any]:
    """Document and verified in-memory group of a record of the expected kind."""
    document = store.document(path)
    if document.kind != kind:
        raise rule.corrupt(store.files, path, f"expected a record of kind {kind}, found {document.kind}")
    return document, rule.read_tree(store.files, document)


def read_element(group: Any, name: str) -> Any:
    from anndata.io import read_elem

    return read_elem(group[name])


def read_array(store: Store, document: rule.Document, group: Any, name: str) -> np.ndarray:
    values = np.asarray(group[name][...])
    if list(values.shape) != document.arrays[name]["shape"]:
        raise rule.corrupt(store.files, f"{document.path}/{name}", "the array's shape differs from the commit document")
    return values


def to_element(table: pd.DataFrame) -> pd.DataFrame:
    """A table as the AnnData format has it: text columns as categories, which may be missing; the index as text."""

    def categories(column: pd.Series) -> pd.Categorical:
        text = _text_or_none(column)
        return pd.Categorical(text, categories=sorted({value for value in text if value is not None}))

    return _with_text(table, categories)


def from_element(table: pd.DataFrame) -> pd.DataFrame:
    """The table that `to_element` was given: text columns as objects, None where missing."""
    return _with_text(table, lambda column: pd.Series(_text_or_none(column), index=column.index, dtype=object))


def _with_text(table: pd.DataFrame, convert: Callable[[pd.Series], Any]) -> pd.DataFrame:
    plain = table.copy()
    plain.index = pd.Index([str(i) for i in table.index], name=table.index.name, dtype=object)
    for name in plain.columns:
        if not (pd.api.types.is_numeric_dtype(plain[name]) or pd.api.types.is_bool_dtype(plain[name])):
            plain[name] = convert(plain[name])
    return plain


def _text_or_none(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


def text_element(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)
