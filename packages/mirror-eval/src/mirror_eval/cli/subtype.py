"""``mirror-eval subtype``."""

from __future__ import annotations

from typing import Any

import click
from mirror_data.cli.app import json_option, note, tell

from mirror_eval.cli import options


@click.command("subtype")
@options.store
@options.run_name
@options.predictions
@options.protocol
@options.chance
@options.out
@json_option
def command(
    store_url: str | None,
    run_name: str | None,
    predictions: str | None,
    out: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Subtyping scores of a run, or of a table with fold, patient_id, label and prob_<class>.

    Rows for slides only, RNA only and both; patient by patient, fold by fold.
    """
    options.one_source(store_url, run_name, predictions, ())
    from mirror_data.store import open_store

    from mirror_eval.cli.tables import result_json, result_lines
    from mirror_eval.prediction_tables import check_folder, write_table
    from mirror_eval.subtype import evaluate_subtype, score_class_table

    if out:
        check_folder(out)
    if predictions is None:
        with options.shown("subtype") as watch:
            result = evaluate_subtype(open_store(store_url or ""), run_name or "", watch=watch, **how)
    else:
        result = score_class_table(predictions, seed=how["seed"], resamples=how["resamples"])
    if out:
        note(f"{len(result.predictions)} predictions in {write_table(result.predictions, out)}")
    tell(result_json(result), as_json, result_lines(result))
