"""``mirror-data info``."""

from __future__ import annotations

import click

from mirror_data.cli.app import json_option, store_option, tell


@click.command("info")
@store_option
@json_option
def command(store_url: str, as_json: bool) -> None:
    """Tell what a store holds: slides, bags, expression, outcomes, how patients join, splits, genes, runs."""
    from mirror_data.cohort.overview import overview
    from mirror_data.store import open_store

    info = overview(open_store(store_url))
    tell(info.as_json(), as_json, info.lines())
