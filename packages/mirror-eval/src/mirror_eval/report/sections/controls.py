"""Section: what the same pipeline scores where there is nothing to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mirror_eval.figures.theme import MODALITY_NAME
from mirror_eval.report.blocks import Absent, Cell, Section, Table, count, csv_text, number, score_cell
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.scores import Column
from mirror_eval.results import Score, SubtypeResult

COLUMNS = (
    Column("accuracy", "accuracy"),
    Column("balanced_accuracy", "balanced accuracy"),
    Column("auroc", "AUROC"),
    Column("c_harrell", "Harrell's C"),
    Column("ibs_skill", "Brier skill"),
)
AS_IT_IS = "as it is"
NAMES = {"shuffled": "shuffled outcomes", "random": "random features"}
TITLE = "Null controls"
RANKS = ("auroc", "c_harrell")  # chance is 0.5 whatever the cohort

Deals = Mapping[tuple[str, str], tuple[Score, ...]]  # by row and metric: a score a deal


@dataclass(frozen=True)
class Highest:
    """The most that any deal of any control reached in a metric, and the least that a row of the run has."""

    heading: str
    control: float
    where: str
    run: float


def controls(evidence: Evidence) -> Section:
    """The run's own scores beside those with shuffled outcomes and with random features."""
    if isinstance(evidence.controls, Missing):
        return Section("controls", TITLE, "", (Absent(TITLE, evidence.controls.reason),))
    tried = [result for one in evidence.controls for result in (one.subtype, one.survival)]
    if all(isinstance(result, Missing) for result in tried):
        reasons = dict.fromkeys(result.reason for result in tried if isinstance(result, Missing))
        return Section("controls", TITLE, "", (Absent(TITLE, " ".join(reasons)),))
    lead = (
        "Everything once more where there is nothing to learn: with each fold's training outcomes dealt to other "
        "patients, and with noise in place of the embeddings. Both must come out about chance. A score that a control "
        "reaches too is no finding; controls that lie above chance deal after deal are a leak."
    )
    return Section("controls", TITLE, lead, (_table(evidence, _scores(evidence)),))


def _scores(evidence: Evidence) -> dict[str, Deals]:
    """Scores by control, the run as it is first."""
    found: dict[str, list] = {
        AS_IT_IS: [r for r in (evidence.subtype, evidence.survival) if not isinstance(r, Missing)]
    }
    for one in () if isinstance(evidence.controls, Missing) else evidence.controls:
        found[one.control] = [
            r for deals in (one.subtype, one.survival) if not isinstance(deals, Missing) for r in deals
        ]
    scores: dict[str, dict[tuple[str, str], tuple[Score, ...]]] = {}
    for name, results in found.items():
        mine = scores.setdefault(name, {})
        for score in (score for result in results for score in result.scores):
            key = (score.modality, score.metric)
            mine[key] = (*mine.get(key, ()), score)
    return dict(scores)


def _table(evidence: Evidence, scores: Mapping[str, Deals]) -> Table:
    metrics = {metric for mine in scores.values() for _, metric in mine}
    known = [column for column in COLUMNS if column.metric in metrics]
    rows = [
        (Cell(MODALITY_NAME[row], NAMES.get(name, name)), *(_cell(mine.get((row, c.metric), ()), name) for c in known))
        for row in MODALITY_NAME
        for name, mine in scores.items()
        if any(modality == row for modality, _ in mine)
    ]
    chance = _chance(evidence)
    reference = (Cell("chance"), *(_chance_cell(chance.get(column.metric)) for column in known))
    deals = max(len(found) for name, mine in scores.items() if name in NAMES for found in mine.values())
    note = [
        f"The run: mean ± standard deviation over folds and 95 % interval. Controls: mean of {count(deals, 'deal')}; "
        "below, the least and the most that a deal came to.",
        *_verdict(highest(scores, known)),
    ]
    if "accuracy" in chance:
        note.append("Chance of accuracy: everyone called the commonest subtype.")
    headings = ("", *(column.heading for column in known))
    caption = "The run beside its null controls."
    return Table("null-controls", caption, headings, tuple(rows), (reference,), " ".join(note), _csv(scores, known))


def _cell(deals: Sequence[Score], control: str) -> Cell:
    if control not in NAMES and deals:
        return score_cell(deals[0])
    values = [score.mean for score in deals if score.mean == score.mean]
    if not values:
        return Cell("–", sort=float("-inf"))
    mean = float(np.mean(values))
    return Cell(number(mean), f"{number(min(values))} to {number(max(values))}", mean)


def _chance_cell(value: float | None) -> Cell:
    return Cell("", sort=float("-inf")) if value is None else Cell(number(value), sort=value)


def _csv(scores: Mapping[str, Deals], columns: Sequence[Column]) -> str:
    """Every deal of every control in full, and the run."""
    shown = {column.metric for column in columns}
    rows = [
        {
            "control": NAMES.get(name, "none"),
            "deal": deal,
            "modality": row,
            "metric": metric,
            "mean": score.mean,
            "sd_over_folds": score.sd,
            **{f"fold_{k}": value for k, value in enumerate(score.folds)},
        }
        for name, mine in scores.items()
        for (row, metric), deals in mine.items()
        if metric in shown
        for deal, score in enumerate(deals)
    ]
    return csv_text(pd.DataFrame(rows))


def _chance(evidence: Evidence) -> dict[str, float]:
    """What knowing nothing scores: the commonest class for everyone, ranks by lot, one survival curve for all."""
    found = {}
    if isinstance(result := evidence.subtype, SubtypeResult):
        patients = result.predictions.drop_duplicates(["fold", "patient_id"])
        commonest = patients["label"].mode().iloc[0]
        shares = (patients["label"] == commonest).groupby(patients["fold"]).mean()
        found |= {"accuracy": float(shares.mean()), "balanced_accuracy": 1 / len(result.classes), "auroc": 0.5}
    if not isinstance(evidence.survival, Missing):
        found |= {"c_harrell": 0.5, "ibs_skill": 0.0}
    return found


def highest(scores: Mapping[str, Deals], columns: Sequence[Column]) -> list[Highest]:
    """For AUROC and C: the highest deal of any control, and the lowest row of the run."""
    found = []
    for column in (column for column in columns if column.metric in RANKS):
        of_metric = [
            (score.mean, name, row)
            for name, mine in scores.items()
            for (row, metric), deals in mine.items()
            for score in deals
            if metric == column.metric and score.mean == score.mean
        ]
        nulls, own = [one for one in of_metric if one[1] in NAMES], [one for one in of_metric if one[1] == AS_IT_IS]
        if nulls and own:
            mean, name, row = max(nulls)
            found.append(Highest(column.heading, mean, f"{MODALITY_NAME[row]}, {NAMES[name]}", min(own)[0]))
    return found


def _verdict(found: Sequence[Highest]) -> list[str]:
    """In words, whether every row of the run lies above every deal of every control."""
    return [
        f"{one.heading}: the highest deal reaches {number(one.control)} ({one.where}); the run's own rows are "
        f"{'all' if one.run > one.control else 'not all'} above that (lowest {number(one.run)})."
        for one in found
    ]


def control_sentence(evidence: Evidence) -> str:
    """For the top of the page: what shuffled outcomes reach; "" where they were not tried."""
    shuffled, told = _scores(evidence).get("shuffled", {}), []
    for metric, name in (("auroc", "AUROC"), ("c_harrell", "C-index")):
        values = [
            s.mean for (_, found), deals in shuffled.items() if found == metric for s in deals if s.mean == s.mean
        ]
        if values:
            mean, low, high = (number(value, 2) for value in (float(np.mean(values)), min(values), max(values)))
            told.append(f"{name} {mean} on average (from {low} to {high})")
    return f"With shuffled outcomes the same pipeline reaches {', and '.join(told)}; 0.5 is chance." if told else ""
