"""What tells whether a training goes well: retrieval, the rank of the embeddings, scores of a supervised task.

Shapes: n patients, D width, K classes. The scores are those of `mirror_eval`, which this package does not know.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

_RISK_TIE = 1e-8


def recall_at(queries: Tensor, keys: Tensor, most: tuple[int, ...] = (1, 5, 10)) -> dict[int, float]:
    """Share of patients whose own key is among the ``k`` nearest to their query by cosine; higher is better.

    Args:
        queries: (n, D); row i of ``keys`` (n, D) is the same patient's. A tie counts as half ahead.
    """
    similarity = nnf.normalize(queries.double(), dim=1) @ nnf.normalize(keys.double(), dim=1).T  # (n, n)
    own = similarity.diagonal().unsqueeze(1)
    ahead = (similarity > own).sum(1) + ((similarity == own).sum(1) - 1) / 2
    return {k: float((ahead < k).double().mean()) for k in most}


def effective_rank(embeddings: Tensor) -> float:
    """RankMe (Garrido et al. 2023, arXiv 2210.02885): exp of the entropy of the normalised singular values; 1 to D."""
    values = torch.linalg.svdvals(embeddings.double())
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return float(torch.exp(torch.special.entr(share).sum()))


def modality_gap(slide: Tensor, rna: Tensor) -> float:
    """Distance between the mean directions of two sets of vectors (n, D) (Liang et al. 2022, arXiv 2203.02053).

    0: both modalities lie in the same place; 2: on opposite sides.
    """
    means = [nnf.normalize(vectors.double(), dim=1).mean(0) for vectors in (slide, rna)]
    return float((means[0] - means[1]).norm())


def usage_entropy(usage: Tensor) -> float:
    """How evenly prototypes are used: entropy of their mean shares (K,) over that of equal ones, 0 (one) to 1 (all)."""
    share = usage.double() / usage.double().sum()
    return float(torch.special.entr(share).sum() / np.log(max(len(share), 2)))


def accuracy(label: np.ndarray, chosen: np.ndarray) -> float:
    """Share of patients (n,) whose class was chosen."""
    return float((label == chosen).mean())


def macro_f1(label: np.ndarray, chosen: np.ndarray, classes: int) -> float:
    """Mean over the classes that occur, in truth or as chosen, of 2 TP / (2 TP + FP + FN)."""
    scores = []
    for k in range(classes):
        hits, both = np.sum((label == k) & (chosen == k)), np.sum(label == k) + np.sum(chosen == k)
        if both:
            scores.append(2 * hits / both)
    return float(np.mean(scores))


def macro_auroc(label: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve of each class against the rest, mean over the classes with patients on both sides.

    Args:
        label: (n,). probability: (n, K). A tie counts half. NaN where no class can be told.
    """
    areas = []
    for k in range(probability.shape[1]):
        inside, outside = probability[label == k, k], probability[label != k, k]
        if len(inside) and len(outside):
            above = (inside[:, None] > outside).mean() + (inside[:, None] == outside).mean() / 2
            areas.append(float(above))
    return float(np.mean(areas)) if areas else float("nan")


def harrell_c(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Harrell's C of risks (n,), higher = worse, by all pairs; ties in risk (to 1e-8) count half. NaN without a pair.

    A pair counts if the one with the shorter time had the event, or if of two equal times just one is an event.
    """
    earlier = (time[:, None] < time) | ((time[:, None] == time) & ~event)  # (n, n) i before j
    pairs = earlier & event[:, None]
    difference = risk[:, None] - risk
    won = np.where(np.abs(difference) <= _RISK_TIE, 0.5, difference > 0)
    return float(won[pairs].mean()) if pairs.any() else float("nan")
