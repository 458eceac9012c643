"""Small baselines: their settings, networks of a few numbers, and a cohort on which each was trained once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mirror_data.store import Store, open_store
from mirror_model.baselines.config import config_of
from mirror_model.config import TrainConfig, read_config
from mirror_model.embed import EmbedOutcome, embed_fold
from mirror_model.jobs import TrainJob, TrainOutcome
from mirror_model.mirror import Shapes
from mirror_model.runs import train_fold
from mirror_model.tasks import Subtype, Survival

SHAPES = Shapes(5, 7, 12)  # P, G, N
SUBTYPE = Subtype(classes=("a", "b", "c"), base=(0.0, 0.0, 0.0))
SURVIVAL = Survival(edges_days=(1.0, 2.0, 3.0, 4.0), base=(0.0,) * 4)
SETTINGS = {
    "linear": ("batch_size=8", "optimiser.lr=0.02", "epochs=30"),
    "abmil": ("batch_size=4", "optimiser.lr=0.01", "epochs=20", "model.dim=16", "model.attention_dim=8"),
    "transmil": (
        "batch_size=4", "optimiser.lr=0.01", "epochs=2", "model.dim=16", "model.slide_heads=2", "model.value_kernel=3",
        "model.position=none", "optimiser.lookahead=2",
    ),
    "porpoise": (
        "batch_size=5", "optimiser.lr=0.01", "epochs=20", "model.slide_dim=16", "model.attention_dim=8",
        "model.rna_dim=16", "model.dim=16", "model.fused_dim=6", "model.dropout=0", "runtime.micro_batch=0",
    ),
    "tangle": (
        "batch_size=8", "optimiser.lr=0.01", "epochs=10", "model.dim=16", "model.attention_dim=8", "data.tiles=12",
        "precision=fp32",
    ),
}  # fmt: skip


def settings_of(method: str, *more: str) -> TrainConfig:
    """Settings of a network small enough for a test."""
    return read_config(None, [*SETTINGS[method], *more], kind=config_of(method))


@dataclass(frozen=True)
class Ran:
    """A fold that was trained and applied."""

    store: Store
    run: str
    trained: TrainOutcome
    applied: EmbedOutcome


@pytest.fixture(scope="session")
def ran(written_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str | None], Ran]:
    """Fold 0 of the small cohort by a method and for a task; each is trained once."""
    path = tmp_path_factory.mktemp("baselines") / "toy.zarr"
    shutil.copytree(written_store, path)
    store = open_store(path)
    found: dict[str, Ran] = {}

    def train(method: str, task: str | None) -> Ran:
        run = f"{method}-{task}"
        if run not in found:
            job = TrainJob(store.url, run, method, "main", 0, settings_of(method), task)
            found[run] = Ran(store, run, train_fold(job), embed_fold(store.url, run, 0, attention=True))
        return found[run]

    return train


@pytest.fixture
def bags() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tiles (3, 12, P) of bags of 12, 4 and 9 tiles, their counts, and expression (3, G)."""
    rng = torch.Generator().manual_seed(0)
    tiles = torch.randn(3, 12, SHAPES.tile_width, generator=rng)
    counts = torch.tensor([12, 4, 9])
    for row, count in enumerate(counts.tolist()):
        tiles[row, count:] = 0
    return tiles, counts, torch.randn(3, SHAPES.genes, generator=rng)
