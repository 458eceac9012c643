"""metrics.jsonl, a line an epoch; and what of it is told while a training runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mirror_data.errors import StoreError

from mirror_model.durable import append_line, disk_error, write_file
from mirror_model.network_config import Section

METRICS = "metrics.jsonl"
_TOLD = {  # term or metric -> in the progress line
    "align": "align",
    "slide_retention": "slide",
    "rna_retention": "RNA",
    "style": "style",
    "cluster": "cluster",
    "cross_entropy": "cross entropy",
    "hazard_nll": "hazard",
    "penalty": "penalty",
}


@dataclass(frozen=True)
class Pace:
    """How fast an epoch went. No result: differs from machine to machine."""

    seconds: float
    patients_per_second: float
    data_wait: float  # share of the time in which the step waited for its batch


PACE = tuple(Pace.__annotations__)


class Mark(Section):
    """How far a log went when a checkpoint was saved: what comes after is of steps that will be done again."""

    size: int  # bytes
    sha256: str


class MetricsLog:
    """The log of one fold."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / METRICS

    def append(self, values: Mapping[str, float]) -> None:
        """Durable, before the checkpoint that marks it."""
        append_line(self.file, json.dumps(values, sort_keys=True))

    def read(self) -> list[dict[str, float]]:
        """A line an epoch; ``epoch`` 0 is the untrained network. A line that a kill left unfinished is none.

        Raises:
            StoreError: ``CORRUPT_CHECKPOINT``, ``READ_ONLY`` or ``IO_ERROR``.
        """
        try:
            data = self._bytes()
            return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
        except ValueError:
            raise self._corrupt("a line of the log cannot be read") from None

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """What was logged of one epoch. Raises as `read`."""
        for line in self.read():
            if line.get("epoch") == epoch:
                return line
        raise self._corrupt(f"the log lacks epoch {epoch}")

    def mark(self) -> Mark:
        """How far it goes now."""
        data = self._bytes()
        return Mark(size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def up_to(self, epoch: int, mark: Mark | None) -> bytes:
        """What a checkpoint of this epoch found in the log. Those of version 0.1.0 have no mark.

        Raises:
            StoreError: ``CORRUPT_CHECKPOINT`` if that was altered since.
        """
        if mark is None:
            kept = [line for line in self.read() if line["epoch"] <= epoch]
            return "".join(json.dumps(line, sort_keys=True) + "\n" for line in kept).encode()
        data = self._bytes()[: mark.size]
        if hashlib.sha256(data).hexdigest() != mark.sha256:
            raise self._corrupt("the log was altered since the checkpoint was saved")
        return data

    def cut(self, epoch: int, mark: Mark | None) -> None:
        """Drop what comes after a checkpoint: it will be trained again. Raises as `up_to`."""
        kept = self.up_to(epoch, mark)
        if self.file.exists():
            write_file(self.file, kept)

    def _bytes(self) -> bytes:
        try:
            return self.file.read_bytes() if self.file.exists() else b""
        except OSError as error:
            raise disk_error(error, self.file, "read") from error

    def _corrupt(self, message: str) -> StoreError:
        hint = "restore it from a copy, or train again with --overwrite"
        return StoreError("CORRUPT_CHECKPOINT", message, file=self.file, hint=hint)


def told(values: Mapping[str, float], pace: Pace) -> str:
    """An epoch in a line: losses, retrieval, the state of the embeddings, pace."""
    terms = ", ".join(f"{label} {values[name]:.3g}" for name, label in _TOLD.items() if name in values)
    words = [f"loss {values.get('loss', float('nan')):.3f}" + (f" ({terms})" if terms else "")]
    if "recall10_slide_rna" in values:
        found = [f"{values[f'recall{k}_slide_rna']:.2f}/{values[f'recall{k}_rna_slide']:.2f}" for k in (1, 5, 10)]
        words.append(f"recall@1,5,10 {' '.join(found)}")
    for name, label in (("modality_gap", "gap"), ("prototype_entropy", "prototypes"), ("logit_scale", "scale")):
        words += [f"{label} {values[name]:.2f}"] if name in values else []
    if "rank_slide" in values and "rank_rna" in values:
        words.append(f"rank {values['rank_slide']:.0f}/{values['rank_rna']:.0f}")
    words += [f"gradient {values['gradient_norm']:.2g}"] if "gradient_norm" in values else []
    return ", ".join([*words, f"{pace.patients_per_second:.0f} patients/s, {pace.data_wait:.1%} waiting"])
