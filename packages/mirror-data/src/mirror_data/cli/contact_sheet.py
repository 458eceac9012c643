"""``mirror-data contact-sheet``."""

from __future__ import annotations

import click

from mirror_data.cli.app import exit_with, json_option, note, store_option, tell


@click.command("contact-sheet")
@store_option
@click.option("--out", required=True, metavar="FILE.html", help="Where the page goes.")
@click.option("--tiling", metavar="NAME", help="Which tiles, as 256px_0.5mpp (default: the only tiling of the store).")
@click.option("--csv", "table", metavar="FILE.csv", help="The numbers as a table as well.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
def command(store_url: str, out: str, tiling: str | None, table: str | None, overwrite: bool, as_json: bool) -> None:
    """Put thumbnail, tissue mask and tiles of every slide on one HTML page, to judge a cohort's masks at a glance.

    Slides whose mask looks wrong come first, each with the reason. The page needs nothing beside it.
    """
    from dataclasses import asdict
    from pathlib import Path

    from mirror_data.slides.contact_sheet import SheetOptions, make_contact_sheet
    from mirror_data.slides.mask_review import CONCERNS
    from mirror_data.store import open_store

    options = SheetOptions(Path(out), tiling, None if table is None else Path(table), overwrite)
    sheet = make_contact_sheet(open_store(store_url), options)
    for failure in sheet.failures:
        note(f"{failure.id}: {failure.code}: {failure.reason}\n  do: {failure.next_step}")
    lines = [f"{len(sheet.slides)} slides on the page, {sheet.to_look_at} to look at"]
    lines += [f"  {count}: {CONCERNS[kind]}" for kind, count in sheet.reasons().items()]
    if sheet.without_mask:
        lines.append(f"{sum(sheet.without_mask.values())} slides without a mask left out")
    if sheet.failures:
        lines.append(f"{len(sheet.failures)} slides could not be read")
    lines.append(f"{sheet.out}: {sheet.size_bytes / 1e6:.2g} MB")
    if sheet.csv is not None:
        lines.append(str(sheet.csv))
    result = {"store": store_url, "to_look_at": sheet.to_look_at, "reasons": sheet.reasons()}
    tell(asdict(sheet) | result, as_json, lines)
    if sheet.exit:
        exit_with(sheet.exit)
