"""``mirror-eval heatmap``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from mirror_data.cli.app import exit_with, json_option, note, store_option, tell

from mirror_eval.cli.options import opaque_ids, open_with_slides

if TYPE_CHECKING:
    from mirror_eval.heatmaps import HeatmapReport


@click.command("heatmap")
@click.argument("slides", nargs=-1, metavar="[SLIDE_ID...]")
@store_option
@click.option("--run", "run_name", required=True, metavar="NAME", help="A run that weighed tiles (embed --attention).")
@click.option("--all", "every", is_flag=True, help="All slides that the run weighed, instead of SLIDE_ID.")
@click.option("--fold", type=int, metavar="K", help="[default: the one in which the slide's patient is tested]")
@click.option(
    "--out",
    metavar="FOLDER",
    help="Where SLIDE_ID-attention.png and .geojson go; for one slide also a file that ends like one of them. "
    "[default: NAME-heatmaps]",
)
@click.option("--slides", "folder", metavar="FOLDER", help="The slide files, to show the top tiles in full resolution.")
@opaque_ids
@click.option("--top", default=6, show_default=True, help="Tiles with most attention to mark and show.")
@click.option("--workers", default=1, show_default=True, help="Slides drawn at once, each in its own process.")
@json_option
def command(
    slides: tuple[str, ...],
    store_url: str,
    run_name: str,
    every: bool,
    fold: int | None,
    out: str | None,
    folder: str | None,
    opaque_ids: str | None,
    top: int,
    workers: int,
    as_json: bool,
) -> None:
    """Draw where a run looked on slides: a PNG over the thumbnail, and GeoJSON measurements that QuPath opens.

    Colour is a tile's percentile among the tiles of its slide. The GeoJSON has weight, rank and percentile of every
    tile, in level-0 pixels, and an annotation round each of the top tiles.
    """
    from mirror_data.errors import BadInput

    if bool(slides) == every:
        raise BadInput("BAD_OPTION", "say which slides", expected="SLIDE_ID..., or --all")
    from dataclasses import asdict
    from pathlib import Path

    from mirror_data.ids import to_key

    from mirror_eval.heatmaps import HeatmapOptions, write_heatmaps

    place = Path(out or f"{to_key(run_name)}-heatmaps")
    store = open_with_slides(store_url, folder, opaque_ids)
    options = HeatmapOptions(place, fold, None if folder is None else Path(folder), top)
    report = write_heatmaps(store, run_name, slides, options, workers)
    for failure in report.failures:
        note(f"{failure.id}: {failure.code}: {failure.reason}\n  do: {failure.next_step}")
    tell(asdict(report) | {"store": store_url, "run": run_name}, as_json, _lines(report))
    if report.exit:
        exit_with(report.exit)


def _lines(report: HeatmapReport) -> list[str]:
    from mirror_eval.attention import PART_NAMES

    lines = []
    for one in report.slides:
        width = f" of {one.tile_um:g} µm" if one.tile_um else ""
        lines.append(
            f"{one.slide_id}: fold {one.fold}, {PART_NAMES[one.part]}; {one.tiles:,} tiles{width}, "
            f"half of the attention on {one.half_share:.0%} of them"
        )
        if one.reason:
            lines.append(f"  top tiles not shown by themselves: {one.reason}")
        lines += [f"  {file}" for file in (one.png, one.geojson) if file is not None]
    lines.append(f"{len(report.slides)} slides drawn, {len(report.failures)} failed")
    return lines
