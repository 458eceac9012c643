"""``mirror-eval report``."""

from __future__ import annotations

from typing import Any

import click
from mirror_data.cli.app import json_option, store_option, tell

from mirror_eval.cli.options import opaque_ids, open_with_slides


@click.command("report")
@store_option
@click.option("--run", "run_name", required=True, metavar="NAME", help="A trained and embedded run of the store.")
@click.option("--out", metavar="FILE.html", help="Where the page goes. [default: NAME-report.html]")
@click.option("--paper", type=click.Choice(["brca", "nsclc"]), help="Show the MIRROR paper's figures beside yours.")
@click.option("--compare", multiple=True, metavar="RUN", help="Show another run's scores beside; can be repeated.")
@click.option(
    "--controls/--no-controls",
    default=True,
    show_default=True,
    help="Score with shuffled outcomes and with random features too.",
)
@click.option("--resamples", default=1000, show_default=True, help="Bootstrap samples behind each interval.")
@click.option("--seed", default=0, show_default=True, help="Of evaluations, bootstrap and UMAP.")
@click.option("--slides", metavar="FOLDER", help="The slide files, to show the top tiles in full resolution.")
@opaque_ids
@json_option
def command(
    store_url: str,
    run_name: str,
    out: str | None,
    compare: tuple[str, ...],
    slides: str | None,
    opaque_ids: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Evaluate a run and write everything found as one HTML page.

    The page needs nothing beside it: figures, tables and their data are within. What the data do not allow is left out
    with the reason. A run named "untrained" is always shown beside, if the store has it.
    """
    from dataclasses import asdict

    from mirror_data.ids import to_key

    from mirror_eval.prediction_tables import check_folder

    store = open_with_slides(store_url, slides, opaque_ids)
    check_folder(out or ".")  # before the long work, and before the figures' imports

    from mirror_eval.report.build import build_report, write_report

    report = build_report(store, run_name, compare=compare, slides=slides, **how)
    file = write_report(report, out or f"{to_key(run_name)}-report.html")
    absent = [{"what": what, "reason": reason} for what, reason in report.absent]
    result = {"file": file, "summary": asdict(report.summary), "sections": report.sections, "absent": absent}
    lines = [report.summary.headline, *(f"  {label}: {text}" for label, text in report.summary.sentences)]
    lines += [f"  not shown: {what}. {reason}" for what, reason in report.absent]
    tell(result, as_json, [*lines, str(file)])
