"""``mirror-data demo``."""

from __future__ import annotations

import click

from mirror_data.cli.app import json_option, tell


@click.command("demo")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--patients", default=40, show_default=True, help="How many patients, 16 to 999.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another cohort.")
@click.option("--overwrite", is_flag=True, help="Write into a folder that is not empty.")
@json_option
def command(directory: str, patients: int, seed: int, overwrite: bool, as_json: bool) -> None:
    """Write a small cohort to try things on.

    Slides, expression, outcomes and a cancer gene list of invented patients; DIR/README.txt says what each file is
    and truth.json what was planted in them.
    """
    from dataclasses import asdict

    from mirror_data.cohort.demo import write_demo

    made = write_demo(directory, patients, seed, overwrite=overwrite)
    lines = [
        f"{made.slide_count:>5} slides       {made.slides}",
        f"{made.expression_count:>5} samples      {made.expression}",
        f"{made.outcome_count:>5} outcomes     {made.clinical}",
        f"      what is what {made.readme}",
    ]
    tell(asdict(made), as_json, lines)
