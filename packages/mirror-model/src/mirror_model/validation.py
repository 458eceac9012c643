"""A look at the validation part: losses, scores of a task, retrieval between the modalities, rank of the embeddings."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor, nn

from mirror_model.batches import PatientData, random_draw, size_groups
from mirror_model.config import TrainConfig
from mirror_model.diagnostics import effective_rank, recall_at
from mirror_model.learner import Learner


@torch.no_grad()
def validate(
    learner: Learner,
    network: nn.Module,
    data: PatientData,
    config: TrainConfig,
    rng: np.random.Generator,
    device: torch.device,
    autocast: bool,
) -> dict[str, float]:
    """Metrics of the validation part, in evaluation mode.

    Returns:
        ``validation_loss`` and every term as ``validation_{term}``, means over patients; a task's own metrics;
        ``recall{k}_slide_rna`` and ``recall{k}_rna_slide`` among all patients with both; ``rank_slide`` and
        ``rank_rna``.
    """
    network.eval()
    sums: defaultdict[str, float] = defaultdict(float)
    weights: defaultdict[str, int] = defaultdict(int)
    kept: defaultdict[str, list[Tensor]] = defaultdict(list)
    batches = _batches(learner, data, config)
    for members in batches:
        batch = data.batch(members, random_draw(config.data, rng)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            step = learner.step(network, batch)
        for name, value in {"loss": step.loss, **step.terms}.items():
            sums[f"validation_{name}"] += float(value) * len(members)
            weights[f"validation_{name}"] += len(members)
        for name, rows in (("slide", step.slide), ("rna", step.rna)):
            if rows is not None:
                kept[name].append(rows.float().cpu())
        if step.slide_aligned is not None and step.rna_aligned is not None:
            kept["paired_slide"].append(step.slide_aligned[batch.paired_slide].float().cpu())
            kept["paired_rna"].append(step.rna_aligned[batch.paired_rna].float().cpu())
        if step.logits is not None:
            kept["logits"].append(step.logits.float().cpu())
    found = {name: total / weights[name] for name, total in sums.items()}
    found |= {f"rank_{name}": effective_rank(torch.cat(kept[name])) for name in ("slide", "rna") if kept[name]}
    if learner.task is not None and data.targets is not None:
        targets = data.targets.rows(np.concatenate(batches))
        scores = learner.task.metrics(torch.cat(kept["logits"]), targets)
        found |= {f"validation_{name}": value for name, value in scores.items()}
    if kept["paired_slide"]:
        slide, rna = torch.cat(kept["paired_slide"]), torch.cat(kept["paired_rna"])
        for label, queries, keys in (("slide_rna", slide, rna), ("rna_slide", rna, slide)):
            found |= {f"recall{k}_{label}": share for k, share in recall_at(queries, keys).items()}
    return found


def _batches(learner: Learner, data: PatientData, config: TrainConfig) -> list[np.ndarray]:
    """A contrastive loss is compared at the training's batch size; a mean over patients can have any."""
    if learner.task is not None:
        return size_groups(data, config.data, 1 if config.one_by_one else config.data.eval_batch_size)
    return np.array_split(np.arange(len(data)), max(1, -(-len(data) // config.batch_size)))
