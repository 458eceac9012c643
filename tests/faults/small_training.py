"""A cohort so small that it is trained in half a second, and what a training leaves behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mirror_data.store import (
    Expression,
    Features,
    Fold,
    Slide,
    Split,
    Tiling,
    create_store,
    write_expression,
    write_features,
    write_slide,
    write_split,
    write_tiling,
)
from mirror_model.checkpoint import CheckpointFolder
from mirror_model.metrics_log import METRICS, PACE

from tests.faults.commands import tree

PATIENTS = tuple(f"P{k}" for k in range(8))
TILES, WIDTH, GENES, EPOCHS = 5, 6, 7, 6
SETTINGS = (
    f"epochs={EPOCHS}", "batch_size=3", "model.dim=8", "model.slide_heads=2", "model.rna_heads=2", "model.prototypes=4",
    "model.style_hidden=4", "model.style_out=4", "model.style_dim=2", "data.tiles=4", "optimiser.lr=0.001",
    "precision=fp32", "choose=best",
)  # fmt: skip


def fill_store(path: Path) -> Path:
    """Write the cohort: 5 patients to train on, 2 to validate, 1 to test, with one slide each."""
    rng = np.random.default_rng(0)
    store = create_store(path)
    for patient in PATIENTS:
        slide = f"{patient}-0"
        write_slide(store, Slide(slide, patient, size=(5000, 5000), mpp=0.5, mpp_source="override"))
        coords = np.stack([np.arange(TILES) * 512, np.zeros(TILES)], 1).astype(np.int32)
        write_tiling(store, Tiling(slide, "grid", TILES, coords, tile_px=256, mpp=1.0, tile_px_level0=512.0))
        write_features(store, Features(slide, "grid", "toy", rng.normal(size=(TILES, WIDTH)).astype(np.float16)))
    names = tuple(f"G{k}" for k in range(GENES))
    values = rng.normal(size=(len(PATIENTS), GENES)).astype(np.float32)
    write_expression(store, Expression(PATIENTS, tuple(f"{p}-01" for p in PATIENTS), names, names, values, "zscore"))
    write_split(store, Split("main", (Fold(PATIENTS[:5], PATIENTS[5:7], PATIENTS[7:]),)))
    return path


def train_words(store: Path, *settings: str) -> list[str]:
    """The command, but for its program."""
    words = ["train", "--store", str(store), "--run", "r", "--split", "main", "--fold", "0"]
    return words + [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]


def fold_folder(store: Path) -> Path:
    """Where the fold's checkpoints lie."""
    return store.with_suffix(".runs") / "r" / "fold_0"


@dataclass(frozen=True)
class Left:
    """What a training leaves: all of it is a function of inputs, settings and versions."""

    store: dict[str, str]  # path to SHA-256
    checkpoints: dict[str, str]  # the same, without the log
    log: list[dict[str, float]]  # a line an epoch, without how fast it went


def left_by(store: Path, checkpoints: Path | None = None) -> Left:
    """What is there now, to the byte; of the log all but the pace."""
    folder = fold_folder(store) if checkpoints is None else checkpoints / "r" / "fold_0"
    files = tree(folder)
    files.pop(METRICS)
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return Left(tree(store), files, [{k: v for k, v in line.items() if k not in PACE} for line in lines])


def require_last_loads(folder: Path, least: int = 0) -> None:
    """The last checkpoint of a fold is there, whole and readable, and not behind an epoch that was saved before."""
    saved = CheckpointFolder(folder).load("last")
    assert saved is not None
    assert saved.document.position.epoch >= least
