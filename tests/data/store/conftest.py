"""One record of every kind, and a store that holds them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.store import (
    Attention,
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
    schema,
    write_attention,
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


@dataclass(frozen=True)
class Everything:
    slide: Slide
    tiling: Tiling
    features: Features
    expression: Expression
    patients: Patients
    split: Split
    genes: GeneSelection
    run: Run
    embeddings: Embeddings
    predictions: Predictions
    attention: Attention


@pytest.fixture(scope="session")
def everything() -> Everything:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "subtype": ["IDC", None, "ILC"],
            "time_days": [10.5, np.nan, 300.0],
            "event": [1.0, np.nan, 0.0],
            "age": [50.0, 61.0, np.nan],
        },
        index=pd.Index(["P1", "P2", "P3"], name="patient_id"),
    )
    risks = pd.DataFrame({"patient_id": ["P1", "P3"], "part": ["train", "test"], "risk": [0.5, -1.0]})
    curve = pd.DataFrame({"genes": [4, 2], "score": [0.75, 0.5], "sd": [0.1, 0.0]})
    return Everything(
        slide=Slide(
            slide_id="S/1 ü",
            patient_id="P1",
            size=(4000, 3000),
            mpp=0.5,
            mpp_source="openslide.mpp",
            reader="openslide 4.0.1",
            source={"size_bytes": 123, "quickhash": "ab"},
            tissue=random.integers(0, 2, (30, 40)).astype(np.uint8),
            tissue_mpp=50.0,
            tissue_parameters={"median": 5},
            thumbnail=random.integers(0, 256, (30, 40, 3)).astype(np.uint8),
        ),
        tiling=Tiling(
            slide_id="S/1 ü",
            name="256px",
            rows=600,
            coords=random.integers(0, 3000, (600, 2)).astype(np.int32),
            tile_px=256,
            mpp=0.5,
            tile_px_level0=256.0,
            min_tissue=0.25,
            read_level=0,
        ),
        features=Features("S/1 ü", "256px", "timm:resnet50@layer3", random.normal(size=(600, 24)).astype(np.float16)),
        expression=Expression(
            ("P1", "P2"),
            ("P1-01", "P2-01"),
            ("ENSG1", "ENSG2", "ENSG3"),
            ("TP53", "", "ESR1"),
            random.normal(size=(2, 3)).astype(np.float32),
            "log2(tpm+0.001)",
            {"offset": 0.001},
        ),
        patients=Patients(table, {"file": "clinical.csv"}),
        split=Split("five", (Fold(("P1",), ("P2",), ("P3",)), Fold(("P2", "P3"), (), ("P1",))), {"how": "drawn"}, 7),
        genes=GeneSelection(
            "rfe",
            0,
            ("ENSG1", "ENSG3"),
            ("ENSG1", "ENSG2", "ENSG3"),
            np.array([1, 2, 3], np.int32),
            np.array([0, 0, 1], np.uint8),
            np.array([1.0, 0.5, 0.25], np.float32),
            curve,
            ("P1",),
            {"step": 0.05},
        ),
        run=Run("r", 0, "mirror", "five", {"epochs": 3}, "c" * 64, {"loss": 1.5}, {"torch": "2"}),
        embeddings=Embeddings("r", 0, "rna", ("P1", "P2"), random.normal(size=(2, 8)).astype(np.float32)),
        predictions=Predictions("r", 0, "survival", risks),
        attention=Attention("r", 0, "S/1 ü", "256px", np.full(600, 1 / 600, np.float32)),
    )


def fill(store: Store, records: Everything) -> None:
    """Write every record, each derived from the one before."""
    write_slide(store, records.slide)
    write_tiling(store, records.tiling)
    write_features(store, records.features)
    write_expression(store, records.expression)
    write_patients(store, records.patients)
    write_split(store, records.split, parents=store.parents(schema.PATIENTS))
    write_genes(store, records.genes, parents=store.parents(schema.RNA, schema.split("five")))
    write_run(store, records.run, parents=store.parents(schema.all_features("256px", "timm:resnet50@layer3")))
    parents = store.parents(schema.run("r", 0))
    write_embeddings(store, records.embeddings, parents=parents)
    write_predictions(store, records.predictions, parents=parents)
    write_attention(store, records.attention, parents=parents)


@pytest.fixture
def full_store(tmp_path: Path, everything: Everything) -> Store:
    store = create_store(tmp_path / "cohort.zarr")
    fill(store, everything)
    return store
