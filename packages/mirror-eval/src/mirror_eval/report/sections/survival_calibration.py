"""Of the section on survival: does the predicted chance to live beyond a time come true?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror_eval.figures.curves import DAYS_PER_YEAR, survival_reliability_panel
from mirror_eval.figures.theme import MODALITY_COLOUR, MODALITY_NAME
from mirror_eval.report.blocks import Absent, Figure, csv_text, number
from mirror_eval.results import FoldSurvival, SurvivalResult
from mirror_eval.survival_calibration import SurvivalReliability, survival_reliability

YEARS = (5, 3, 2, 1)  # the first that the data reach
STILL_FOLLOWED = 0.1  # share of the test patients
PATIENTS_A_GROUP = 15


def survival_calibration(result: SurvivalResult) -> Figure | Absent:
    """Predicted against Kaplan-Meier survival of the test patients of all folds, in groups of alike prediction."""
    if not result.curves:
        return Absent("Calibration of survival", "The run gives risks, not chances of survival.")
    at = horizon(result.curves)
    if at is None:
        return Absent("Calibration of survival", "The folds share no stretch of time in which survival is predicted.")
    panels, points = [], []
    for modality in _rows(result.curves):
        curve = _reliability(result.curves, modality, at)
        title, gap = MODALITY_NAME[modality], number(curve.gap)
        name, colour = f"survival-calibration-{modality}", MODALITY_COLOUR[modality]
        alt = f"Calibration of survival at {_named(at)}, {title}: mean gap {gap} in {len(curve.count)} groups."
        panels.append(survival_reliability_panel(name, title, curve, f"mean gap {gap}", alt, colour))
        values = {"predicted": curve.predicted, "observed": curve.observed, "low": curve.low, "high": curve.high}
        points.append(pd.DataFrame({"modality": modality, "time_days": at, **values, "patients": curve.count}))
    caption = (
        f"Calibration of survival at {_named(at)}: the test patients of all folds in groups of like predicted "
        "survival, and what became of each group by its Kaplan-Meier curve, with the 95 % interval of the latter. On "
        "the dotted line, as many live as were predicted to."
    )
    return Figure("survival-calibration", caption, tuple(panels), csv=csv_text(pd.concat(points)))


def _rows(curves: tuple[FoldSurvival, ...]) -> list[str]:
    present = {curve.modality for curve in curves}
    return [modality for modality in MODALITY_NAME if modality in present]


def _reliability(curves: tuple[FoldSurvival, ...], modality: str, at: float) -> SurvivalReliability:
    """Of one row: the test patients of all folds together."""
    folds = [curve for curve in curves if curve.modality == modality]
    survival = np.concatenate([survival_at(fold, at) for fold in folds])
    time, event = np.concatenate([fold.time for fold in folds]), np.concatenate([fold.event for fold in folds])
    groups = int(np.clip(len(time) // PATIENTS_A_GROUP, 2, 5))
    return survival_reliability(survival, time, event, at, groups=groups)


def horizon(curves: tuple[FoldSurvival, ...]) -> float | None:
    """Days at which survival is compared: five years, or fewer where a fold predicts no further, less than a tenth of
    the test patients were followed so long, or nobody of a group was; None where the folds share no time."""
    first, last = max(curve.times[0] for curve in curves), min(curve.times[-1] for curve in curves)
    if not first < last:
        return None
    time = np.concatenate([curve.time for curve in curves if curve.modality == curves[0].modality])
    for at in (years * DAYS_PER_YEAR for years in YEARS):
        if first <= at <= last and (time >= at).mean() >= STILL_FOLLOWED:
            found = [_reliability(curves, modality, at) for modality in _rows(curves)]
            if not any(np.isnan(one.observed).any() for one in found):
                return at
    return float((first + last) / 2)


def survival_at(fold: FoldSurvival, at: float) -> np.ndarray:
    """Predicted chance (n,) of each patient to live beyond a time on the fold's grid of times."""
    return fold.survival[:, np.searchsorted(fold.times, at, side="right") - 1]


def _named(days: float) -> str:
    years = days / DAYS_PER_YEAR
    return f"{years:g} {'year' if years == 1 else 'years'}" if years in YEARS else f"{days:.0f} days"
