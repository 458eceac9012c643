"""``mirror-eval cindex``."""

from __future__ import annotations

from typing import Any

import click
from mirror_data.cli.app import json_option, note, tell

from mirror_eval.cli import options

ONLY_TABLE = ("by", "fold_column", "id_column", "risk_column", "time_column", "event_column", "censorship_column")


@click.command("cindex")
@options.store
@options.run_name
@options.protocol
@click.option(
    "--head",
    type=click.Choice(["discrete", "cox"]),
    default="discrete",
    show_default=True,
    help="Linear hazards in four bins of time, or Cox.",
)
@options.predictions
@click.option("--by", metavar="COLUMN,...", help="Of the table: score each combination of these columns by itself.")
@options.risk_columns
@options.chance
@options.out
@json_option
def command(
    store_url: str | None,
    run_name: str | None,
    predictions: str | None,
    by: str | None,
    out: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Survival scores of a run, or Harrell's C of a table with fold, patient_id, risk, time and event.

    Of a run: rows for slides only, RNA only and both; Harrell's and Uno's C, AUC over time, integrated Brier score
    beside that of Kaplan-Meier; hazard ratios (adjusted for age and stage where the store has them), log-rank,
    D-calibration. Patient by patient, fold by fold.
    """
    options.one_source(store_url, run_name, predictions, ONLY_TABLE)
    names = {kind: how.pop(f"{kind}_column") for kind in ("fold", "risk", "time", "event", "censorship")}
    patient = how.pop("id_column")
    if predictions is None:
        _run(store_url or "", run_name or "", out, as_json, how)
        return
    from mirror_eval.cli.tables import risk_json, risk_lines
    from mirror_eval.prediction_tables import RiskColumns, read_risks
    from mirror_eval.risk_scores import score_risks

    groups = tuple(name.strip() for name in by.split(",")) if by else ()
    table = read_risks(predictions, RiskColumns(patient=patient, by=groups, **names))
    scores = score_risks(table, groups, seed=how["seed"], resamples=how["resamples"])
    tell(risk_json(scores, groups), as_json, risk_lines(scores, groups))


def _run(store_url: str, run_name: str, out: str | None, as_json: bool, how: dict[str, Any]) -> None:
    from mirror_data.store import open_store

    from mirror_eval.cli.survival_tables import survival_lines
    from mirror_eval.cli.tables import result_json, result_lines
    from mirror_eval.prediction_tables import check_folder, write_table
    from mirror_eval.survival import evaluate_survival

    if out:
        check_folder(out)
    with options.shown("cindex") as watch:
        result = evaluate_survival(open_store(store_url), run_name, watch=watch, **how)
    if out:
        note(f"{len(result.predictions)} predictions in {write_table(result.predictions, out)}")
    tell(result_json(result), as_json, [*result_lines(result), *survival_lines(result)])
