"""What is to be done with one fold of a run, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mirror_data.errors import BadInput
from mirror_data.ids import to_key

from mirror_model.config import TrainConfig
from mirror_model.tasks import TaskName


@dataclass(frozen=True)
class TrainJob:
    """One fold to train."""

    store_url: str
    run: str
    method: str
    split: str
    fold: int
    config: TrainConfig
    task: TaskName | None = None  # what a supervised method is trained for
    genes: str | None = None
    tiling: str | None = None
    encoder: str | None = None
    checkpoints: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class TrainOutcome:
    """What became of a fold."""

    fold: int
    status: str  # "trained", "resumed" or "skipped"
    epochs: int
    patients: int  # trained on
    pairs: int  # of them with both modalities
    missing: int  # training patients left out, who lack a modality in ``needs`` (where that is empty: both)
    seconds_per_epoch: float | None
    metrics: dict[str, float]
    folder: str
    needs: tuple[str, ...] = ()
    unlabelled: int = 0  # training patients left out of supervised training, whose outcome is not known


def run_folder(store_url: str, run: str, fold: int, checkpoints: str | None = None) -> Path:
    """Where a fold's checkpoints lie: beside the store as ``<store without .zarr>.runs/<run>/fold_<k>``.

    Raises:
        BadInput: ``BAD_OPTION`` if the store is not on this machine and no folder is given, or the folder is in it.
    """
    if checkpoints is None and "://" in store_url and not store_url.startswith("file://"):
        message = "checkpoints need a local folder when the store is not local"
        raise BadInput("BAD_OPTION", message, key="--checkpoints", got=store_url)
    local = store_url.removeprefix("file://").rstrip("/")
    base = Path(checkpoints) if checkpoints else Path(local.removesuffix(".zarr") + ".runs")
    if checkpoints and "://" not in local and Path(local).resolve() in (base.resolve(), *base.resolve().parents):
        message, hint = "checkpoints are no part of the store", "choose a folder outside the store"
        raise BadInput("BAD_OPTION", message, key="--checkpoints", got=checkpoints, hint=hint)
    return base / to_key(run) / f"fold_{fold}"
