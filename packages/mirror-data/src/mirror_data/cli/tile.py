"""``mirror-data tile``."""

from __future__ import annotations

from collections.abc import Mapping

import click

from mirror_data.cli.app import exit_with, json_option, note, opaque_option, overwrite_option, store_option, tell
from mirror_data.errors import Exit


@click.command("tile")
@click.argument("slides", nargs=-1, required=True, metavar="SLIDES...")
@store_option
@click.option(
    "--encoder",
    default="efficientnet-lite0",
    show_default=True,
    metavar="NAME",
    help="timm:MODEL[@LAYER], hf:OWNER/NAME@REVISION, or the one that is built in.",
)
@click.option(
    "--weights", metavar="FILE", help="Local weights for the encoder: .safetensors, or .pt without code in it."
)
@click.option("--tile-px", default=256, show_default=True, help="Width of a tile in pixels.")
@click.option("--mpp", default=0.5, show_default=True, help="Micrometres per pixel of a tile.")
@click.option(
    "--mpp-override", type=float, metavar="F", help="Micrometres per level-0 pixel of slides that do not say."
)
@click.option("--min-tissue", default=0.25, show_default=True, help="Least share of tissue in a tile.")
@click.option("--overlap", default=0, show_default=True, help="Pixels that neighbouring tiles share.")
@click.option(
    "--border",
    type=click.Choice(["inside", "pad"]),
    default="inside",
    show_default=True,
    help="Tiles wholly on the slide; or also those that reach over its edge, filled up with white.",
)
@click.option(
    "--holes",
    type=click.Choice(["small", "fill", "keep"]),
    default="small",
    show_default=True,
    help="Holes in the tissue that count as tissue: small ones (below 0.016 mm2), all, or none.",
)
@click.option("--regions", metavar="PATH", help="QuPath GeoJSON: a folder with SLIDE.geojson a slide, or one file.")
@click.option("--region-class", "classes", multiple=True, metavar="NAME", help="Only regions of this class (repeat).")
@click.option("--qc", is_flag=True, help="Leave out tiles that are empty, out of focus or drawn over.")
@click.option(
    "--stain",
    type=click.Choice(["none", "macenko", "reinhard"]),
    default="none",
    show_default=True,
    help="Stain normalisation, fitted to each slide, before encoding.",
)
@click.option("--workers", default=1, show_default=True, help="Slides worked on at once, each in its own process.")
@click.option("--batch-size", default=32, show_default=True, help="Tiles the encoder sees at once.")
@click.option(
    "--precision", default="bf16", show_default=True, metavar="bf16|fp32", help="What the encoder computes in."
)
@click.option("--slides-table", metavar="CSV", help="Columns slide (file name or id), and if wanted patient_id, mpp.")
@opaque_option
@overwrite_option
@json_option
def command(
    slides: tuple[str, ...],
    store_url: str,
    encoder: str,
    weights: str | None,
    tile_px: int,
    mpp: float,
    mpp_override: float | None,
    min_tissue: float,
    overlap: int,
    border,
    holes: str,
    regions: str | None,
    classes: tuple[str, ...],
    qc: bool,
    stain,
    workers: int,
    batch_size: int,
    precision: str,
    slides_table: str | None,
    opaque_ids: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Cut slides into tiles, encode the tiles, and commit the features slide by slide.

    SLIDES are files, or folders that stand for all slides below them. Run the same command again to resume. Exit
    status 3 if a slide failed: it is listed in .mirror/failures.jsonl of the store, and the others are done.
    """
    from dataclasses import asdict
    from pathlib import Path

    from mirror_data.failures import FAILURES
    from mirror_data.opaque import read_naming
    from mirror_data.slides.batch import tile_slides
    from mirror_data.slides.encoders import EncoderSpec
    from mirror_data.slides.grid import GridParameters
    from mirror_data.slides.options import RegionOptions, TileOptions
    from mirror_data.slides.quality import QualityParameters
    from mirror_data.slides.tissue import TissueParameters, hole_limit

    if classes and regions is None:
        raise click.UsageError("--region-class needs --regions")
    options = TileOptions(
        grid=GridParameters(tile_px, mpp, min_tissue, overlap, border),
        tissue=TissueParameters(most_hole_um2=hole_limit(holes)),
        regions=None if regions is None else RegionOptions(Path(regions), classes),
        quality=QualityParameters() if qc else None,
        stain=stain,
        encoder=EncoderSpec(encoder, weights, precision),
        mpp_override=mpp_override,
        batch_size=batch_size,
        overwrite=overwrite,
    )
    report = tile_slides(
        slides, store_url, options, slides_table=slides_table, workers=workers, naming=read_naming(opaque_ids)
    )
    for failure in report.failures:
        note(f"{failure.id}: {failure.code}: {failure.reason}\n  do: {failure.next_step}")
    lines = [
        f"{slide.slide_id}: {slide.tiles} tiles"
        + _left_out(slide.dropped)
        + (" (there already)" if slide.skipped else "")
        for slide in report.slides
    ]
    total = f"{report.done} slides tiled, {report.skipped} skipped, {len(report.failures)} failed"
    lines.append(f"{total}; {report.new_tiles} tiles in {report.seconds:.1f} s; {options.tiling}, {options.features}")
    if slides_table is not None:
        lines.append(f"slides table: {report.unlisted} slides not in it, {report.unused} rows for no slide given")
    if report.exit == Exit.SOME_FAILED:
        lines.append(f"what failed is listed in {store_url}/{FAILURES}")
    result = asdict(report) | {
        "store": store_url,
        "tiling": options.tiling,
        "encoder": options.features,
        "done": report.done,
        "skipped": report.skipped,
        "tiles": report.new_tiles,
    }
    tell(result, as_json, lines)
    if report.exit != Exit.OK:
        exit_with(report.exit)


def _left_out(dropped: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count)
    return f", left out: {counts}" if counts else ""
