"""``mirror-data split``."""

from __future__ import annotations

import click

from mirror_data.cli.app import json_option, opaque_option, overwrite_option, store_option, tell


@click.command("split")
@store_option
@click.option("--name", default="folds", show_default=True, help="Name of the split in the store.")
@click.option(
    "--from", "source", multiple=True, metavar="PATH", help="Import published folds: a folder, or one CSV a fold."
)
@click.option("--folds", default=5, show_default=True, help="Outer folds.")
@click.option(
    "--validation", default=0.15, show_default=True, help="Share of each training part held out for choosing."
)
@click.option(
    "--stratify",
    default="auto",
    show_default=True,
    help="subtype, event (event x time), subtype+event, none, a column.",
)
@click.option(
    "--group", type=click.Choice(["none", "site"]), default="none", show_default=True, help="Keep sites whole."
)
@click.option("--seed", default=0, show_default=True)
@opaque_option
@overwrite_option
@json_option
def command(
    store_url: str,
    name: str,
    source: tuple[str, ...],
    folds: int,
    validation: float,
    stratify: str,
    group: str,
    seed: int,
    opaque_ids: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw outer folds over the store's patients, or import published ones.

    Of published folds with the columns train and val, val becomes the test part, and a validation part is drawn from
    train. A patient on both sides is an error.
    """
    from mirror_data.cohort.splits import SplitOptions, add_split
    from mirror_data.opaque import read_naming
    from mirror_data.store import open_store

    options = SplitOptions(name, folds, validation, stratify, group, seed)
    store = open_store(store_url, read_naming(opaque_ids) if source or opaque_ids else None)  # drawn folds bring no ids
    split = add_split(store, options, source=source, overwrite=overwrite)
    sizes = [{"train": len(f.train), "validation": len(f.validation), "test": len(f.test)} for f in split.folds]
    tested = len({patient for fold in split.folds for patient in fold.test})
    lines = [f"{len(sizes)} folds, {', '.join(f'{key}: {value}' for key, value in split.drawn.items())}"]
    lines += [
        f"fold {k}: train {s['train']}, validation {s['validation']}, test {s['test']}" for k, s in enumerate(sizes)
    ]
    lines.append(f"{tested} patients are tested")
    tell({"name": name, "drawn": dict(split.drawn), "folds": sizes, "tested": tested}, as_json, lines)
