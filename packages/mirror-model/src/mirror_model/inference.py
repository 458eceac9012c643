"""What a trained network says of every patient: embeddings or logits, and the weight of each tile.

Shapes: n patients, D width, K outputs, N tiles of a slide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from mirror_data.progress import progress
from mirror_data.store import Store
from torch import Tensor

from mirror_model.batches import Bags, PatientData, size_groups
from mirror_model.cohort import FeatureSet
from mirror_model.draws import EvenDraw, MeanDraw
from mirror_model.preparation import load_expression, no_expression
from mirror_model.trained import Trained


@dataclass(frozen=True)
class Found:
    """By patient, and tile weights by slide, as they come."""

    slide: dict[str, np.ndarray] = field(default_factory=dict)  # (D,) each
    rna: dict[str, np.ndarray] = field(default_factory=dict)
    slide_aligned: dict[str, np.ndarray] = field(default_factory=dict)  # (D,) each
    rna_aligned: dict[str, np.ndarray] = field(default_factory=dict)
    logits: dict[str, np.ndarray] = field(default_factory=dict)  # (K,) each
    weights: dict[str, np.ndarray] = field(default_factory=dict)  # (N,) each


def in_order(values: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
    """Patients sorted, and their rows float32 (n, D)."""
    ids = tuple(sorted(values))
    return ids, np.stack([values[patient] for patient in ids]).astype(np.float32)


@torch.no_grad()
def apply_network(
    store: Store, trained: Trained, features: FeatureSet, patient_ids: Sequence[str], *, attention: bool, title: str
) -> Found:
    """Apply a network to patients, in float32, to all tiles or ``data.embed_tiles`` evenly spaced ones of a slide.

    An unsupervised method is asked for each modality that a patient has; a supervised one for the patients who have
    all that it needs.
    """
    config, found = trained.config, Found()
    bags = Bags(store, features, config.data.token_order, 0)
    table = load_expression(store) if trained.method.reads_rna else no_expression()
    data = PatientData(patient_ids, bags, table, trained.preparation, trained.needs)
    draw = MeanDraw() if config.data.bag == "mean" else EvenDraw(config.data.embed_tiles)
    device = next(trained.network.parameters()).device
    with progress(title, len(data), "patients") as shown:
        for members in size_groups(data, config.data, 1 if config.one_by_one else config.data.eval_batch_size):
            batch = data.batch(members, draw).to(device)
            result = trained.learner.apply(trained.network, batch, attention=attention)
            _put(found.slide, result.slide, batch.slide_of, batch.patient_ids)
            _put(found.rna, result.rna, batch.rna_of, batch.patient_ids)
            _put(found.slide_aligned, result.slide_aligned, batch.slide_of, batch.patient_ids)
            _put(found.rna_aligned, result.rna_aligned, batch.rna_of, batch.patient_ids)
            _put(found.logits, result.logits, torch.arange(len(members)), batch.patient_ids)
            if result.weights is not None and isinstance(draw, EvenDraw):
                for place, row in zip(batch.slide_of.tolist(), result.weights.float().cpu().numpy(), strict=True):
                    found.weights.update(_by_slide(data, int(members[place]), draw, row))
            shown.advance(len(members))
    return found


def _put(into: dict[str, np.ndarray], rows: Tensor | None, places: Tensor, patient_ids: tuple[str, ...]) -> None:
    if rows is not None:
        for place, row in zip(places.tolist(), rows.float().cpu().numpy(), strict=True):
            into[patient_ids[place]] = row


def _by_slide(data: PatientData, member: int, draw: EvenDraw, weights: np.ndarray) -> dict[str, np.ndarray]:
    """A patient's tile weights by slide, each summing to 1, rows as the slide's tiling; 0 for tiles beyond the cap."""
    found, start = {}, 0
    for bag in data.slides[member]:
        rows = draw.rows(bag.rows)
        own = weights[start : start + len(rows)].astype(np.float64)
        start += len(rows)
        order = data.bags.row_order(bag)
        stored = np.zeros(bag.rows)
        stored[rows if order is None else order[rows]] = own
        total = stored.sum()
        found[bag.slide_id] = (stored / total if total > 0 else np.full(bag.rows, 1 / bag.rows)).astype(np.float32)
    return found
