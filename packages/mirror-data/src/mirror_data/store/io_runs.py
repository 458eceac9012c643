"""Trained folds and what they give: embeddings, predictions, attention."""

from __future__ import annotations

import pandas as pd

from mirror_data.errors import StoreError, some
from mirror_data.ids import to_key
from mirror_data.store import schema
from mirror_data.store.base import (
    Parents,
    Store,
    from_element,
    open_record,
    read_array,
    read_element,
    text_element,
    to_element,
    write_record,
)
from mirror_data.store.records import Attention, Embeddings, Modality, Predictions, Run


def write_run(store: Store, run: Run, *, parents: Parents, overwrite: bool = False) -> str:
    """Commit a trained fold; with ``overwrite`` also drops the embeddings, predictions and attention below it."""
    names = ("name", "fold", "method", "split", "checkpoint_sha256")
    attributes = {name: getattr(run, name) for name in names}
    attributes |= {name: dict(getattr(run, name)) for name in ("config", "metrics", "versions")}
    path = schema.run(run.name, run.fold)
    return write_record(store, path, "run", attributes=attributes, parents=parents, overwrite=overwrite)


def read_run(store: Store, name: str, fold: int) -> Run:
    document, _ = open_record(store, schema.run(name, fold), "run")
    return Run(**document.attributes)


def run_folds(store: Store, name: str) -> list[int]:
    """The committed folds of a run, in order."""
    return sorted(int(key.removeprefix("fold_")) for key in store.keys(f"runs/{to_key(name)}"))


def required_folds(store: Store, name: str) -> list[int]:
    """As `run_folds`, of a run that must be there.

    Raises:
        StoreError: ``MISSING``.
    """
    folds = run_folds(store, name)
    if not folds:
        known = store.keys("runs")
        hint = "train it with mirror-model train" + (f"; the store has {some(known)}" if known else "")
        raise StoreError("MISSING", "the store has no such run", key=f"runs/{name}", hint=hint)
    return folds


def write_embeddings(store: Store, embeddings: Embeddings, *, parents: Parents, overwrite: bool = False) -> str:
    path = schema.embeddings(embeddings.run, embeddings.fold, embeddings.modality, embeddings.aligned)
    attributes = {
        "run": embeddings.run,
        "fold": embeddings.fold,
        "modality": embeddings.modality,
        "rows": len(embeddings.patient_ids),
    } | ({"aligned": True} if embeddings.aligned else {})
    return write_record(
        store,
        path,
        "embeddings",
        arrays={"values": embeddings.values},
        elements={"patient_ids": text_element(embeddings.patient_ids)},
        attributes=attributes,
        parents=parents,
        overwrite=overwrite,
    )


def read_embeddings(store: Store, run: str, fold: int, modality: Modality, *, aligned: bool = False) -> Embeddings:
    document, group = open_record(store, schema.embeddings(run, fold, modality, aligned), "embeddings")
    ids = tuple(map(str, read_element(group, "patient_ids")))
    fields = {k: v for k, v in document.attributes.items() if k != "rows"}
    return Embeddings(**fields, patient_ids=ids, values=read_array(store, document, group, "values"))


def write_predictions(store: Store, predictions: Predictions, *, parents: Parents, overwrite: bool = False) -> str:
    path = schema.predictions(predictions.run, predictions.fold, predictions.task)
    attributes = {
        "run": predictions.run,
        "fold": predictions.fold,
        "task": predictions.task,
        "rows": len(predictions.table),
    }
    elements = {"table": to_element(predictions.table)}
    return write_record(
        store, path, "predictions", elements=elements, attributes=attributes, parents=parents, overwrite=overwrite
    )


def read_predictions(store: Store, run: str, fold: int, task: str) -> Predictions:
    document, group = open_record(store, schema.predictions(run, fold, task), "predictions")
    table = from_element(read_element(group, "table"))
    table.index = pd.RangeIndex(len(table))
    return Predictions(**{k: v for k, v in document.attributes.items() if k != "rows"}, table=table)


def write_attention(store: Store, attention: Attention, *, parents: Parents, overwrite: bool = False) -> str:
    path = schema.attention(attention.run, attention.fold, attention.slide_id)
    attributes = {
        "run": attention.run,
        "fold": attention.fold,
        "slide_id": attention.slide_id,
        "tiling": attention.tiling,
        "rows": len(attention.weights),
    }
    arrays = {"weights": attention.weights}
    return write_record(
        store, path, "attention", arrays=arrays, attributes=attributes, parents=parents, overwrite=overwrite
    )


def read_attention(store: Store, run: str, fold: int, slide_id: str) -> Attention:
    document, group = open_record(store, schema.attention(run, fold, slide_id), "attention")
    fields = {k: v for k, v in document.attributes.items() if k != "rows"}
    return Attention(**fields, weights=read_array(store, document, group, "weights"))
