"""``mirror-model embed``."""

from __future__ import annotations

import click
from mirror_data.cli.app import json_option, overwrite_option, store_option, tell
from mirror_data.versions import require_torch


@click.command("embed")
@store_option
@click.option("--run", "run_name", required=True, metavar="NAME", help="A trained run of the store.")
@click.option("--fold", default="all", show_default=True, metavar="K|all", help="Fold to embed with, from 0.")
@click.option("--attention", is_flag=True, help="Also store each tile's weight, for heatmaps.")
@click.option("--checkpoints", metavar="DIR", help="Where checkpoints lie, if not beside the store.")
@overwrite_option
@json_option
def command(
    store_url: str,
    run_name: str,
    fold: str,
    attention: bool,
    checkpoints: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Embed every patient of the store with the networks of a run: slides, expression, or both.

    Of a supervised run, predict every patient of the fold instead.
    """
    require_torch()
    from mirror_model.embed import describe, embed_folds

    outcomes = embed_folds(store_url, run_name, fold, attention=attention, checkpoints=checkpoints, overwrite=overwrite)
    tell({"run": run_name, "folds": [vars(outcome) for outcome in outcomes]}, as_json, describe(outcomes))
