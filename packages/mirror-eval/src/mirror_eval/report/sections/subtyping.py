"""Section: telling subtypes apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror_eval.calibration import reliability
from mirror_eval.classification import confusion
from mirror_eval.figures.curves import RocSeries, reliability_panel, roc_panel
from mirror_eval.figures.theme import MODALITY_COLOUR, MODALITY_NAME, Drawing
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Section, Table, csv_text, listed, number
from mirror_eval.report.evidence import SHOTS, Evidence, Missing
from mirror_eval.report.paper import PaperCohort
from mirror_eval.report.sections.scores import Column, score_table
from mirror_eval.results import SubtypeResult

COLUMNS = (
    Column("accuracy", "accuracy", "accuracy"),
    Column("balanced_accuracy", "balanced accuracy"),
    Column("macro_f1", "macro F1", "macro_f1"),
    Column("auroc", "AUROC"),
    Column("auprc", "AUPRC"),
)
FURTHER = (
    Column("mcc", "Matthews correlation"),
    Column("brier", "Brier score\u00a0↓"),
    Column("ece", "calibration error\u00a0↓"),
)


def subtyping(evidence: Evidence, paper: PaperCohort | None) -> Section:
    """Scores, ROC curves, calibration and confusion of the linear probe; scores of the few-shot probe."""
    result = evidence.subtype
    if isinstance(result, Missing):
        return Section("subtyping", "Subtyping", "", (Absent("Subtyping", result.reason),))
    others = [(other.run, other.subtype) for other in evidence.others]
    blocks: list[Block] = [score_table("subtype-scores", _caption(result), result, COLUMNS, paper, others)]
    table = result.predictions[result.predictions["draw"] == 0]
    blocks += [_roc(result, table), _calibration(result, table)]
    further = "Further scores of the same predictions; ↓ lower is better."
    blocks += [score_table("subtype-further", further, result, FURTHER, None), _confusion(result, table)]
    few = evidence.subtype_few_shot
    if isinstance(few, Missing):
        blocks.append(Absent("Few-shot subtyping", few.reason))
    else:
        caption = f"{SHOTS}-shot subtyping: the same with {SHOTS} labelled patients a class, over many support sets."
        blocks.append(score_table("subtype-few-shot", caption, few, COLUMNS, paper))
    lead = (
        f"Which of {listed(result.classes)} is it? The encoders are frozen; a linear classifier is fitted on each "
        "fold's training "
        "and validation patients and scored once on its test patients. One patient counts once, however many slides "
        "there are."
    )
    if result.protocol == "stored":
        lead = (
            f"Which of {listed(result.classes)} is it? Scored are the run's own predictions for the test patients of "
            "each fold."
        )
    return Section("subtyping", "Subtyping", lead, tuple(blocks))


def _caption(result: SubtypeResult) -> str:
    tested = sum(fold.tested for fold in result.counts.folds if fold.modality == result.counts.folds[-1].modality)
    return f"Subtyping on {tested:,} test patients in {len(result.scores[0].folds)} folds."


def _modalities(table: pd.DataFrame) -> list[str]:
    return [modality for modality in MODALITY_NAME if modality in set(table["modality"])]


def _probabilities(table: pd.DataFrame, result: SubtypeResult) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers (n,) and probabilities (n, K) of rows of the predictions."""
    code = {name: k for k, name in enumerate(result.classes)}
    return table["label"].map(code).to_numpy(), table[[f"prob_{name}" for name in result.classes]].to_numpy(float)


def _roc(result: SubtypeResult, table: pd.DataFrame) -> Figure | Absent:
    """A panel a modality: for two classes the folds and their mean, for more the mean of each class against the "
    "rest."""
    shown = [result.classes[1]] if len(result.classes) == 2 else list(result.classes)
    panels: list[Drawing] = []
    points: list[pd.DataFrame] = []
    for modality in _modalities(table):
        mine = table[table["modality"] == modality]
        series = [one for name in shown if (one := _roc_series(mine, name)) is not None]
        if not series:
            continue
        area = number(result.score(modality, "auroc").mean)
        labels = [RocSeries(f"AUROC {area}" if len(series) == 1 else one.label, one.folds) for one in series]
        title = MODALITY_NAME[modality]
        alt = f"ROC curve, {title}: mean area {area} over {len(series[0].folds)} folds."
        panels.append(roc_panel(f"roc-{modality}", title, labels, alt, MODALITY_COLOUR[modality]))
        points += [_roc_points(modality, one) for one in series]
    if not panels:
        return Absent("ROC curves", "No fold's test part holds both a patient of a class and one of another.")
    what = f"of {shown[0]} against {result.classes[0]}" if len(shown) == 1 else "of each class against the rest"
    folds = "thick: mean over folds; thin: single folds" if len(shown) == 1 else "mean over folds"
    caption = f"ROC curves {what}; {folds}; dotted: chance."
    return Figure("roc", caption, tuple(panels), csv=csv_text(pd.concat(points)))


def _roc_series(table: pd.DataFrame, name: str) -> RocSeries | None:
    from sklearn.metrics import roc_curve

    folds = []
    for _, fold in table.groupby("fold"):
        positive = (fold["label"] == name).to_numpy()
        if positive.any() and not positive.all():
            false, true, _ = roc_curve(positive, fold[f"prob_{name}"].to_numpy(float), drop_intermediate=False)
            folds.append((false, true))
    return RocSeries(name, tuple(folds)) if folds else None


def _roc_points(modality: str, series: RocSeries) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"modality": modality, "class": series.label, "fold": k, "false_positive": f, "true_positive": t})
        for k, (f, t) in enumerate(series.folds)
    ]
    return pd.concat(parts)


def _calibration(result: SubtypeResult, table: pd.DataFrame) -> Figure:
    """Do predicted probabilities come true? Two classes: of the second; more: of whichever is predicted."""
    panels, points = [], []
    bins = int(np.clip(len(table) // len(_modalities(table)) // 12, 3, 10))  # about a dozen patients a bin
    for modality in _modalities(table):
        label, probability = _probabilities(table[table["modality"] == modality], result)
        two = len(result.classes) == 2
        right = label == 1 if two else probability.argmax(axis=1) == label
        curve = reliability(right, probability[:, 1] if two else probability.max(axis=1), bins=bins)
        error = number(result.score(modality, "ece").mean)
        title = MODALITY_NAME[modality]
        alt = f"Calibration, {title}: expected calibration error {error}."
        colour = MODALITY_COLOUR[modality]
        panels.append(reliability_panel(f"calibration-{modality}", title, curve, f"ECE {error}", alt, colour))
        values = {"predicted": curve.predicted, "observed": curve.observed, "patients": curve.count}
        points.append(pd.DataFrame({"modality": modality, **values}))
    what = f"probability of {result.classes[1]}" if len(result.classes) == 2 else "probability of the predicted class"
    caption = (
        f"Calibration: the predicted {what} in {bins} bins, against how often it came true, test patients of all folds "
        "together. "
        "The larger a dot, the more patients; on the dotted line, probabilities mean what they say."
    )
    return Figure("calibration", caption, tuple(panels), csv=csv_text(pd.concat(points)))


def _confusion(result: SubtypeResult, table: pd.DataFrame) -> Table:
    modality = _modalities(table)[-1] if "both" not in set(table["modality"]) else "both"
    label, probability = _probabilities(table[table["modality"] == modality], result)
    counts = confusion(label, probability.argmax(axis=1), len(result.classes)).astype(int)
    rows = tuple(
        (Cell(f"is {name}"), *(Cell(f"{value:,}", sort=value) for value in row))
        for name, row in zip(result.classes, counts, strict=True)
    )
    frame = pd.DataFrame(counts, columns=[f"predicted_{name}" for name in result.classes])
    frame.insert(0, "true", result.classes)
    caption = f"Who was taken for what: test patients of all folds, {MODALITY_NAME[modality]}."
    columns = ("", *(f"called {name}" for name in result.classes))
    return Table("confusion", caption, columns, rows, csv=csv_text(frame), sortable=False)
