"""What the training loop knows of a method: it builds a network, says what one step costs, and applies the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as nnf

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


@dataclass(frozen=True)
class Explained:
    """What a method says of patients, as a function of their expression with all else held fast."""

    names: tuple[str, ...]  # J outputs
    function: Callable[[Tensor], Tensor]  # expression (B, G) -> (B, J)


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
    def explained(self, model: nn.Module, batch: Batch) -> Explained: ...


def similarity_to(slide: Tensor, rna: Callable[[Tensor], Tensor]) -> Explained:
    """Cosine between patients' slides (B, D) and what ``rna`` makes of their expression."""
    unit = nnf.normalize(slide.float(), dim=1).detach()  # (B, D)

    def similarity(expression: Tensor) -> Tensor:
        return (unit * nnf.normalize(rna(expression).float(), dim=1)).sum(1, keepdim=True)  # (B, 1)

    return Explained(("similarity",), similarity)
