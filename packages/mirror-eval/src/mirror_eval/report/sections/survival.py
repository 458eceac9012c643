"""Section: survival."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror_eval.brier import brier_curve
from mirror_eval.figures.curves import Line, kaplan_meier_panel, lines_panel
from mirror_eval.figures.theme import GREY, MODALITY_COLOUR, MODALITY_NAME
from mirror_eval.kaplan_meier import Curve, LogRank, kaplan_meier, log_rank
from mirror_eval.report.blocks import Absent, Block, Figure, Section, count, csv_text, p_value
from mirror_eval.report.evidence import SHOTS, Evidence, Missing
from mirror_eval.report.paper import PaperCohort
from mirror_eval.report.sections.hazards import hazards
from mirror_eval.report.sections.scores import Column, score_table
from mirror_eval.report.sections.survival_calibration import survival_calibration
from mirror_eval.results import SurvivalResult

COLUMNS = (
    Column("c_harrell", "Harrell's C", "c_index"),
    Column("c_uno", "Uno's C"),
    Column("auc_mean", "AUC over time"),
    Column("ibs", "integrated Brier\u00a0↓"),
    Column("ibs_km", "the same, Kaplan-Meier\u00a0↓"),
    Column("ibs_skill", "Brier skill"),
)


def survival(evidence: Evidence, paper: PaperCohort | None) -> Section:
    """Scores, Kaplan-Meier curves of risk groups, Brier score over time."""
    result = evidence.survival
    if isinstance(result, Missing):
        return Section("survival", "Survival", "", (Absent("Survival analysis", result.reason),))
    others = [(other.run, other.survival) for other in evidence.others]
    blocks: list[Block] = [score_table("survival-scores", _caption(result), result, COLUMNS, paper, others)]
    blocks += [hazards(result), _kaplan_meier(result), _brier(result), survival_calibration(result)]
    few = evidence.survival_few_shot
    if isinstance(few, Missing):
        blocks.append(Absent("Few-shot survival", few.reason))
    else:
        caption = f"{SHOTS}-shot survival: the same with {SHOTS} patients a time bin, over many support sets."
        blocks.append(score_table("survival-few-shot", caption, few, COLUMNS, paper))
    heads = {"discrete": "a discrete-time hazard model", "cox": "a Cox model"}
    lead = (
        f"Who dies earlier? {heads.get(result.head, result.head).capitalize()} on the frozen embeddings, fitted on "
        "each fold's training and "
        "validation patients. C is the share of comparable pairs whose order of risk agrees with their order of death: "
        "0.5 is chance, 1 perfect."
    )
    if result.protocol == "stored":
        lead = "Who dies earlier? Scored are the run's own risks for the test patients of each fold. C = 0.5 is chance."
    return Section("survival", "Survival", lead, tuple(blocks))


def _caption(result: SurvivalResult) -> str:
    last = result.counts.folds[-1].modality
    mine = [fold for fold in result.counts.folds if fold.modality == last]
    events = sum(fold.tested_events or 0 for fold in mine)
    return f"Survival of {sum(f.tested for f in mine):,} test patients, {count(events, 'event')}, in {len(mine)} folds."


def groups_of(result: SurvivalResult) -> pd.DataFrame:
    """Test patients with a risk group, of the row that uses most (both, if there is one)."""
    table = result.predictions
    for modality in ("both", "stored", "slide", "rna"):
        mine = table[(table["modality"] == modality) & (table["draw"] == 0)].dropna(subset=["group"])
        if len(mine):
            return mine
    return table.iloc[:0]


def risk_groups_test(result: SurvivalResult) -> LogRank | None:
    """Log-rank test of high against low risk within folds; None where there are not two groups."""
    table = groups_of(result)
    if table["group"].nunique() < 2:
        return None
    time, event = table["time_days"].to_numpy(float), table["event"].to_numpy(bool)
    return log_rank(time, event, table["group"].to_numpy(str), table["fold"].to_numpy())


def _kaplan_meier(result: SurvivalResult) -> Figure | Absent:
    test, panels, points = risk_groups_test(result), [], []
    if test is None:
        return Absent("Kaplan-Meier curves", "The test patients do not fall into a high and a low risk group.")
    main = groups_of(result)["modality"].iloc[0]
    curves: list[tuple[str, Curve]] = []
    for group in ("low", "high"):
        mine = groups_of(result).query("group == @group")
        curve = kaplan_meier(mine["time_days"].to_numpy(float), mine["event"].to_numpy(bool))
        curves.append((f"{group} risk", curve))
        points.append(_curve_points(group, curve))
    medians = " and ".join(f"{_years(curve.median)} in the {label} group" for label, curve in curves)
    title = MODALITY_NAME[main]
    alt = f"Kaplan-Meier curves of low and high risk, {title}; log-rank {p_value(test.p)}; median survival {medians}."
    panels.append(kaplan_meier_panel(f"kaplan-meier-{main}", title, curves, f"log-rank {p_value(test.p)}", alt))
    caption = (
        "Kaplan-Meier curves of the test patients, cut into low and high risk at the median risk of the patients the "
        "model was fitted on, "
        "fold by fold. Shaded: 95 % pointwise intervals; ticks: patients last seen alive. The log-rank test compares "
        "patients of the same fold only. "
        f"Median survival: {medians}."
    )
    return Figure("kaplan-meier", caption, tuple(panels), csv=csv_text(pd.concat(points)))


def _years(days: float) -> str:
    return "not reached" if np.isinf(days) else f"{days / 365.25:.1f} years"


def _curve_points(group: str, curve: Curve) -> pd.DataFrame:
    values = {"time_days": curve.times, "survival": curve.survival, "low": curve.low, "high": curve.high}
    return pd.DataFrame({"risk": group, **values, "at_risk": curve.at_risk, "events": curve.events})


def _brier(result: SurvivalResult) -> Figure | Absent:
    """Brier score over time of each row beside the Kaplan-Meier baseline, averaged over folds weighted by patients."""
    if not result.curves:
        return Absent("Brier score over time", "The run gives risks, not chances of survival.")
    lines: list[Line] = []
    gains: list[Line] = []
    points: list[pd.DataFrame] = []
    base: list[Line] = []
    for modality in [m for m in MODALITY_NAME if any(c.modality == m for c in result.curves)]:
        grid, model, baseline = _mean_brier(result, modality)
        if not len(grid):
            continue
        lines.append(Line(MODALITY_NAME[modality], grid / 365.25, model, MODALITY_COLOUR[modality]))
        gains.append(Line(MODALITY_NAME[modality], grid / 365.25, baseline - model, MODALITY_COLOUR[modality]))
        base = [Line("Kaplan-Meier", grid / 365.25, baseline, GREY)]
        points.append(pd.DataFrame({"modality": modality, "time_days": grid, "brier": model, "baseline": baseline}))
    if not lines:
        return Absent("Brier score over time", "The folds share no stretch of time in which it can be estimated.")
    named = ", ".join(line.label for line in lines)
    alt = f"Brier score over time of {named} and of the Kaplan-Meier curve of the training patients."
    errors = lines_panel("brier", "prediction error", [*lines, *base], ("years", "Brier score (lower is better)"), alt)
    alt = f"How much lower than Kaplan-Meier's the Brier scores of {named} are over time."
    level = [Line("Kaplan-Meier", base[0].x, np.zeros(len(base[0].x)), GREY)]
    labels, title = ("years", "by how much it is lower"), "gain over Kaplan-Meier"
    gain = lines_panel("brier-gain", title, [*gains, *level], labels, alt, bottom=None, legend=False)
    caption = (
        "How far predicted survival is from what happened, weighted for censoring, mean of folds; right, what that "
        "gains over the Kaplan-Meier curve of the training patients, which gives everyone the same chance. A model "
        "that does not lie above the dotted line there knows nothing about time that this curve does not."
    )
    return Figure("brier", caption, (errors, gain), csv=csv_text(pd.concat(points)))


def _mean_brier(result: SurvivalResult, modality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (T,), score of the model (T,) and of the baseline (T,) where every fold can be scored."""
    folds = [curve for curve in result.curves if curve.modality == modality]
    first, last = max(fold.times[0] for fold in folds), min(fold.times[-1] for fold in folds)
    if not first < last:
        return np.array([]), np.array([]), np.array([])
    grid = np.linspace(first, last, 60)
    model, baseline = np.zeros(len(grid)), np.zeros(len(grid))
    total = sum(len(fold.time) for fold in folds)
    for fold in folds:
        at_grid = fold.survival[:, np.searchsorted(fold.times, grid, side="right") - 1]  # (n, T)
        curve = brier_curve(fold.train_time, fold.train_event, fold.time, fold.event, at_grid, grid)
        model += curve.model * len(fold.time) / total
        baseline += curve.baseline * len(fold.time) / total
    return grid, model, baseline
