"""What the test patients of all folds together say of a row: hazard ratios, log-rank, D-calibration.

Folds are strata wherever risks are compared, for those of different folds come from different models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mirror_eval.calibration import d_calibration
from mirror_eval.covariates import age_and_stage
from mirror_eval.hazard_ratio import HazardRatio, hazard_ratio
from mirror_eval.kaplan_meier import log_rank
from mirror_eval.results import RowTests
from mirror_eval.survival_scores import Tested


def row_tests(tested: Sequence[Tested], patients: pd.DataFrame) -> tuple[RowTests, ...]:
    """One element a row.

    Args:
        tested: one element a fold and row; of few-shot support sets no tests are made.
        patients: the store's patients, indexed by patient_id, with age and stage where it has them.
    """
    rows: dict[str, list[Tested]] = {}
    for one in tested:
        rows.setdefault(one.modality, []).append(one)
    return tuple(_tests(modality, folds, patients) for modality, folds in rows.items())


def standardised(risk: np.ndarray) -> np.ndarray:
    """Risks (m,) of one fold in sd of its test patients; all 0 where they are all the same."""
    spread = float(risk.std())
    return (risk - risk.mean()) / spread if spread > 0 else np.zeros(len(risk))


def _tests(modality: str, folds: list[Tested], patients: pd.DataFrame) -> RowTests:
    ids = [patient for one in folds for patient in one.patient_ids]
    time, event = np.concatenate([one.time for one in folds]), np.concatenate([one.event for one in folds])
    counts = {"modality": modality, "patients": len(ids), "events": int(event.sum())}
    if len(set(ids)) < len(ids):
        return RowTests(**counts, absent=("no tests: some patients stand in the test parts of several folds",))
    fold = np.concatenate([np.full(len(one.patient_ids), one.fold) for one in folds])
    per_sd = np.concatenate([standardised(one.risk) for one in folds])
    high = np.concatenate([(one.risk > one.cut).astype(float) for one in folds])  # 1 = above the cut of its fold
    covariates = age_and_stage(patients, ids)
    known, absent = covariates.known, list(covariates.absent)

    def ratios(variable: np.ndarray) -> tuple[HazardRatio, HazardRatio | None]:
        crude = hazard_ratio(variable, time, event, strata=fold)
        if not covariates.names:
            return crude, None
        adjust = covariates.values[known]
        return crude, hazard_ratio(variable[known], time[known], event[known], strata=fold[known], adjust=adjust)

    sd, sd_adjusted = ratios(per_sd)
    group, group_adjusted, test = None, None, None
    if any(np.isnan(one.cut) for one in folds):
        absent.append("no risk groups: the risks of the patients fitted on are not known")
    elif len(np.unique(high)) < 2:
        absent.append("no risk groups: all test patients fall on one side of the cut")
    else:
        group, group_adjusted = ratios(high)
        test = log_rank(time, event, np.where(high > 0, "high", "low"), fold)
    own = [one.own for one in folds if one.own is not None]
    calibration = None
    if len(own) == len(folds):
        calibration = d_calibration(np.concatenate([o.survival for o in own]), np.concatenate([o.event for o in own]))
    else:
        absent.append("no calibration: the run gives risks, not chances of survival")
    return RowTests(
        **counts,
        adjusted_for=covariates.names,
        per_sd=sd,
        per_sd_adjusted=sd_adjusted,
        high_low=group,
        high_low_adjusted=group_adjusted,
        log_rank=test,
        d_calibration=calibration,
        absent=tuple(absent),
    )
