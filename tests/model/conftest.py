"""A small cohort in a store: two subtypes seen in both modalities, some patients with one modality or two slides."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.store import (
    Expression,
    Features,
    Fold,
    GeneSelection,
    Patients,
    Slide,
    Split,
    Store,
    Tiling,
    create_store,
    open_store,
    write_expression,
    write_features,
    write_genes,
    write_patients,
    write_slide,
    write_split,
    write_tiling,
)

PATIENTS = [f"P{k:02d}" for k in range(36)]
NO_SLIDE, NO_RNA, TWO_SLIDES = {"P03", "P30"}, {"P05", "P31"}, {"P07", "P32"}
NO_SUBTYPE, NO_OUTCOME = {"P04", "P33"}, {"P06"}
TILE_WIDTH, GENES, FACTORS = 12, 30, 6
TRAIN, VALIDATION, TEST = tuple(PATIENTS[:20]), tuple(PATIENTS[20:28]), tuple(PATIENTS[28:])
SMALL = ("batch_size=8", "model.dim=24", "data.tiles=12", "optimiser.lr=0.001", "model.prototypes=16", "precision=fp32")
SMALL += ("model.slide_heads=4", "model.style_hidden=16", "model.style_out=8", "model.style_dim=4", "epochs=3")


def fill_store(path: Path, *, changed: frozenset[str] = frozenset()) -> Store:
    """Write the cohort; patients in ``changed`` get other features and other expression."""
    rng = np.random.default_rng(0)
    to_tiles, to_genes = rng.normal(size=(FACTORS, TILE_WIDTH)), rng.normal(size=(FACTORS, GENES))
    store = create_store(path)
    values, kept, known = [], [], []
    for patient in PATIENTS:
        factors = rng.normal(size=FACTORS)
        known.append(factors)
        sizes = rng.integers(3, 30, size=2 if patient in TWO_SLIDES else 1)
        for number, rows in enumerate(sizes):
            tiles = factors @ to_tiles + 0.5 * rng.normal(size=(rows, TILE_WIDTH))
            if patient in changed:
                tiles = -3 * tiles
            if patient not in NO_SLIDE:
                _write_bag(store, f"{patient}-{number}", patient, tiles.astype(np.float16))
        expression = factors @ to_genes + 0.5 * rng.normal(size=GENES)
        if patient not in NO_RNA:
            values.append(5 - expression if patient in changed else expression)
            kept.append(patient)
    names = tuple(f"G{k:02d}" for k in range(GENES))
    matrix = np.array(values, dtype=np.float32)
    write_expression(store, Expression(tuple(kept), tuple(f"{p}-01" for p in kept), names, names, matrix, "zscore"))
    write_patients(store, Patients(_outcomes(np.array(known), changed)))
    folds = (Fold(TRAIN, VALIDATION, TEST), Fold(tuple(sorted(VALIDATION + TEST)), TRAIN[:8], TRAIN[8:]))
    write_split(store, Split("main", folds))
    for fold in range(2):
        ranking = np.ones(GENES, dtype=np.int32)
        selection = GeneSelection(
            "top", fold, names[:20], names, ranking, np.zeros(GENES, np.uint8), None, _curve(), folds[fold].train
        )
        write_genes(store, selection, parents=store.parents("rna", "splits/main"))
    return store


def _outcomes(factors: np.ndarray, changed: frozenset[str]) -> pd.DataFrame:
    """Subtypes by the sum of two factors; the higher their difference, the shorter the life; a third is censored."""
    signal, hazard = factors[:, 0] + factors[:, 1], factors[:, 0] - factors[:, 1]
    time = 1000 * np.exp(-1.5 * hazard)
    event = np.array([k % 3 > 0 for k in range(len(PATIENTS))], dtype=float)
    ids = pd.Index(PATIENTS, name="patient_id")
    table = pd.DataFrame({"subtype": np.where(signal > 0, "left", "right"), "time_days": time, "event": event}, ids)
    for patient in changed & set(PATIENTS):
        table.loc[patient, ["subtype", "time_days", "event"]] = ["right", 7.0, 1.0]
    table.loc[sorted(NO_SUBTYPE), "subtype"] = None
    table.loc[sorted(NO_OUTCOME), ["time_days", "event"]] = np.nan
    return table


def _curve() -> pd.DataFrame:
    return pd.DataFrame({"genes": [20], "score": [0.9], "sd": [0.1]})


def _write_bag(store: Store, slide: str, patient: str, tiles: np.ndarray) -> None:
    write_slide(store, Slide(slide, patient, size=(5000, 5000), mpp=0.5, mpp_source="override"))
    row, column = np.divmod(np.arange(len(tiles)), 5)
    coords = np.stack([column * 512, row * 512], 1).astype(np.int32)
    write_tiling(store, Tiling(slide, "grid", len(tiles), coords, tile_px=256, mpp=1.0, tile_px_level0=512.0))
    write_features(store, Features(slide, "grid", "toy", tiles))


@pytest.fixture(scope="session")
def written_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "toy.zarr"
    fill_store(path)
    return path


@pytest.fixture
def store(written_store: Path, tmp_path: Path) -> Store:
    """A copy of the small cohort of one's own."""
    path = tmp_path / "toy.zarr"
    shutil.copytree(written_store, path)
    return open_store(path)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Store]:
    return fill_store


@pytest.fixture(scope="session")
def small_settings() -> tuple[str, ...]:
    """Settings of a network small enough for a test."""
    return SMALL
