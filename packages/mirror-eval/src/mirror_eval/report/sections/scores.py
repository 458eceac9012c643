"""The score tables that subtyping and survival share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mirror_eval.figures.theme import MODALITY_NAME
from mirror_eval.report.blocks import Cell, Table, csv_text, number, score_cell
from mirror_eval.report.evidence import Missing
from mirror_eval.report.paper import COHORT_NAMES, PUBLISHED, PaperCohort, Published
from mirror_eval.results import Score, SubtypeResult, SurvivalResult

Result = SubtypeResult | SurvivalResult


@dataclass(frozen=True)
class Column:
    """A metric as a column: its name in the scores, its heading, and what the paper prints for it."""

    metric: str
    heading: str
    published: str = ""  # field of `Published`


def score_table(
    name: str,
    caption: str,
    result: Result,
    columns: Sequence[Column],
    paper: PaperCohort | None,
    others: Sequence[tuple[str, Result | Missing]] = (),
) -> Table:
    """Rows: slides only, RNA only, both (those that there are), of the run and of others beside it. Columns: metrics as
    mean +- sd and interval.

    Args:
        others: name and result of each run beside.
    """
    beside = [other for _, other in others if not isinstance(other, Missing)]
    present = {score.metric for score in result.scores}
    known = [column for column in columns if column.metric in present]
    body = [row for one in (result, *beside) for row in _rows(one, known, named=bool(others))]
    published = PUBLISHED.get((paper, result.protocol), ()) if paper else ()
    reference = tuple((Cell(p.method, p.backbone), *(_published(p, column) for column in known)) for p in published)
    shown = {column.metric for column in known}
    csv = scores_csv({one.run: [s for s in one.scores if s.metric in shown] for one in (result, *beside)})
    note = [
        "Mean ± standard deviation over folds; below, the 95 % interval of the mean when the test patients of each "
        "fold are drawn again.",
        *_about(result, others),
    ]
    if reference and paper:
        note.append(
            f"Last rows: as printed in the MIRROR paper for {COHORT_NAMES[paper]}; other patients, genes and splits, "
            "so for orientation only."
        )
    return Table(name, caption, ("", *(c.heading for c in known)), tuple(body), reference, " ".join(note), csv)


def _rows(result: Result, columns: Sequence[Column], *, named: bool) -> list[tuple[Cell, ...]]:
    """A row a modality; ``named`` says whose it is."""
    cells = {(score.modality, score.metric): score for score in result.scores}
    detail = f"run {result.run}" if named else ""
    return [
        (Cell(MODALITY_NAME[row], detail), *(_cell(cells.get((row, column.metric))) for column in columns))
        for row in MODALITY_NAME
        if any(score.modality == row for score in result.scores)
    ]


def _about(result: Result, others: Sequence[tuple[str, Result | Missing]]) -> list[str]:
    """What to know before runs are compared: who could not be scored, and who was scored on other patients."""
    told, mine = [], tested(result)
    for name, other in others:
        if isinstance(other, Missing):
            told.append(f"Run {name} is not shown: {other.reason}")
        elif (theirs := tested(other)) != mine:
            told.append(
                f"Run {name} was tested on {len(theirs):,} patients, {len(theirs & mine):,} of them in the same fold "
                f"as the {len(mine):,} here: not the same exam."
            )
    if others:
        told.append("Whether a difference between runs is more than luck, the section Comparison tells.")
    return told


def tested(result: Result) -> frozenset[tuple[int, str]]:
    """Fold and patient of everyone tested, in any row."""
    return frozenset(zip(result.predictions["fold"], result.predictions["patient_id"], strict=True))


def _cell(score: Score | None) -> Cell:
    return Cell("–", sort=float("-inf")) if score is None else score_cell(score)


def _published(row: Published, column: Column) -> Cell:
    if not column.published:
        return Cell("", sort=float("-inf"))
    mean, sd = getattr(row, column.published)
    return Cell(f"{number(mean)} ± {number(sd)}", "published", mean)


def scores_csv(scores: Mapping[str, Sequence[Score]]) -> str:
    """Every score of each run in full, one row a metric and modality, with the folds' values."""
    folds = max((len(score.folds) for mine in scores.values() for score in mine), default=0)
    rows: list[Mapping] = [
        {
            "run": run,
            "modality": score.modality,
            "metric": score.metric,
            "mean": score.mean,
            "sd_over_folds": score.sd,
            "low": score.low,
            "high": score.high,
            **{f"fold_{k}": value for k, value in zip(range(folds), score.folds, strict=False)},
        }
        for run, mine in scores.items()
        for score in mine
    ]
    return csv_text(pd.DataFrame(rows))
