"""The score tables that subtyping and survival share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mirror_eval.figures.theme import MODALITY_NAME
from mirror_eval.report.blocks import Cell, Table, csv_text, number, score_cell
from mirror_eval.report.paper import COHORT_NAMES, PUBLISHED, PaperCohort, Published
from mirror_eval.results import Score, SubtypeResult, SurvivalResult


@dataclass(frozen=True)
class Column:
    """A metric as a column: its name in the scores, its heading, and what the paper prints for it."""

    metric: str
    heading: str
    published: str = ""  # field of `Published`


def score_table(
    name: str,
    caption: str,
    result: SubtypeResult | SurvivalResult,
    columns: Sequence[Column],
    paper: PaperCohort | None,
) -> Table:
    """Rows: slides only, RNA only, both (those that there are). Columns: metrics as mean +- sd and interval."""
    cells = {(score.modality, score.metric): score for score in result.scores}
    rows = [m for m in MODALITY_NAME if any(score.modality == m for score in result.scores)]
    known = [column for column in columns if any((row, column.metric) in cells for row in rows)]
    body = tuple(
        (Cell(MODALITY_NAME[row]), *(_cell(cells.get((row, column.metric))) for column in known)) for row in rows
    )
    published = PUBLISHED.get((paper, result.protocol), ()) if paper else ()
    reference = tuple((Cell(p.method, p.backbone), *(_published(p, column) for column in known)) for p in published)
    shown = {column.metric for column in known}
    csv = scores_csv([score for score in result.scores if score.metric in shown])
    note = (
        "Mean ± standard deviation over folds; below, the 95 % interval of the mean when the test patients of each "
        "fold are drawn again."
    )
    if reference and paper:
        note += (
            f" Last rows: as printed in the MIRROR paper for {COHORT_NAMES[paper]}; other patients, genes and splits, "
            "so for orientation only."
        )
    return Table(name, caption, ("", *(c.heading for c in known)), body, reference, note, csv)


def _cell(score: Score | None) -> Cell:
    return Cell("–", sort=float("-inf")) if score is None else score_cell(score)


def _published(row: Published, column: Column) -> Cell:
    if not column.published:
        return Cell("", sort=float("-inf"))
    mean, sd = getattr(row, column.published)
    return Cell(f"{number(mean)} ± {number(sd)}", "published", mean)


def scores_csv(scores: Sequence[Score]) -> str:
    """Every score in full, one row a metric and modality, with the folds' values."""
    folds = max((len(score.folds) for score in scores), default=0)
    rows: list[Mapping] = [
        {
            "modality": score.modality,
            "metric": score.metric,
            "mean": score.mean,
            "sd_over_folds": score.sd,
            "low": score.low,
            "high": score.high,
            **{f"fold_{k}": score.folds[k] for k in range(folds)},
        }
        for score in scores
    ]
    return csv_text(pd.DataFrame(rows))
