"""``mirror-data expression``."""

from __future__ import annotations

import click

from mirror_data.cli.app import json_option, opaque_option, overwrite_option, store_option, tell


@click.command("expression")
@click.argument("tables", nargs=-1, required=True)
@store_option
@click.option(
    "--unit",
    default="auto",
    show_default=True,
    help="What the table holds: tpm, fpkm, rsem, counts, zscore, log2tpm+1, log2tpm+0.001 (Xena), ...; auto guesses.",
)
@click.option(
    "--log2-offset",
    type=float,
    help="Store log2(x + this). Default: 1 for linear tables; logarithms stay as the table has them.",
)
@click.option(
    "--orientation",
    type=click.Choice(["auto", "genes-rows", "samples-rows"]),
    default="auto",
    show_default=True,
    help="Auto decides by the ids.",
)
@click.option("--id-column", help="Column of the row ids (default: found by name, else the first).")
@click.option("--gene-suffix", default="", help="Only columns that end so are genes, as _rnaseq.")
@click.option(
    "--sample-types",
    default="01,02,03,04,05,06,07,08,09",
    show_default=True,
    help="TCGA sample types to take, best first; one sample a patient is kept.",
)
@click.option(
    "--patients",
    default="auto",
    show_default=True,
    help="auto (those with slides or outcomes in the store, everybody if it is empty), all, or a file of ids.",
)
@click.option("--probemap", help="TSV with columns id and gene: symbols of transcripts or probes.")
@click.option(
    "--missing",
    type=click.Choice(["refuse", "drop-genes"]),
    default="refuse",
    show_default=True,
    help="What to do when cells are missing.",
)
@click.option(
    "--repeats",
    type=click.Choice(["refuse", "first"]),
    default="refuse",
    show_default=True,
    help="What to do when a sample id stands there twice.",
)
@opaque_option
@overwrite_option
@json_option
def command(
    tables: tuple[str, ...],
    store_url: str,
    unit: str,
    log2_offset: float | None,
    orientation,
    id_column: str | None,
    gene_suffix: str,
    sample_types: str,
    patients: str,
    probemap: str | None,
    missing,
    repeats,
    opaque_ids: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Bring expression TABLES (CSV, TSV, .gz, .zip or Parquet) into the store, one sample a patient.

    Several tables (one a study) are joined on the genes they share.
    """
    from mirror_data.cohort.members import explained
    from mirror_data.opaque import read_naming
    from mirror_data.rna.add import add_expression
    from mirror_data.rna.tables import ExpressionOptions
    from mirror_data.store import begin_store

    types = tuple(kind.strip() for kind in sample_types.split(",") if kind.strip())
    options = ExpressionOptions(
        unit, log2_offset, orientation, id_column, gene_suffix, types, missing, repeats, probemap
    )
    store = begin_store(store_url, read_naming(opaque_ids))
    found = add_expression(store, tables, options, patients=patients, overwrite=overwrite)
    expression = found.expression
    n, g = expression.values.shape
    lines = [
        f"{n} patients x {g} genes, {expression.unit}",
        f"table: {found.table_samples} samples, {found.table_genes} genes, {found.orientation}, "
        f"unit {found.table_unit} ({found.unit_source})",
        *(f"left out: {count} samples, {explained(reason)}" for reason, count in found.dropped_samples),
        *([f"left out: {found.dropped_genes} genes, incomplete or not in every table"] if found.dropped_genes else []),
        *(f"kept: {count} samples of type {kind or '(id does not say)'}" for kind, count in found.sample_types),
        f"{found.genes_with_symbol} of {g} genes have a symbol",
    ]
    result = {
        "patients": n,
        "genes": g,
        "unit": expression.unit,
        "unit_source": found.unit_source,
        "transform": dict(expression.transform),
        "dropped_samples": dict(found.dropped_samples),
        "dropped_genes": found.dropped_genes,
        "sample_types": dict(found.sample_types),
        "genes_with_symbol": found.genes_with_symbol,
    }
    tell(result, as_json, lines)
