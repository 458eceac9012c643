"""What an evaluation hands back: frozen records that the commands print and the report draws.

Everywhere: ``sd`` is the population standard deviation over the outer folds (divided by the number of folds), ``low``
and ``high`` are the 2.5 and 97.5 percentiles of the mean over folds when the test patients are drawn again within
each fold, ``risk`` is higher for a worse outlook, ``event`` is True for death or progression, times are in days. A
fold in which a metric cannot be estimated holds NaN and is left out of the mean, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput, some

from mirror_eval.calibration import DCalibration
from mirror_eval.hazard_ratio import HazardRatio
from mirror_eval.kaplan_meier import LogRank

Watch = Callable[[int, int], None]  # done, of how many
Protocol = Literal["linear", "few-shot", "stored"]
Cohort = Literal["paired", "all"]
Control = Literal["none", "shuffled", "random"]
PROTOCOLS: tuple[Protocol, ...] = ("linear", "few-shot", "stored")
CONTROLS: tuple[Control, ...] = ("none", "shuffled", "random")  # null controls: outcomes dealt anew, features of noise
ROWS = ("slide", "rna", "both")  # one checkpoint, three rows; stored predictions make one row, "stored"


def check_how(protocol: Protocol, control: Control) -> None:
    """Refuse an unknown protocol or control, and a control of predictions that are not ours to make.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    for name, value, known in (("protocol", protocol, PROTOCOLS), ("control", control, CONTROLS)):
        if value not in known:
            raise BadInput("BAD_OPTION", f"unknown {name}", key=f"--{name}", expected=some(known), got=value)
    if protocol == "stored" and control != "none":
        raise BadInput("BAD_OPTION", "stored predictions cannot be made anew as a null control", key="--control")


@dataclass(frozen=True)
class Score:
    """One metric of one row over the outer folds."""

    modality: str  # "slide", "rna", "both" or "stored"
    metric: str
    folds: tuple[float, ...]  # few-shot: the mean over the support sets of a fold
    mean: float
    sd: float
    low: float
    high: float
    support_sd: float | None = None  # few-shot: sd over the support sets of a fold, averaged over folds


@dataclass(frozen=True)
class FoldCounts:
    """How many patients one row of one fold was fitted and tested on."""

    modality: str
    fold: int
    fitted: int | None  # patients of train + validation; few-shot: of one support set; None where not known
    tested: int
    strength: float | None = None  # ridge strength chosen inside (linear protocol)
    fitted_events: float | None = None  # survival; few-shot: the mean over support sets
    tested_events: int | None = None
    tau: float | None = None  # survival, days: Uno's tau, and where the times end at which survival is scored


@dataclass(frozen=True)
class Counts:
    """Who took part. ``paired`` rows hold the same patients, those with every modality of the run."""

    cohort: Cohort
    folds_of_split: int  # the run may have fewer
    outcome: int  # patients of the split that have a label or an outcome
    no_outcome: int  # patients of the split without one: left out
    one_modality: int  # with an outcome but not every modality: left out when paired
    no_embedding: int  # with an outcome but in no modality: left out
    folds: tuple[FoldCounts, ...]


@dataclass(frozen=True)
class FoldSurvival:
    """Predicted survival of the test patients of one fold, with what the Brier score needs besides."""

    modality: str
    fold: int
    patient_ids: tuple[str, ...]  # n, in the order of the rows of `survival`
    times: np.ndarray  # float64 (K,), days, rising
    survival: np.ndarray  # float64 (n, K): probability to be alive at the end of times[k]
    time: np.ndarray  # float64 (n,), days: what happened to these patients
    event: np.ndarray  # bool (n,)
    train_time: np.ndarray  # float64 (m,), days: the patients the model was fitted on
    train_event: np.ndarray  # bool (m,)


@dataclass(frozen=True)
class FoldAuc:
    """Time-dependent AUC among the test patients of one fold and row."""

    modality: str
    fold: int
    times: np.ndarray  # float64 (T,), days, rising
    auc: np.ndarray  # float64 (T,), higher = better, 0.5 = chance; NaN before the first death


@dataclass(frozen=True)
class RowTests:
    """Tests over the test patients of all folds of one row, folds as strata; None where they cannot be made."""

    modality: str
    patients: int
    events: int
    absent: tuple[str, ...]  # what could not be done and why, a sentence each
    adjusted_for: tuple[str, ...] = ()  # of age and stage, those that the store holds
    per_sd: HazardRatio | None = None  # for a risk higher by one sd of the fold's test patients
    per_sd_adjusted: HazardRatio | None = None  # among patients with every covariate
    high_low: HazardRatio | None = None  # risk above against below the median of the patients fitted on
    high_low_adjusted: HazardRatio | None = None
    log_rank: LogRank | None = None  # of the same groups
    d_calibration: DCalibration | None = None


@dataclass(frozen=True)
class SubtypeResult:
    """Subtyping by one run.

    ``predictions`` has a row a test patient, row and support set: fold, patient_id, modality, draw (0 outside
    few-shot), label, then prob_<class> in the order of ``classes``.
    """

    run: str
    protocol: Protocol
    classes: tuple[str, ...]
    scores: tuple[Score, ...]
    predictions: pd.DataFrame
    counts: Counts
    control: Control = "none"

    def score(self, modality: str, metric: str) -> Score:
        """The score of one cell of the table."""
        return find_score(self.scores, modality, metric)


@dataclass(frozen=True)
class SurvivalResult:
    """Survival analysis by one run.

    ``predictions`` has a row a test patient, row and support set: fold, patient_id, modality, draw (0 outside
    few-shot), risk, time_days, event, group ("high" or "low": above the median risk of the patients the model was
    fitted on; missing where that median is not known). ``curves`` has one element a fold and row (linear protocol
    only), ``auc_curves`` too, ``tests`` one a row (neither few-shot).
    """

    run: str
    protocol: Protocol
    head: str  # "discrete" or "cox"; "stored"
    scores: tuple[Score, ...]
    predictions: pd.DataFrame
    curves: tuple[FoldSurvival, ...]
    counts: Counts
    control: Control = "none"
    auc_curves: tuple[FoldAuc, ...] = ()
    tests: tuple[RowTests, ...] = ()

    def score(self, modality: str, metric: str) -> Score:
        """The score of one cell of the table."""
        return find_score(self.scores, modality, metric)


@dataclass(frozen=True)
class FoldRetrieval:
    """Retrieval among the test patients of one fold: cosine similarity of slides (rows) and RNA (columns)."""

    fold: int
    patient_ids: tuple[str, ...]
    similarity: np.ndarray  # float64 (n, n)
    strength: float | None  # of the ridge map, chosen inside; None where the run's own aligned vectors are compared


@dataclass(frozen=True)
class RetrievalResult:
    """How well one modality finds the other: recall@k both ways, beside chance."""

    run: str
    k: int
    slide_to_rna: Score
    rna_to_slide: Score
    chance: float  # k / n, averaged over folds
    folds: tuple[FoldRetrieval, ...]

    @property
    def aligned(self) -> bool:
        """Whether the run's own aligned vectors were compared, not a ridge map between embeddings."""
        return all(fold.strength is None for fold in self.folds)


def find_score(scores: tuple[Score, ...], modality: str, metric: str) -> Score:
    """The score of one row and metric; KeyError if the table has no such cell."""
    for score in scores:
        if (score.modality, score.metric) == (modality, metric):
            return score
    raise KeyError(f"{modality} {metric}")
