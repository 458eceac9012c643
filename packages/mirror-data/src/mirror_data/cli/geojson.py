"""``mirror-data geojson``."""

from __future__ import annotations

import click

from mirror_data.cli.app import exit_with, json_option, note, store_option, tell


@click.command("geojson")
@click.argument("slides", nargs=-1, metavar="[SLIDE_ID...]")
@store_option
@click.option("--out", "folder", required=True, metavar="FOLDER", help="Where SLIDE_ID.geojson of each slide goes.")
@click.option("--tiling", metavar="NAME", help="Which tiles, as 256px_0.5mpp (default: the only tiling of the slide).")
@click.option("--no-tiles", is_flag=True, help="Tissue alone.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
def command(
    slides: tuple[str, ...],
    store_url: str,
    folder: str,
    tiling: str | None,
    no_tiles: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write tissue and tiles of slides as GeoJSON that QuPath opens; without SLIDE_ID of all slides in the store.

    Coordinates are level-0 pixels. A corrected file can come back through the option --regions of the command tile.
    """
    from dataclasses import asdict
    from pathlib import Path

    from mirror_data.exchange.qupath import ExportOptions, export_slides
    from mirror_data.store import open_store

    options = ExportOptions(Path(folder), tiling, not no_tiles, overwrite)
    report = export_slides(open_store(store_url), slides, options)
    for failure in report.failures:
        note(f"{failure.id}: {failure.code}: {failure.reason}\n  do: {failure.next_step}")
    lines = [
        f"{one.slide_id}: "
        + ("no tissue mask" if one.pieces is None else f"tissue in {one.pieces} pieces")
        + (f", {one.tiles} tiles of {one.tiling}" if one.tiling else ", no tiles")
        for one in report.slides
    ]
    lines.append(f"{len(report.slides)} slides written to {folder}, {len(report.failures)} failed")
    tell(asdict(report) | {"store": store_url}, as_json, lines)
    if report.exit:
        exit_with(report.exit)
