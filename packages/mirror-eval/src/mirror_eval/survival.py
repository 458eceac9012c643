"""Survival analysis by a run of the cohort store."""

from __future__ import annotations

from typing import Literal

from mirror_data.store import Store

from mirror_eval.results import Cohort, Protocol, SurvivalResult


def evaluate_survival(
    store: Store,
    run: str,
    *,
    protocol: Protocol = "linear",
    head: Literal["discrete", "cox"] = "discrete",
    cohort: Cohort = "paired",
    shots: int = 10,
    draws: int = 20,
    seed: int = 0,
    resamples: int = 1000,
) -> SurvivalResult:
    """Survival scores of a run over its outer folds."""
    raise NotImplementedError
