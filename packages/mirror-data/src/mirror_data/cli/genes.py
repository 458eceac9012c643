"""``mirror-data genes``."""

from __future__ import annotations

import click

from mirror_data.cli.app import exit_with, json_option, note, overwrite_option, store_option, tell


@click.command("genes")
@store_option
@click.option(
    "--split",
    help="Outer folds; genes are selected on each one's training patients alone. "
    "Default: the split 'folds', drawn as `mirror-data split` does if the store has none.",
)
@click.option("--name", default="rfe", show_default=True, help="Name of the selection in the store.")
@click.option("--target", default="subtype", show_default=True, help="Classes to tell apart: a column of the patients.")
@click.option(
    "--step", default=0.05, show_default=True, help="Genes dropped a round: a share of all (0.05), or a number (1)."
)
@click.option("--folds", default=5, show_default=True, help="Folds of the cross-validation inside.")
@click.option("--scoring", type=click.Choice(["accuracy", "balanced-accuracy"]), default="accuracy", show_default=True)
@click.option("--min-genes", default=1, show_default=True, help="Eliminate no further than this.")
@click.option(
    "--cancer-genes", help="CSV with a column 'Gene Symbol', or one symbol a line: genes that are always kept."
)
@click.option(
    "--stability", "resamples", default=0, show_default=True, help="Resamples that say how often a gene is kept."
)
@click.option("--table", help="Also write gene, symbol, fold, rank, kept, stability, cancer_gene to this CSV.")
@click.option("--c", "C", default=1.0, show_default=True, help="Weight of the SVM's loss.")
@click.option(
    "--intercept",
    default=1.0,
    show_default=True,
    help="Freedom of the SVM's intercept (scikit-learn's intercept_scaling): 100 where one class is rare.",
)
@click.option("--clip", default=10.0, show_default=True, help="Z-scores beyond this are set to it.")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", type=int, help="Processes (default: as the work and the cores ask for).")
@click.option("--device", default="cpu", show_default=True, help="Where large products run: cpu, or a GPU (cuda).")
@overwrite_option
@json_option
def command(
    store_url: str,
    split: str | None,
    name: str,
    target: str,
    step: float,
    folds: int,
    scoring,
    min_genes: int,
    cancer_genes: str | None,
    resamples: int,
    table: str | None,
    C: float,
    intercept: float,
    clip: float,
    seed: int,
    workers: int | None,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Select genes by recursive elimination with exact support vector machines, plus the curated cancer genes."""
    from dataclasses import asdict

    from mirror_data.cohort.splits import default_split
    from mirror_data.rna.elimination import EliminationOptions
    from mirror_data.rna.selection import SelectionOptions
    from mirror_data.rna.selection_run import select_all, write_table
    from mirror_data.store import open_store

    elimination = EliminationOptions(step, min_genes, C, scoring, intercept)
    options = SelectionOptions(name, target, elimination, folds, resamples, cancer_genes, clip, seed)
    store = open_store(store_url)
    results = select_all(
        store, split or default_split(store), options, workers=workers, overwrite=overwrite, device=device
    )
    done = [result.outcome for result in results if result.outcome]
    failed = [result.failure for result in results if result.failure]
    if table and done:
        write_table(table, store, name, [one.fold for one in done])
    lines = [
        f"fold {one.fold}: {one.eliminated_to} of {one.genes} genes by elimination ({scoring} {one.score:.3f} inside), "
        f"{one.cancer} cancer genes, {one.kept} kept; fitted on {one.patients} training patients"
        + (" (there already)" if one.reused else "")
        for one in done
    ]
    if cancer_genes and done:
        lines.append(f"{done[0].unmatched} symbols of the cancer list name no gene of the table")
    if table and done:
        lines.append(f"table: {table}")
    tell(
        {"name": name, "folds": [asdict(one) for one in done], "failures": [asdict(f) for f in failed]}, as_json, lines
    )
    if len({(failure.code, failure.reason) for failure in failed}) == 1 < len(failed) == len(results):
        note(f"every fold: {failed[0].code}: {failed[0].reason}\n  do: {failed[0].next_step}")
    else:
        for failure in failed:
            note(f"{failure.id}: {failure.code}: {failure.reason}\n  do: {failure.next_step}")
    if failed:
        exit_with(max(result.exit for result in results) if len(failed) == len(results) else 3)
