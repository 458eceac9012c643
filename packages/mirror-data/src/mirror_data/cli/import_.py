"""``mirror-data import``: bags of features made by other software."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from mirror_data.cli.app import exit_with, json_option, note, opaque_option, overwrite_option, store_option, tell

if TYPE_CHECKING:
    from mirror_data.exchange.bags import ForeignBag, ImportOptions, Source

_tiling = click.option("--tiling", required=True, help="Name of the tiling in the store, as 20x_256.")
_encoder = click.option("--encoder", required=True, help="Name of the encoder in the store, as uni_v1.")
_slides_table = click.option("--slides-table", help="Table slide_id, patient_id (TCGA barcodes need none).")


def _common(function: Callable) -> Callable:
    for option in (json_option, overwrite_option, opaque_option, _slides_table, store_option):
        function = option(function)
    return function


@click.group("import")
def command() -> None:
    """Bring bags of features made by other software into the store."""


@command.command("bags")
@click.argument("path")
@_tiling
@_encoder
@click.option("--tile-px", type=int, help="Width of a region as the encoder saw it, in pixels.")
@click.option("--mpp", type=float, help="Micrometres per pixel of it.")
@_common
def bags(path, tiling, encoder, tile_px, mpp, store_url, slides_table, opaque_ids, overwrite, as_json) -> None:
    """One .npz of a cohort: feats, offsets, slide_ids; no coordinates."""
    from mirror_data.exchange import region_bags
    from mirror_data.exchange.bags import ImportOptions

    options = ImportOptions(tiling, encoder, tile_px, mpp, overwrite)
    _run(store_url, region_bags.find(path), region_bags.read, options, slides_table, opaque_ids, as_json)


@command.command("clam")
@click.argument("path")
@_tiling
@click.option("--encoder", help="Name of the encoder in the store; not needed for coordinates alone.")
@click.option("--patches", help="Folder of coordinate files, for .pt files and for the size of the tiles.")
@click.option("--mpp", type=float, help="Micrometres per pixel of a tile, which CLAM does not record.")
@_common
def clam(path, tiling, encoder, patches, mpp, store_url, slides_table, opaque_ids, overwrite, as_json) -> None:
    """CLAM: a features folder (h5_files or pt_files), or files of coordinates."""
    from mirror_data.exchange import clam
    from mirror_data.exchange.bags import ImportOptions

    options = ImportOptions(tiling, encoder, None, mpp, overwrite)
    _run(store_url, clam.find(path, patches), clam.read, options, slides_table, opaque_ids, as_json)


@command.command("trident")
@click.argument("path")
@_tiling
@click.option("--encoder", help="Name of the encoder in the store; not needed for coordinates alone.")
@_common
def trident(path, tiling, encoder, store_url, slides_table, opaque_ids, overwrite, as_json) -> None:
    """TRIDENT: a folder features_{encoder}."""
    from mirror_data.exchange import trident
    from mirror_data.exchange.bags import ImportOptions

    options = ImportOptions(tiling, encoder, overwrite=overwrite)
    _run(store_url, trident.find(path), trident.read, options, slides_table, opaque_ids, as_json)


@command.command("stamp")
@click.argument("path")
@_tiling
@_encoder
@click.option("--slide-mpp", type=float, help="Micrometres per pixel of the slides, to place tiles on them.")
@_common
def stamp(path, tiling, encoder, slide_mpp, store_url, slides_table, opaque_ids, overwrite, as_json) -> None:
    """STAMP: an extractor's folder."""
    from mirror_data.exchange import stamp
    from mirror_data.exchange.bags import ImportOptions

    options = ImportOptions(tiling, encoder, overwrite=overwrite)
    _run(store_url, stamp.find(path), stamp.reader(slide_mpp), options, slides_table, opaque_ids, as_json)


def _run(
    store_url: str,
    sources: Sequence[Source],
    read: Callable[[Source], ForeignBag],
    options: ImportOptions,
    slides_table: str | None,
    opaque_ids: str | None,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from mirror_data.exchange.bags import import_bags
    from mirror_data.opaque import read_naming
    from mirror_data.store import begin_store

    store = begin_store(store_url, read_naming(opaque_ids))
    results = import_bags(store, sources, read, options, slides_table=slides_table)
    done = [result.outcome for result in results if result.outcome]
    failed = [result.failure for result in results if result.failure]
    rows = sorted(one.rows for one in done)
    lines = [
        f"{len(done)} slides imported, {len(failed)} failed; {sum(rows)} tiles"
        + (f", {rows[0]} to {rows[-1]} a slide" if rows else ""),
        f"tiling {options.tiling}, encoder {options.encoder or '(coordinates alone)'}, "
        f"width {', '.join(sorted({str(one.width) for one in done if one.width})) or '-'}; "
        f"{sum(one.has_coords for one in done)} with coordinates",
    ]
    result = {"imported": len(done), "tiles": sum(rows), "failures": [asdict(failure) for failure in failed]}
    tell(result, as_json, lines)
    for failure in failed[:20]:
        note(f"{failure.id}: {failure.code}: {failure.reason}\n  do: {failure.next_step}")
    if len(failed) > 20:
        note(f"... and {len(failed) - 20} more, all in .mirror/failures.jsonl of the store")
    if failed:
        exit_with(max(result.exit for result in results) if not done else 3)
