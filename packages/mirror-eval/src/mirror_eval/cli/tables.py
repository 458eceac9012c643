"""Results as text for a terminal and as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mirror_eval.results import Score, SubtypeResult, SurvivalResult
from mirror_eval.risk_scores import RiskScore

HEADINGS = {"slide": "slides", "rna": "RNA", "both": "both", "stored": "stored"}
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "mcc": "MCC",
    "brier": "Brier (lower)",
    "ece": "ECE (lower)",
    "c_harrell": "Harrell's C",
    "c_uno": "Uno's C",
    "auc_mean": "AUC over time, mean",
    "ibs": "IBS (lower)",
    "ibs_km": "IBS of Kaplan-Meier",
    "ibs_skill": "IBS skill",
}


def plain(value: Any) -> Any:
    """Records and what they hold as JSON has it; arrays become lists, NaN null."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def result_json(result: SubtypeResult | SurvivalResult) -> dict[str, Any]:
    """Everything of a result but the rows of patients."""
    kept = ("run", "protocol", "control", "classes", "head")
    fields = {name: getattr(result, name) for name in kept if hasattr(result, name)}
    scores = [asdict(score) for score in result.scores]
    if isinstance(result, SurvivalResult):
        fields["tests"] = [asdict(test) for test in result.tests]
        fields["auc_over_time"] = [asdict(curve) for curve in result.auc_curves]
    return plain({**fields, "scores": scores, "counts": asdict(result.counts), "sd": "population, over folds"})


def result_lines(result: SubtypeResult | SurvivalResult) -> list[str]:
    """A table for a person: a line a metric, a column a row of the paper's tables, then who took part."""
    counts = result.counts
    known = list(HEADINGS)
    found = dict.fromkeys(score.modality for score in result.scores)
    columns = sorted(found, key=lambda name: known.index(name) if name in known else len(known))
    folds = len({row.fold for row in counts.folds})
    subtyping = isinstance(result, SubtypeResult)
    task = f"subtypes {', '.join(result.classes)}" if subtyping else f"survival, {result.head} head"
    title = f"{result.run}: {task}, {result.protocol} protocol, {folds} of {counts.folds_of_split} folds"
    title += "" if result.control == "none" else f", NULL CONTROL {result.control}"
    grid = [["", *(HEADINGS.get(column, column) for column in columns)]]
    grid += [
        [NAMES.get(metric, metric), *(_cell(result.score(column, metric)) for column in columns)]
        for metric in dict.fromkeys(score.metric for score in result.scores)
    ]
    for what in ("fitted", "tested", "fitted_events", "tested_events"):
        found = [[getattr(row, what) for row in counts.folds if row.modality == column] for column in columns]
        if all(None not in values for values in found):
            grid.append([f"{what.replace('_', ' ')} a fold", *map(_range, found)])
    few = result.protocol == "few-shot"
    legend = "mean ± population sd over folds" + (" (sd over the support sets of a fold)" if few else "")
    legend += " [95 % interval of the mean: patients drawn again within folds]"
    who = f"patients with an outcome: {counts.outcome}; without, left out: {counts.no_outcome}"
    who += f"; in no embedding or prediction: {counts.no_embedding}; with one modality only: {counts.one_modality}"
    who += " (left out)" if counts.cohort == "paired" and counts.one_modality else ""
    return [title, "", *align(grid), "", legend, who, *_unknown(result.scores)]


def risk_json(scores: tuple[RiskScore, ...], by: tuple[str, ...]) -> dict[str, Any]:
    """Harrell's C of every group and fold, with the pairs behind it."""
    groups = []
    for score in scores:
        folds = [
            {"fold": fold.fold, "patients": fold.patients, "events": fold.events, **asdict(fold.concordance)}
            for fold in score.folds
        ]
        found = {name: getattr(score.score, name) for name in ("mean", "sd", "low", "high")}
        groups.append({"group": dict(zip(by, score.group, strict=True)), **found, "folds": folds})
    return plain({"metric": "c_harrell", "sd": "population, over folds", "groups": groups})


def risk_lines(scores: tuple[RiskScore, ...], by: tuple[str, ...]) -> list[str]:
    """Harrell's C of every group: folds, mean, population sd."""
    names = list(dict.fromkeys(fold.fold for score in scores for fold in score.folds))
    grid = [[*by, "patients", "events", *(f"fold {name}" for name in names), "mean", "sd", "95 % interval"]]
    for score in scores:
        value = {fold.fold: _number(fold.concordance.c) for fold in score.folds}
        total = [str(sum(fold.patients for fold in score.folds)), str(sum(fold.events for fold in score.folds))]
        found = score.score
        interval = "" if math.isnan(found.low) else f"[{found.low:.3f}, {found.high:.3f}]"
        cells = [_number(found.mean), _number(found.sd), interval]
        grid.append([*score.group, *total, *(value.get(name, "") for name in names), *cells])
    legend = "Harrell's C; population sd over folds; the interval draws patients again within folds"
    return [*align(grid), "", legend, *_unknown([score.score for score in scores])]


def _unknown(scores: Sequence[Score]) -> list[str]:
    """A line on the values of a fold that are missing from the means."""
    count = sum(math.isnan(value) for score in scores for value in score.folds)
    return [f"values of a fold that could not be estimated (-), left out of the means: {count}"] if count else []


def align(grid: list[list[str]]) -> list[str]:
    """Cells as columns of equal width."""
    widths = [max(len(row[k]) for row in grid) for k in range(len(grid[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]


def _cell(score: Score) -> str:
    text = f"{_number(score.mean)} ± {_number(score.sd)}"
    text += "" if score.support_sd is None else f" ({score.support_sd:.3f})"
    return text + ("" if math.isnan(score.low) else f" [{score.low:.3f}, {score.high:.3f}]")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
