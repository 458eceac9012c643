"""Writing a record that is there already, and reading who has expression without the values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import StoreError
from mirror_data.store import (
    Expression,
    Slide,
    Tiling,
    create_store,
    read_expression_patients,
    schema,
    write_expression,
    write_slide,
    write_tiling,
)


def test_an_equal_record_stays_and_so_does_what_is_below_it(tmp_path: Path):
    store = create_store(tmp_path / "s")
    first = write_slide(store, Slide("A", "P", mpp=0.5))
    write_tiling(store, Tiling("A", "t", 0, None))
    before = (tmp_path / "s/slides/A/zarr.json").stat().st_mtime_ns
    assert write_slide(store, Slide("A", "P", mpp=0.5)) == first
    assert (tmp_path / "s/slides/A/zarr.json").stat().st_mtime_ns == before
    assert store.has(schema.tiling("A", "t"))
    with pytest.raises(StoreError, match="EXISTS") as caught:
        write_slide(store, Slide("A", "P", mpp=0.25))
    assert caught.value.hint == "use --overwrite to replace it"


def test_patients_with_expression_are_read_without_the_values(tmp_path: Path):
    store = create_store(tmp_path / "s")
    ids = ("A", "B")
    write_expression(store, Expression(ids, ids, ("g",), ("g",), np.ones((2, 1), np.float32), "zscore"))
    for chunk in (tmp_path / "s/rna/X/c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()  # nobody looks there
    assert read_expression_patients(store) == ids
