"""Cross-modal retrieval by a run of the cohort store."""

from __future__ import annotations

from mirror_data.store import Store

from mirror_eval.results import RetrievalResult


def retrieval(
    store: Store, run: str, *, k: int = 10, components: int = 50, seed: int = 0, resamples: int = 1000
) -> RetrievalResult:
    """Recall@k of a linear map from slide embeddings to RNA embeddings, and back."""
    raise NotImplementedError
