"""What the store already holds of a slide, and whether it was made with the parameters asked for now.

A record's attributes hold what was asked for and, under the key ``found``, what came out (thresholds, counts). Only the
former is compared. What is committed with equal parameters is used as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mirror_data import store as stores
from mirror_data.errors import StoreError
from mirror_data.store import Slide, Store, Tiling, schema
from mirror_data.store.commit import canonical

FOUND = "found"
Record = TypeVar("Record")


def committed_slide(store: Store, bare: Slide, overwrite: bool) -> Slide:
    """The slide as committed with equal parameters, else ``bare``, which has no tissue yet.

    Raises:
        StoreError: ``MISMATCH`` if it is committed with others and must not be replaced.
    """
    wanted = {
        "patient_id": bare.patient_id,
        "size": bare.size,
        "mpp": bare.mpp,
        "mpp_source": bare.mpp_source,
        "source": bare.source,
        "tissue_parameters": bare.tissue_parameters,
    }
    if not is_current(store, schema.slide(bare.slide_id), wanted, overwrite):
        return bare
    return _read(lambda: stores.read_slide(store, bare.slide_id), overwrite) or bare


def committed_tiling(store: Store, bare: Tiling, overwrite: bool) -> Tiling:
    """The tiling as committed with equal parameters, else ``bare``, which has no tiles. Raises as `committed_slide`."""
    wanted = {name: getattr(bare, name) for name in ("tile_px", "mpp", "overlap", "min_tissue", "parameters")}
    if not is_current(store, schema.tiling(bare.slide_id, bare.name), wanted, overwrite):
        return bare
    return _read(lambda: stores.read_tiling(store, bare.slide_id, bare.name), overwrite) or bare


def _read(read: Callable[[], Record], overwrite: bool) -> Record | None:
    """A record, or None if it is damaged but may be replaced."""
    try:
        return read()
    except StoreError:
        if overwrite:
            return None
        raise


def is_current(store: Store, path: str, wanted: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether a record is committed with these attributes; one that differs counts as absent if it may be replaced."""
    if not store.has(path):
        return False
    try:
        attributes = store.document(path).attributes
    except StoreError:
        if overwrite:
            return False
        raise
    different = sorted(
        name for name, value in wanted.items() if canonical(_asked(attributes.get(name))) != canonical(_asked(value))
    )
    if different and not overwrite:
        raise StoreError(
            "MISMATCH",
            "the store holds this with other parameters",
            file=store.url,
            key=path,
            got=f"another {', '.join(different)}",
            hint="use --overwrite to replace it, or another store",
        )
    return not different


def _asked(value: Any) -> Any:
    """A value without what was found while it was made."""
    if not isinstance(value, Mapping):
        return value
    return {name: _asked(part) for name, part in value.items() if name != FOUND}
