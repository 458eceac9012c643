"""The loss terms, each a plain function of what it compares.

Functions of pairs take the embeddings of the whole batch: with several processes, what was gathered from all of them.
Shapes: B patients, D width, N tokens, Z style size, K prototypes or time bins.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf


def info_nce(slide: Tensor, rna: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of pairs (equation (8), whose second denominator is a misprint; Radford et al. 2021).

    Args:
        slide: (B, D) aligned embeddings; row i of ``rna`` (B, D) is the same patient's.
        logit_scale: factor of the dot products.
    """
    logits = logit_scale * slide @ rna.T  # (B, B)
    pair = torch.arange(len(logits), device=logits.device)
    return (nnf.cross_entropy(logits, pair) + nnf.cross_entropy(logits.T, pair)) / 2


def hidden_error(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over what was hidden (equation (14)).

    Args:
        prediction: (R, F), as ``target``.
        mask: 1 where hidden; (R,) for whole tokens, which count by their mean over F, or (R, F).
    """
    return hidden_error_sum(prediction, target, mask) / mask.sum().clamp_min(1)


def hidden_error_sum(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """`hidden_error` times what was hidden: a scalar that can be added up over the parts of a batch."""
    error = (prediction - target).square()
    if mask.dim() < error.dim():
        error = error.mean(-1)
    return (error * mask).sum()


def kl_to_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each patient (B,), summed over Z (equation (15), one modality)."""
    return -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(-1)


def assignment_kl(slide: Tensor, rna: Tensor) -> Tensor:
    """Symmetric KL of each patient (B,) between the softmax of two sets of scores (B, K) (equation (16), halved)."""
    p, q = slide.log_softmax(-1), rna.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2


def survival_nll(logits: Tensor, time_bin: Tensor, event: Tensor, censored_weight: float = 1.0) -> Tensor:
    """Negative log-likelihood of discrete-time survival a patient (B,); Zadeh and Schmid, arXiv 1904.07413.

    With h = sigmoid(logits) and S_k = prod_{j <= k} (1 - h_j): an event in bin y costs -log S_{y-1} - log h_y, a
    censored patient in bin y costs -log S_y.

    Args:
        logits: (B, K).
        time_bin: (B,) bin y, 0 to K - 1.
        event: (B,) 1 = death or progression, 0 = censored.
        censored_weight: factor of the censored patients' costs.
    """
    event = event.to(logits.dtype)
    log_stay = nnf.logsigmoid(-logits).cumsum(-1)  # (B, K) log S_k
    log_before = nnf.pad(log_stay, (1, 0))[:, :-1]  # log S_{k-1}, 0 for the first bin
    y = time_bin.long().unsqueeze(-1)
    died = -(log_before + nnf.logsigmoid(logits)).gather(-1, y).squeeze(-1)
    lived = -log_stay.gather(-1, y).squeeze(-1)
    return event * died + censored_weight * (1 - event) * lived


def survival_risk(logits: Tensor) -> Tensor:
    """Risk (B,) of discrete-time hazard logits (B, K): minus the sum of survival over the bins; higher is worse."""
    return -nnf.logsigmoid(-logits).cumsum(-1).exp().sum(-1)
