"""Subtyping by a run of the cohort store."""

from __future__ import annotations

from mirror_data.store import Store

from mirror_eval.results import Cohort, Protocol, SubtypeResult


def evaluate_subtype(
    store: Store,
    run: str,
    *,
    protocol: Protocol = "linear",
    cohort: Cohort = "paired",
    shots: int = 10,
    draws: int = 20,
    seed: int = 0,
    resamples: int = 1000,
) -> SubtypeResult:
    """Subtyping scores of a run over its outer folds."""
    raise NotImplementedError
