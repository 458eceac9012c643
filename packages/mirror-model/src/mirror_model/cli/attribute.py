"""``mirror-model attribute``."""

from __future__ import annotations

from pathlib import Path

import click
from mirror_data.cli.app import json_option, store_option, tell
from mirror_data.versions import require_torch


@click.command("attribute")
@store_option
@click.option("--run", "run_name", required=True, metavar="NAME", help="A trained run of the store.")
@click.option("--fold", type=click.IntRange(min=0), default=0, show_default=True, help="Fold, from 0.")
@click.option("--part", default="test", show_default=True, metavar="P", help="Patients: train, validation or test.")
@click.option(
    "--gene-sets", type=click.Path(path_type=Path), metavar="FILE.gmt", help="Sum over the genes of each set."
)
@click.option("--steps", type=click.IntRange(min=1), default=32, show_default=True, help="Points of the integral.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="OUT.csv", help="The table to write.")
@click.option("--checkpoints", metavar="DIR", help="Where checkpoints lie, if not beside the store.")
@json_option
def command(
    store_url: str,
    run_name: str,
    fold: int,
    part: str,
    gene_sets: Path | None,
    steps: int,
    out: Path,
    checkpoints: str | None,
    as_json: bool,
) -> None:
    """Which genes or gene sets a network goes by: integrated gradients, averaged over patients.

    Of a supervised run for each class or the risk; of MIRROR and TANGLE for the match of expression and slides.
    """
    from mirror_data.tables import check_file
    from mirror_data.whole import check_folder

    check_folder(out)  # before the long work, and before its imports
    if gene_sets is not None:
        check_file(gene_sets)
    require_torch()
    from mirror_model.attribution import attribute_genes, described, write_table

    found = attribute_genes(store_url, run_name, fold, part=part, steps=steps, checkpoints=checkpoints)
    table = found.genes() if gene_sets is None else found.sets(gene_sets)
    write_table(table, out)
    result = {"run": run_name, "fold": fold, "part": part, "patients": len(found.patient_ids), "gap": found.gap}
    tell({**result, "rows": len(table), "out": str(out)}, as_json, described(found, table, out))
