"""What the training loop knows of a method: it builds a network, says what a batch costs, and applies the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.batches import Batch
from mirror_model.mirror import Shapes
from mirror_model.streams import NoiseSizes
from mirror_model.tasks import Task


@dataclass(frozen=True)
class Encoded:
    """What a network makes of patients, as far as the loss and a look at the validation part need it.

    The loss sees a batch through this alone, so a batch can be cut into parts, or shared out among processes, and still
    costs what the whole batch costs (`gradients`). Shapes: T terms that are means over patients, tiles or genes, Bp
    patients with both modalities, Bs with slides, Br with RNA.
    """

    sums: Tensor  # float32 (T,) each term's sum
    counts: Tensor  # float32 (T,) over how many; 0 where these patients have nothing for it
    slide_pair: Tensor  # float32 (Bp, D) aligned vectors of the patients with both; (0, 1) if none are compared
    rna_pair: Tensor  # float32 (Bp, D)
    slide: Tensor | None = None  # (Bs, D) embeddings
    rna: Tensor | None = None  # (Br, D)
    logits: Tensor | None = None  # (B, K) of a supervised method
    usage: Tensor | None = None  # (K,) mean share of each prototype


@dataclass(frozen=True)
class Cost:
    """What a batch costs, and what it consists of."""

    loss: Tensor  # scalar
    terms: Mapping[str, Tensor]  # each term before weighting, scalars


@dataclass(frozen=True)
class Applied:
    """What a method says of patients once it is trained."""

    slide: Tensor | None = None  # (Bs, D)
    rna: Tensor | None = None  # (Br, D)
    logits: Tensor | None = None  # (B, K)
    weights: Tensor | None = None  # (Bs, N) of each tile, where asked for
    slide_aligned: Tensor | None = None  # (Bs, D) comparable with ``rna_aligned``, of a method that aligns
    rna_aligned: Tensor | None = None  # (Br, D)


@dataclass(frozen=True)
class Explained:
    """What a method says of patients, as a function of their expression with all else held fast."""

    names: tuple[str, ...]  # J outputs
    function: Callable[[Tensor], Tensor]  # expression (B, G) -> (B, J)


class Learner(Protocol):
    """A method at work, with its settings and, if it is supervised, its task.

    ``aligns``: whether the two modalities' vectors are made comparable, so that `apply` gives aligned ones.
    ``before_step`` is called before every optimiser step and before the network is used or saved.
    """

    @property
    def task(self) -> Task | None: ...
    @property
    def aligns(self) -> bool: ...
    def build(self, shapes: Shapes) -> nn.Module: ...
    def noise_sizes(self, model: nn.Module) -> NoiseSizes: ...
    def encode(self, model: nn.Module, batch: Batch) -> Encoded: ...
    def cost(self, model: nn.Module, encoded: Encoded) -> Cost: ...
    def before_step(self, model: nn.Module) -> None: ...
    def apply(self, model: nn.Module, batch: Batch, *, attention: bool = False) -> Applied: ...
    def diagnostics(self, model: nn.Module) -> dict[str, float]: ...
    def explained(self, model: nn.Module, batch: Batch) -> Explained: ...


def no_pairs(like: Tensor) -> Tensor:
    """The aligned vectors (0, 1) of a method or a batch that compares none."""
    return like.new_zeros((0, 1), dtype=torch.float32)


def means_of(names: Sequence[str], encoded: Encoded) -> dict[str, Tensor]:
    """The terms (scalars) that the patients have anything for."""
    there = encoded.counts > 0
    return {name: encoded.sums[k] / encoded.counts[k].clamp_min(1) for k, name in enumerate(names) if bool(there[k])}


def similarity_to(slide: Tensor, rna: Callable[[Tensor], Tensor]) -> Explained:
    """Cosine between patients' slides (B, D) and what ``rna`` makes of their expression."""
    unit = nnf.normalize(slide.float(), dim=1).detach()  # (B, D)

    def similarity(expression: Tensor) -> Tensor:
        return (unit * nnf.normalize(rna(expression).float(), dim=1)).sum(1, keepdim=True)  # (B, 1)

    return Explained(("similarity",), similarity)
