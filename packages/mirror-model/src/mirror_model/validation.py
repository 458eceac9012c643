"""A look at the validation part: losses, scores of a task, retrieval between the modalities, rank of the embeddings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mirror_model.batches import PatientData, size_groups
from mirror_model.config import TrainConfig
from mirror_model.diagnostics import effective_rank, modality_gap, recall_at, usage_entropy
from mirror_model.draws import random_draw
from mirror_model.gradients import Arithmetic
from mirror_model.learner import Encoded, Learner


@torch.no_grad()
def validate(
    learner: Learner,
    network: nn.Module,
    data: PatientData,
    config: TrainConfig,
    stream: Callable[[int], np.random.Generator],
    arithmetic: Arithmetic,
) -> dict[str, float]:
    """Metrics of the validation part, in evaluation mode.

    Args:
        stream: the random numbers of the patient at a place of ``data``: the same at every look.

    Returns:
        ``validation_loss`` and every term as ``validation_{term}``, means over patients; a task's own metrics;
        ``recall{k}_slide_rna`` and ``recall{k}_rna_slide`` among all patients with both, and their ``modality_gap``;
        ``rank_slide`` and ``rank_rna``; ``prototype_entropy``.
    """
    network.eval()
    sizes = learner.noise_sizes(network)
    seen = _Seen()
    batches = _batches(learner, data, config)
    for members in batches:
        streams = [stream(int(member)) for member in members]
        encoded = arithmetic.encode(learner, network, data.batch(members, random_draw(config.data), streams, sizes))
        cost = learner.cost(network, encoded)
        seen.add({"loss": cost.loss, **cost.terms}, encoded, len(members))
    found = seen.metrics()
    if learner.task is not None and data.targets is not None:
        targets = data.targets.rows(np.concatenate(batches))
        scores = learner.task.metrics(torch.cat(seen.rows["logits"]), targets)
        found |= {f"validation_{name}": value for name, value in scores.items()}
    return found


class _Seen:
    """What was seen of the batches so far."""

    def __init__(self) -> None:
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.patients: defaultdict[str, int] = defaultdict(int)
        self.rows: defaultdict[str, list[Tensor]] = defaultdict(list)

    def add(self, terms: Mapping[str, Tensor], encoded: Encoded, patients: int) -> None:
        for name, value in terms.items():
            self.sums[name] += float(value) * patients
            self.patients[name] += patients
        for name in ("slide", "rna", "logits", "slide_pair", "rna_pair"):
            rows = getattr(encoded, name)
            if rows is not None and len(rows):
                self.rows[name].append(rows.float().cpu())
        if encoded.usage is not None:
            self.rows["usage"].append(encoded.usage.float().cpu() * len(encoded.slide_pair))

    def metrics(self) -> dict[str, float]:
        found = {f"validation_{name}": total / self.patients[name] for name, total in self.sums.items()}
        for name in ("slide", "rna"):
            if self.rows[name]:
                found[f"rank_{name}"] = effective_rank(torch.cat(self.rows[name]))
        if self.rows["usage"]:
            found["prototype_entropy"] = usage_entropy(torch.stack(self.rows["usage"]).sum(0))
        if self.rows["slide_pair"]:
            slide, rna = torch.cat(self.rows["slide_pair"]), torch.cat(self.rows["rna_pair"])
            found["modality_gap"] = modality_gap(slide, rna)
            for label, queries, keys in (("slide_rna", slide, rna), ("rna_slide", rna, slide)):
                found |= {f"recall{k}_{label}": share for k, share in recall_at(queries, keys).items()}
        return found


def _batches(learner: Learner, data: PatientData, config: TrainConfig) -> list[np.ndarray]:
    """A contrastive loss is compared at the training's batch size; a mean over patients can have any."""
    if learner.task is not None:
        return size_groups(data, config.data, 1 if config.one_by_one else config.data.eval_batch_size)
    return np.array_split(np.arange(len(data)), max(1, -(-len(data) // config.batch_size)))
