"""Harrell's C of a table of risks: a fold at a time, then mean and sd over folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput

from mirror_eval.bootstrap import bootstrap_weights, score
from mirror_eval.concordance import Concordance, harrell_c, weighted_c
from mirror_eval.prediction_tables import fold_order
from mirror_eval.results import Score


@dataclass(frozen=True)
class FoldRisk:
    """One fold: patients, events, and the pairs they make."""

    fold: str
    patients: int
    events: int
    concordance: Concordance


@dataclass(frozen=True)
class RiskScore:
    """One group of a table of risks (all of it, if nothing was grouped by)."""

    group: tuple[str, ...]
    folds: tuple[FoldRisk, ...]
    score: Score  # sd is the population sd over folds


def score_risks(
    table: pd.DataFrame, by: tuple[str, ...] = (), *, seed: int = 0, resamples: int = 1000
) -> tuple[RiskScore, ...]:
    """Harrell's C of every group and fold of a table as `prediction_tables.read_risks` gives it.

    Risks are compared within a fold only: those of different folds come from different models.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` if no fold of a group has a comparable pair (everyone censored, say).
    """
    groups = table.groupby(list(by), sort=True) if by else [((), table)]
    return tuple(_score_group(tuple(map(str, name)), rows, by, seed, resamples) for name, rows in groups)


def _score_group(
    name: tuple[str, ...], rows: pd.DataFrame, by: tuple[str, ...], seed: int, resamples: int
) -> RiskScore:
    folds, values = [], {}
    for number, fold in enumerate(sorted(rows["fold"].unique(), key=fold_order)):
        mine = rows[rows["fold"] == fold]
        time, event, risk = mine["time"].to_numpy(), mine["event"].to_numpy(), mine["risk"].to_numpy()
        weight = bootstrap_weights(len(mine), resamples, (seed, number))
        folds.append(FoldRisk(str(fold), len(mine), int(event.sum()), harrell_c(time, event, risk)))
        values[number] = [weighted_c(time, event, risk, weight)]
    found = score("risk", "c_harrell", values)
    if np.isnan(found.mean):
        where = ", ".join(f"{column} {value}" for column, value in zip(by, name, strict=True)) or None
        message = "no fold has a pair of patients whose order of death is known"
        got = f"{sum(fold.events for fold in folds)} events in {len(rows)} rows"
        hint = "is the event column meant as censorship (1 = NO event)? then use --censorship-column"
        raise BadInput("NOT_ESTIMABLE", message, key=where, got=got, hint=hint)
    return RiskScore(name, tuple(folds), found)
