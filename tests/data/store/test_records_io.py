"""Whatever is written is read back equal, from a folder and from an fsspec URL."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import (
    Expression,
    Features,
    Fold,
    Patients,
    create_store,
    open_store,
    read_attention,
    read_embeddings,
    read_expression,
    read_features,
    read_genes,
    read_patients,
    read_predictions,
    read_run,
    read_slide,
    read_split,
    read_tiling,
    run_folds,
    schema,
    write_features,
)

from .conftest import fill

READ = {
    "slide": lambda s: read_slide(s, "S/1 ü"),
    "tiling": lambda s: read_tiling(s, "S/1 ü", "256px"),
    "features": lambda s: read_features(s, "S/1 ü", "256px", "timm:resnet50@layer3"),
    "expression": read_expression,
    "patients": read_patients,
    "split": lambda s: read_split(s, "five"),
    "genes": lambda s: read_genes(s, "rfe", 0),
    "run": lambda s: read_run(s, "r", 0),
    "embeddings": lambda s: read_embeddings(s, "r", 0, "rna"),
    "predictions": lambda s: read_predictions(s, "r", 0, "survival"),
    "attention": lambda s: read_attention(s, "r", 0, "S/1 ü"),
}


def assert_same(left: object, right: object) -> None:
    assert type(left) is type(right)
    for field in fields(left):  # type: ignore[arg-type]
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_column_type=False)
        else:
            assert a == b, field.name


@pytest.mark.parametrize("kind", READ)
def test_written_equals_read(full_store, everything, kind):
    assert_same(getattr(everything, kind), READ[kind](full_store))


def test_every_record_kind_has_a_round_trip(everything):
    assert set(READ) == {field.name for field in fields(everything)}


@pytest.mark.parametrize("kind", READ)
def test_written_equals_read_behind_fsspec(everything, kind, request):
    store = create_store(f"memory://{request.node.name}/cohort.zarr")
    fill(store, everything)
    assert_same(getattr(everything, kind), READ[kind](open_store(store.url)))


def test_slide_is_found_by_key_as_by_id(full_store, everything):
    (key,) = full_store.keys("slides")
    assert key == "S~2f1~20~c3~bc"
    assert read_slide(full_store, everything.slide.slide_id).slide_id == "S/1 ü"


def test_zarr_and_anndata_open_the_store_by_themselves(full_store, everything):
    import anndata
    import zarr

    path = schema.features("S/1 ü", "256px", "timm:resnet50@layer3")
    values = zarr.open_group(full_store.url, mode="r")[f"{path}/features"][:]
    np.testing.assert_array_equal(values, everything.features.values)
    matrix = anndata.read_zarr(f"{full_store.url}/{schema.RNA}")
    np.testing.assert_array_equal(matrix.X, everything.expression.values)
    assert list(matrix.var["symbol"]) == ["TP53", "", "ESR1"]


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1000])
def test_bags_of_any_length(full_store, rows):
    values = np.random.default_rng(rows).normal(size=(rows, 8)).astype(np.float16)
    write_features(full_store, Features("S/1 ü", "256px", f"e{rows}", values))
    np.testing.assert_array_equal(read_features(full_store, "S/1 ü", "256px", f"e{rows}").values, values)


def test_a_bag_with_nan_is_never_committed(full_store):
    with pytest.raises(BadInput, match="BAD_VALUE"):
        write_features(full_store, Features("S/1 ü", "256px", "nan", np.full((3, 2), np.nan, np.float16)))
    assert not full_store.has(schema.features("S/1 ü", "256px", "nan"))


def test_an_all_zero_bag_is_stored_not_implied(full_store, tmp_path):
    write_features(full_store, Features("S/1 ü", "256px", "zero", np.zeros((300, 8), np.float16)))
    key = f"{schema.features('S/1 ü', '256px', 'zero')}/features/c/0/0"
    assert (tmp_path / "cohort.zarr" / key).stat().st_size > 300 * 16
    assert not read_features(full_store, "S/1 ü", "256px", "zero").values.any()


def test_run_folds(full_store):
    assert run_folds(full_store, "r") == [0]
    assert run_folds(full_store, "none") == []


def test_bytes_are_a_function_of_the_records(tmp_path: Path, everything):
    trees = []
    for name in ("a", "b"):
        store = create_store(tmp_path / name)
        fill(store, everything)
        trees.append({key: store.files.read(key) for key in store.files.keys("")})
    assert trees[0] == trees[1]
    assert len(trees[0]) > 50


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Fold(("a", "b"), (), ("b",)), "PATIENT_LEAK"),
        (lambda: Fold(("b", "a"), (), ()), "BAD_RECORD"),
        (lambda: Features("s", "t", "e", np.full((2, 2), np.nan, np.float16)).require_finite(), "BAD_VALUE"),
        (lambda: Features("s", "t", "e", np.zeros((2, 2), np.float32)), "BAD_RECORD"),
        (lambda: Expression(("a", "a"), ("x", "y"), (), (), np.zeros((2, 0), np.float32), "z"), "DUPLICATE"),
        (lambda: patients(time_days=[-1.0], event=[1.0]), "BAD_TIME"),
        (lambda: patients(time_days=[1.0], event=[2.0]), "BAD_EVENT"),
        (lambda: patients(time_days=[1.0], event=[np.nan]), "BAD_RECORD"),
    ],
)
def test_records_refuse_what_is_wrong(make, code):
    with pytest.raises(BadInput) as caught:
        make()
    assert caught.value.code == code
    assert caught.value.exit == 2


def patients(**columns: list[float]) -> Patients:
    return Patients(pd.DataFrame(columns, index=pd.Index(["p"], name="patient_id")))


def test_missing_and_foreign_stores_are_told_apart(tmp_path: Path, full_store):
    with pytest.raises(StoreError, match="NOT_A_STORE"):
        open_store(tmp_path / "nothing")
    with pytest.raises(StoreError, match="MISSING"):
        read_split(full_store, "other")
    root = tmp_path / "cohort.zarr" / "zarr.json"
    root.write_bytes(root.read_bytes().replace(b'"format":1', b'"format":9'))
    with pytest.raises(StoreError, match="NEWER_FORMAT"):
        open_store(tmp_path / "cohort.zarr")
