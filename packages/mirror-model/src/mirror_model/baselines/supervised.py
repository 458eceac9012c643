"""What supervised methods share: a network from a patient's modalities to logits, and a step with the task's loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mirror_model.batches import Batch
from mirror_model.learner import Applied, Cost, Encoded, Explained, means_of, no_pairs
from mirror_model.mirror import Shapes
from mirror_model.streams import NoiseSizes
from mirror_model.tasks import Task


@dataclass(frozen=True)
class Scored:
    """What a network says of a batch."""

    logits: Tensor  # (B, K)
    weights: Tensor | None = None  # (B, N) of each tile, not negative, sums to 1; None where tiles are not weighed


class Classifier(nn.Module, ABC):
    """A supervised network. Every patient of a batch has the modalities that its method needs."""

    @abstractmethod
    def forward(self, tiles: Tensor, counts: Tensor, expression: Tensor | None, *, weights: bool = False) -> Scored:
        """Logits of a batch.

        Args:
            tiles: (B, N, P); rows beyond a bag's own count are ignored.
            counts: (B,) tiles of each bag, at least 1.
            expression: (B, G); None for a method that reads slides only.
            weights: also return each tile's weight, where the network has such weights.
        """

    def penalty(self) -> Tensor | None:
        """What is added to the loss: a scalar."""
        return None


class SupervisedLearner:
    """Any `Classifier`, trained for a task.

    Args:
        network: makes the network from settings, sizes and the task, which has K outputs.
    """

    def __init__(self, network: Callable[[Any, Shapes, Task], Classifier], config: Any, task: Task) -> None:
        self.network, self.config, self.task = network, config, task

    aligns = False

    def build(self, shapes: Shapes) -> Classifier:
        return self.network(self.config, shapes, self.task)

    def before_step(self, model: nn.Module) -> None:
        """Nothing has to hold."""

    def noise_sizes(self, model: nn.Module) -> NoiseSizes:
        return NoiseSizes()

    def encode(self, model: nn.Module, batch: Batch) -> Encoded:
        assert batch.targets is not None
        logits = model(batch.tiles, batch.counts, batch.expression).logits
        patients = torch.tensor([float(len(logits))], device=logits.device)
        sums = self.task.loss(logits, batch.targets).float().reshape(1) * patients
        return Encoded(sums, patients, no_pairs(sums), no_pairs(sums), logits=logits)

    def cost(self, model: nn.Module, encoded: Encoded) -> Cost:
        assert isinstance(model, Classifier)
        terms, penalty = means_of([self.task.term], encoded), model.penalty()
        loss = terms[self.task.term]
        terms[self.task.term] = loss.detach()
        if penalty is not None:
            loss, terms["penalty"] = loss + penalty, penalty.detach()
        return Cost(loss, terms)

    def apply(self, model: nn.Module, batch: Batch, *, attention: bool = False) -> Applied:
        scored: Scored = model(batch.tiles, batch.counts, batch.expression, weights=attention)
        return Applied(logits=scored.logits, weights=scored.weights)

    def explained(self, model: nn.Module, batch: Batch) -> Explained:
        """The task's outputs, slides held fast."""
        names, outputs = self.task.explained_names, self.task.explained_outputs
        return Explained(names, lambda expression: outputs(model(batch.tiles, batch.counts, expression).logits))

    def diagnostics(self, model: nn.Module) -> dict[str, float]:
        return {}
