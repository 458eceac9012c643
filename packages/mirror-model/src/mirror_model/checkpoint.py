"""Checkpoints: tensors as safetensors, everything else as JSON; never a pickle.

    <folder>/weights-000012-00000.safetensors     the network and its preparation, after 12 epochs and 0 further steps
             optimiser-000012-00000.safetensors   the optimiser, only while training is unfinished
             last.json  best.json  model.json     each names its files with their SHA-256, says what they are, and ends
                                                  in a SHA-256 of itself
             metrics.jsonl                        one line an epoch

A checkpoint exists once its JSON does: that is written last, by a rename, and files that no JSON names are swept away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from mirror_data.errors import BadInput, StoreError
from mirror_data.sealed import seal, unseal
from pydantic import Field
from safetensors.torch import load, save
from torch import Tensor, nn

from mirror_model.durable import NEW, claimed, disk_error, remove, write_file
from mirror_model.identity import Identity
from mirror_model.metrics_log import METRICS, Mark
from mirror_model.network_config import Section
from mirror_model.tasks import Task

CHECKPOINT_FORMAT = 2
_SEALED = 2  # the first format whose JSON carries its own digest
Kind = Literal["last", "best", "model"]
_KINDS: tuple[Kind, ...] = ("last", "best", "model")
_PREPARATION = "preparation."


class Position(Section):
    """How far a training is."""

    epoch: int = 0  # whole epochs behind it
    step: int = 0  # steps of the next epoch
    sums: dict[str, float] = Field(default_factory=dict)  # of each metric over the steps of the unfinished epoch
    counts: dict[str, int] = Field(default_factory=dict)
    best_epoch: int | None = None
    best_loss: float | None = None  # validation loss, lower is better


class FileRef(Section):
    name: str
    sha256: str


class CheckpointDocument(Section):
    """The JSON of a checkpoint."""

    format: int = CHECKPOINT_FORMAT
    identity: Identity
    position: Position
    tile_width: int
    positions: int
    gene_ids: tuple[str, ...]
    rna_clip: float
    task: Task | None = None  # what a supervised method learned, with all that was fitted for it
    weights: FileRef
    optimiser: FileRef | None = None
    log: Mark | None = None  # how far metrics.jsonl goes; of ``last`` alone, as it holds times


@dataclass(frozen=True)
class Saved:
    """A checkpoint as it was read back."""

    document: CheckpointDocument
    network: dict[str, Tensor]
    preparation: dict[str, Tensor]
    optimiser: dict[str, Tensor] | None


class CheckpointFolder:
    """The checkpoints of one fold of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> AbstractContextManager[None]:
        """Hold the right to write here, whatever the store; raises `Busy`."""
        return claimed(self.path)

    def save(
        self,
        kinds: tuple[Kind, ...],
        document: CheckpointDocument,
        network: Mapping[str, Tensor],
        preparation: Mapping[str, Tensor],
        optimiser: Mapping[str, Tensor] | None = None,
    ) -> CheckpointDocument:
        """Write a checkpoint under one or more names; returns its document with the files' digests.

        Only ``last`` names the optimiser's file and marks the log.
        """
        stamp = f"{document.position.epoch:06d}-{document.position.step:05d}"
        tensors = {**network, **{_PREPARATION + name: value for name, value in preparation.items()}}
        weights = self._write_tensors(f"weights-{stamp}.safetensors", tensors)
        state = None if optimiser is None else self._write_tensors(f"optimiser-{stamp}.safetensors", optimiser)
        document = document.model_copy(update={"weights": weights})
        for kind in kinds:
            resumed = {"optimiser": state, "log": document.log} if kind == "last" else {"optimiser": None, "log": None}
            self._write_document(kind, document.model_copy(update=resumed))
        self.sweep()
        return document

    def point(self, kind: Kind, document: CheckpointDocument) -> None:
        """Let ``kind`` name the weights of a checkpoint that is already there."""
        self._write_document(kind, document.model_copy(update={"optimiser": None, "log": None}))

    def document(self, kind: Kind) -> CheckpointDocument | None:
        """The JSON of a checkpoint, None if there is none.

        Raises:
            StoreError: ``CORRUPT_CHECKPOINT``, ``NEWER_FORMAT``, ``READ_ONLY`` or ``IO_ERROR``.
        """
        file = self.path / f"{kind}.json"
        try:
            raw = file.read_bytes()
            values = json.loads(raw)
            version = int(values["format"])
            if version > CHECKPOINT_FORMAT:
                message, hint = "this checkpoint was written by a newer mirror-model", "install a newer mirror-model"
                raise StoreError("NEWER_FORMAT", message, file=file, expected=CHECKPOINT_FORMAT, got=version, hint=hint)
            return CheckpointDocument.model_validate(unseal(raw) if version >= _SEALED else values)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, file, "read") from error
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise _corrupt(file, "the checkpoint's JSON cannot be read, or was altered") from None

    def load(self, kind: Kind) -> Saved | None:
        """A checkpoint with its tensors, every file checked against its digest; None if there is none."""
        document = self.document(kind)
        if document is None:
            return None
        tensors = self._read_tensors(document.weights)
        optimiser = self._read_tensors(document.optimiser) if document.optimiser else None
        network = {name: value for name, value in tensors.items() if not name.startswith(_PREPARATION)}
        cut = len(_PREPARATION)
        fitted = {name[cut:]: value for name, value in tensors.items() if name.startswith(_PREPARATION)}
        return Saved(document, network, fitted, optimiser)

    def resumable(self) -> Saved | None:
        """The last checkpoint, None if there is none; the best one, which may be chosen yet, is looked at too."""
        saved = self.load("last")
        if saved is not None and saved.document.position.best_epoch is not None and self.load("best") is None:
            raise _corrupt(self.path / "best.json", "a file of the checkpoint is missing")
        return saved

    def clear(self) -> None:
        """Remove every checkpoint and the log; names first, so that nothing is seen half."""
        for kind in _KINDS:
            remove(self.path / f"{kind}.json")
        remove(self.path / METRICS)
        self.sweep()

    def drop(self, kind: Kind) -> None:
        remove(self.path / f"{kind}.json")
        self.sweep()

    def sweep(self) -> None:
        """Remove tensor files that no checkpoint names."""
        if not self.path.is_dir():
            return
        named: set[str] = set()
        for kind in _KINDS:
            document = self.document(kind)
            if document is not None:
                named |= {ref.name for ref in (document.weights, document.optimiser) if ref is not None}
        for pattern in ("*.safetensors", f"*{NEW}"):
            for file in self.path.glob(pattern):
                if file.name not in named:
                    remove(file)

    def _write_document(self, kind: Kind, document: CheckpointDocument) -> None:
        values = document.model_copy(update={"format": CHECKPOINT_FORMAT}).model_dump(mode="json")
        write_file(self.path / f"{kind}.json", seal(values))

    def _write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> FileRef:
        data = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        write_file(self.path / name, data)
        return FileRef(name=name, sha256=hashlib.sha256(data).hexdigest())

    def _read_tensors(self, ref: FileRef) -> dict[str, Tensor]:
        file = self.path / ref.name
        try:
            data = file.read_bytes()
        except OSError as error:
            raise _corrupt(file, f"a file of the checkpoint cannot be read: {error.strerror}") from None
        _require_safetensors(file, data)
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise _corrupt(file, "the bytes differ from what was saved")
        return load(data)


def _require_safetensors(file: Path, data: bytes) -> None:
    """A safetensors file starts with the length of its JSON header; anything else might run code when it is read."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 9 or length > len(data) - 8 or data[8:9] != b"{":
        message = "this is not a safetensors file"
        raise BadInput(
            "UNSAFE_FORMAT", message, file=file, hint="only safetensors is ever loaded; train again with --overwrite"
        )


def _corrupt(file: Path, message: str) -> StoreError:
    hint = "restore it from a copy, or train again with --overwrite"
    return StoreError("CORRUPT_CHECKPOINT", message, file=file, hint=hint)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, own in state.items() for key, value in own.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` took; other tensors among them are left alone."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        if index.isdigit():
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def restore_network(network: nn.Module, tensors: Mapping[str, Tensor], file: object) -> None:
    """Load weights that must fit exactly.

    Raises:
        StoreError: ``MISMATCH``.
    """
    try:
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        message = "the checkpoint's tensors do not fit the network"
        raise StoreError("MISMATCH", message, file=file, got=str(error).splitlines()[-1].strip()) from None
