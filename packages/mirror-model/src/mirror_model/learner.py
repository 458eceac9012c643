"""What the training loop knows of a method: it builds a network, says what one step costs, and applies the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from mirror_model.batches import Batch
from mirror_model.mirror import Shapes
from mirror_model.tasks import Task


@dataclass(frozen=True)
class Step:
    """The cost of one batch, and what it looked like."""

    loss: Tensor  # scalar
    terms: Mapping[str, Tensor]  # each term before weighting, scalars
    slide: Tensor | None = None  # (Bs, D) embeddings, rows as the batch's tiles
    rna: Tensor | None = None  # (Br, D) embeddings, rows as the batch's expression
    slide_aligned: Tensor | None = None  # (Bs, D)
    rna_aligned: Tensor | None = None  # (Br, D)
    logits: Tensor | None = None  # (B, K) of a supervised method


@dataclass(frozen=True)
class Applied:
    """What a method says of patients once it is trained."""

    slide: Tensor | None = None  # (Bs, D)
    rna: Tensor | None = None  # (Br, D)
    logits: Tensor | None = None  # (B, K)
    weights: Tensor | None = None  # (Bs, N) of each tile, where asked for


class Learner(Protocol):
    """A method at work, with its settings and, if it is supervised, its task.

    A supervised loss is a mean over patients, so that a batch may be cut into parts; others are not.
    ``before_step`` is called before every optimiser step and before the network is used or saved.
    """

    @property
    def task(self) -> Task | None: ...
    def build(self, shapes: Shapes) -> nn.Module: ...
    def step(self, model: nn.Module, batch: Batch) -> Step: ...
    def before_step(self, model: nn.Module) -> None: ...
    def apply(self, model: nn.Module, batch: Batch, *, attention: bool = False) -> Applied: ...
    def diagnostics(self, model: nn.Module) -> dict[str, float]: ...
