"""A small cohort without any leak, for the tests of the audit, and the moves that plant one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mirror_data.store import (
    Embeddings,
    Expression,
    Features,
    Fold,
    GeneSelection,
    Patients,
    Predictions,
    Run,
    Slide,
    Split,
    Store,
    Tiling,
    create_store,
    read_expression,
    schema,
    write_embeddings,
    write_expression,
    write_features,
    write_genes,
    write_patients,
    write_predictions,
    write_run,
    write_slide,
    write_split,
    write_tiling,
)
from mirror_data.store.base import to_element, write_record

PATIENTS = tuple(f"PAT-{k:03d}" for k in range(24))
TRAIN, VALIDATION, TEST = PATIENTS[:12], PATIENTS[12:16], PATIENTS[16:]
FOLDS = (Fold(TRAIN, VALIDATION, TEST), Fold(TEST, VALIDATION, TRAIN))
SITE = dict(zip(PATIENTS, ["north"] * 12 + ["west"] * 4 + ["south"] * 8, strict=True))
GENES = tuple(f"G{k}" for k in range(6))
CONFIG = {
    "tiling": "grid",
    "encoder": "toy",
    "genes": "top",
    "task": "subtype",
    "data": {"standardise_tiles": False, "rna_quantile": 0.0, "bag": "padded"},
}


def clean_store(path: Path) -> Store:
    """24 patients of three sites, a slide and a sample each; split ``main``, genes ``top``, run ``told``."""
    store = create_store(path)
    rng = np.random.default_rng(0)
    for patient in PATIENTS:
        add_slide(store, f"{patient}-DX1", patient, rng.normal(size=(5, 4)))
    values = rng.normal(size=(len(PATIENTS), len(GENES))).astype(np.float32)
    samples = tuple(f"{patient}-01A" for patient in PATIENTS)
    write_expression(store, Expression(PATIENTS, samples, GENES, GENES, values, "log2(tpm+1)"))
    table = pd.DataFrame(index=pd.Index(PATIENTS, name="patient_id"))
    table["subtype"] = np.array(["IDC", "ILC"], dtype=object)[np.arange(len(PATIENTS)) % 2]
    table["site"] = [SITE[patient] for patient in PATIENTS]
    write_patients(store, Patients(table))
    write_split(store, Split("main", FOLDS), parents=store.parents(schema.PATIENTS))
    for number in range(2):
        add_genes(store, number, FOLDS[number].train)
        add_run(store, number)
    return store


def add_slide(
    store: Store, slide: str, patient: str, values: np.ndarray, source: Mapping[str, Any] | None = None
) -> None:
    write_slide(store, Slide(slide, patient, source=source or {}))
    write_tiling(store, Tiling(slide, "grid", len(values), None))
    write_features(store, Features(slide, "grid", "toy", values.astype(np.float16)))


def add_genes(store: Store, number: int, fitted_on: Sequence[str], *, split: str = "main") -> None:
    ranks = np.ones(len(GENES), dtype=np.int32)
    curve = pd.DataFrame({"genes": [3], "score": [0.5], "sd": [0.1]})
    cancer = np.zeros(len(GENES), np.uint8)
    made = GeneSelection("top", number, GENES[:3], GENES, ranks, cancer, None, curve, tuple(fitted_on))
    write_genes(store, made, parents=store.parents(schema.RNA, schema.PATIENTS, schema.split(split)), overwrite=True)


def add_run(store: Store, number: int, *, name: str = "told", split: str = "main", **changed: Any) -> None:
    """A trained fold with embeddings and predictions, as mirror-model would commit them.

    Args:
        changed: other fields of the run's record.
    """
    train = FOLDS[number].train
    run = Run(name, number, "linear", split, CONFIG, "0" * 64, {"patients": float(len(train))})
    features = schema.all_features("grid", "toy")
    parents = store.parents(schema.RNA, schema.PATIENTS, features, schema.split(split), schema.genes("top", number))
    write_run(store, replace(run, **changed), parents=parents, overwrite=True)
    below = store.parents(schema.run(name, number), schema.RNA, features)
    values = np.ones((len(PATIENTS), 2), dtype=np.float32)
    write_embeddings(store, Embeddings(name, number, "slide", PATIENTS, values), parents=below)
    add_predictions(store, number, FOLDS[number].part_of(), name=name)


def add_predictions(store: Store, number: int, parts: Mapping[str, str], *, name: str = "told") -> None:
    table = pd.DataFrame({"patient_id": list(parts), "part": list(parts.values())})
    made = Predictions(name, number, "subtype", table.assign(prob_IDC=0.5, prob_ILC=0.5))
    write_predictions(store, made, parents=store.parents(schema.run(name, number)), overwrite=True)


def write_leaking_split(store: Store, name: str, rows: Sequence[tuple[int, str, str]]) -> None:
    """A split as another program could write it: rows of fold, part, patient, whatever they say."""
    table = pd.DataFrame(rows, columns=["fold", "part", "patient_id"])
    attributes = {"name": name, "rows": len(rows), "folds": 1 + max(row[0] for row in rows), "drawn": {}, "seed": None}
    elements = {"table": to_element(table)}
    write_record(store, schema.split(name), "split", elements=elements, attributes=attributes, parents={})


def change_expression(store: Store, **changed: Any) -> None:
    """Replace the expression, then all that was made from it."""
    write_expression(store, replace(read_expression(store), **changed), overwrite=True)
    for number in range(2):
        add_genes(store, number, FOLDS[number].train)
        add_run(store, number)
