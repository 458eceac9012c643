"""The checkpoint of a trained fold, as far as an audit needs it: what was fitted before training. No torch, no pickle.

The format is mirror-model's (`mirror_model.checkpoint`): ``model.json`` names a safetensors file, whose tensors
``preparation.*`` are the scalers. Of that file only those tensors are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mirror_data.errors import StoreError
from mirror_data.ids import to_key
from mirror_data.sealed import unseal
from mirror_data.tables import file_digest

_PREPARATION = "preparation."
_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
_MOST_HEADER = 1 << 26  # bytes; a header that claims more is none


@dataclass(frozen=True)
class Checkpoint:
    """What a fold's network was prepared with. Shapes: G genes, P tile features."""

    file: Path
    split: str
    fold: int
    genes: str | None
    weights_sha256: str
    gene_ids: tuple[str, ...]  # G
    task: Mapping[str, Any] | None  # classes or edges_days, and base; None for a method that takes no labels
    fitted: Mapping[str, np.ndarray]  # low, high, mean, scale (G,); tile_mean, tile_scale (P,); groups


def checkpoint_folder(store_url: str, run: str, fold: int, checkpoints: str | None = None) -> Path | None:
    """Where a fold's checkpoint lies: beside the store as ``<store without .zarr>.runs``; None if that is remote."""
    if checkpoints is None and "://" in store_url and not store_url.startswith("file://"):
        return None
    local = store_url.removeprefix("file://").rstrip("/")
    return Path(checkpoints or local.removesuffix(".zarr") + ".runs") / to_key(run) / f"fold_{fold}"


def read_checkpoint(folder: Path, *, whole: bool = False) -> Checkpoint | None:
    """The checkpoint of a trained fold; None if there is none.

    Args:
        whole: read all weights, and refuse them if their SHA-256 is not the one that ``model.json`` names.

    Raises:
        StoreError: ``CORRUPT_CHECKPOINT``.
    """
    file = folder / "model.json"
    try:
        told = _told(file.read_bytes())
        identity, weights = told["identity"], folder / told["weights"]["name"]
        known = Checkpoint(
            file=file,
            split=identity["split"],
            fold=identity["fold"],
            genes=identity["genes"],
            weights_sha256=told["weights"]["sha256"],
            gene_ids=tuple(told["gene_ids"]),
            task=told["task"],
            fitted=_preparation(weights),
        )
        _require_whole(known)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise _corrupt(file, f"the checkpoint cannot be read: {type(error).__name__}") from None
    if whole and file_digest(weights) != known.weights_sha256:
        raise _corrupt(weights, "the bytes differ from what was saved")
    return known


def _told(raw: bytes) -> dict[str, Any]:
    """The values of ``model.json``; from format 2 on they carry their own digest."""
    told = json.loads(raw)
    return unseal(raw) if told["format"] > 1 else told


def _require_whole(known: Checkpoint) -> None:
    """Refuse scalers that do not fit the genes, and a task that lacks what was fitted for it."""
    genes = (len(known.gene_ids),)
    if known.gene_ids and any(known.fitted[name].shape != genes for name in ("low", "high", "mean", "scale")):
        raise ValueError("the scaler does not fit the genes")
    if known.task is not None:
        _ = known.task["base"], known.task["classes" if known.task["name"] == "subtype" else "edges_days"]


def _preparation(path: Path) -> dict[str, np.ndarray]:
    """The tensors ``preparation.*`` of a safetensors file: 8 bytes of length, a JSON header, then the values."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER:
            raise ValueError("no safetensors header")
        header = json.loads(file.read(length))
        wanted = {name: about for name, about in header.items() if name.startswith(_PREPARATION)}
        return {name.removeprefix(_PREPARATION): _tensor(file, 8 + length, about) for name, about in wanted.items()}


def _tensor(file: BinaryIO, start: int, about: Mapping[str, Any]) -> np.ndarray:
    first, last = about["data_offsets"]
    file.seek(start + first)
    values = np.frombuffer(file.read(last - first), _DTYPES[about["dtype"]])
    return values.reshape(about["shape"])


def _corrupt(file: Path, message: str) -> StoreError:
    hint = "restore it from a copy, or train again with --overwrite"
    return StoreError("CORRUPT_CHECKPOINT", message, file=file, hint=hint)
