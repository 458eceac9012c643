"""Scores of predicted risks and survival: a value a fold, and intervals from drawing its test patients again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mirror_data.errors import BadInput

from mirror_eval.bootstrap import bootstrap_weights, score
from mirror_eval.brier import integrate, survival_brier
from mirror_eval.censoring import censoring_curve
from mirror_eval.concordance import uno_c, weighted_c
from mirror_eval.kaplan_meier import kaplan_meier
from mirror_eval.results import FoldAuc, Score
from mirror_eval.time_auc import mean_auc, time_auc

GRID = 100  # times at which survival is scored
FOLLOWED = 0.9  # survival and Uno's C are scored up to this quantile of the development patients' times


@dataclass(frozen=True)
class OwnSurvival:
    """What a model said of each patient's own last time; those followed longer than anybody in training count as
    censored at training's last time, of which alone the model can speak."""

    survival: np.ndarray  # (m,)
    event: np.ndarray  # (m,) bool


@dataclass(frozen=True)
class Tested:
    """Predictions for the test patients of one fold, row and support set, with the outcomes they are scored by."""

    modality: str
    fold: int
    draw: int
    patient_ids: tuple[str, ...]
    risk: np.ndarray  # (m,) higher = worse
    time: np.ndarray  # (m,) days
    event: np.ndarray  # (m,) bool
    train_time: np.ndarray  # (n,) days: all development patients
    train_event: np.ndarray  # (n,) bool
    cut: float  # median risk of the patients fitted on; NaN where not known
    times: np.ndarray  # (T,) days
    survival: np.ndarray | None  # (m, T)
    own: OwnSurvival | None  # None where there is no curve, and of support sets
    fitted: int
    fitted_events: int
    strength: float | None

    @property
    def horizon(self) -> float:
        """Days up to which survival is scored, and Uno's tau."""
        return float(self.times[-1])


def score_times(train_time: np.ndarray, train_event: np.ndarray) -> np.ndarray:
    """The 100 times at which survival is scored: evenly up to the 0.9 quantile of the development patients' times.

    Beyond it few are followed, and the weights of the Brier score and of Uno's C grow without bound. Where more than a
    tenth were censored at one last time (the study ended), no weight is defined there: then up to the time before it.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` if all were censored at one time.
    """
    horizon = float(np.quantile(train_time, FOLLOWED))
    censoring = censoring_curve(train_time, train_event)
    if censoring.at(horizon) <= 0:
        followed = censoring.times[censoring.chance > 0]
        if not len(followed):
            hint = "check how the times were computed"
            raise BadInput("NOT_ESTIMABLE", "the patients to fit on were all followed for the same time", hint=hint)
        horizon = float(followed[-1])
    return np.linspace(horizon / GRID, horizon, GRID)


def metric_values(one: Tested, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric under each weighting, (B,)."""
    train, test = (one.train_time, one.train_event), (one.time, one.event, one.risk)
    values = {
        "c_harrell": weighted_c(*test, weight),
        "c_uno": uno_c(*train, *test, tau=one.horizon, weight=weight),
        "auc_mean": mean_auc(
            one.time, one.event, one.times, time_auc(*train, *test, one.times, weight=weight), weight=weight
        ),
    }
    if one.survival is not None:
        baseline = np.broadcast_to(kaplan_meier(*train).at(one.times), one.survival.shape)  # (m, T)
        for name, survival in (("ibs", one.survival), ("ibs_km", baseline)):
            errors = survival_brier(*train, one.time, one.event, survival, one.times, weight=weight)  # (B, T)
            values[name] = integrate(one.times, errors)
        values["ibs_skill"] = 1.0 - values["ibs"] / values["ibs_km"]
    return values


def survival_scores(tested: list[Tested], seed: int, resamples: int) -> tuple[Score, ...]:
    """Every metric of every row; few-shot values are means over the support sets of a fold.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` where no fold of a row has a comparable pair.
    """
    values = {}  # modality, metric: fold: one (1 + resamples,) a support set
    for one in tested:
        weight = bootstrap_weights(len(one.patient_ids), resamples, (seed, one.fold))
        for name, found in metric_values(one, weight).items():
            values.setdefault((one.modality, name), {}).setdefault(one.fold, []).append(found)
    scores = tuple(score(modality, name, folds) for (modality, name), folds in values.items())
    if any(np.isnan(one.mean) for one in scores if one.metric == "c_harrell"):
        hint = "the test parts hold too few events"
        raise BadInput("NOT_ESTIMABLE", "no fold has a pair of patients whose order of death is known", hint=hint)
    return scores


def auc_curves(tested: list[Tested]) -> tuple[FoldAuc, ...]:
    """AUC at each of the times that survival is scored at."""
    return tuple(
        FoldAuc(
            one.modality,
            one.fold,
            one.times,
            time_auc(one.train_time, one.train_event, one.time, one.event, one.risk, one.times),
        )
        for one in tested
    )
