"""What tells whether a training goes well: retrieval between the modalities and the rank of the embeddings.

Shapes: n patients, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf


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
