"""``mirror-eval audit``."""

from __future__ import annotations

from typing import Any

import click
from mirror_data.cli.app import exit_with, json_option, note, tell
from mirror_data.errors import BadInput, Exit

from mirror_eval.cli import options

OF_STORE = ("split", "run_name", "checkpoints", "deep")


@click.command("audit")
@options.store
@click.option("--split", metavar="NAME", help="This split alone, and the runs trained on it. [default: all]")
@click.option("--run", "run_name", metavar="NAME", help="This run alone, and its split. [default: all]")
@click.option("--checkpoints", metavar="FOLDER", help="Where checkpoints lie. [default: beside the store]")
@click.option("--deep", is_flag=True, help="Read every tile and every checkpoint whole: also checks the tiles' scaler.")
@click.option("--folds", multiple=True, metavar="PATH", help="Published folds: a folder, or one CSV a fold.")
@click.option("--predictions", metavar="FILE.csv", help="A table of predictions; with --folds, against those folds.")
@click.option("--by", metavar="COLUMN,...", help="Of the table: each combination of these columns by itself.")
@click.option("--strict-sites", is_flag=True, help="A submitting site on both sides is a leak, not a warning.")
@click.option("--show-ids", is_flag=True, help="Name the patients in --json and --out.")
@click.option("--out", metavar="OUT.csv|OUT.json", help="Write every finding to this file.")
@json_option
def command(
    store_url: str | None,
    folds: tuple[str, ...],
    predictions: str | None,
    by: str | None,
    out: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Look for leaks: patients, slides, sites on both sides of a fold; genes, scalers, bins fitted outside training.

    Exit status 3 if a leak is found. What cannot be checked, or was never recorded, is said, and is not "ok".
    """
    _one_source(store_url, folds, predictions, by)
    from mirror_eval.cli.audit_tables import audit_json, audit_lines, check_out, write_audit
    from mirror_eval.leakage import audit_folds, audit_predictions, audit_store

    if out:
        check_out(out)
    told = {name: how[name] for name in ("strict_sites", "show_ids")}
    if store_url is not None:
        from mirror_data.store import open_store

        of_store = {name: how[name] for name in ("split", "checkpoints", "deep")}
        audit = audit_store(open_store(store_url), run=how["run_name"], **of_store, **told)
    elif predictions is not None:
        groups = tuple(name.strip() for name in by.split(",")) if by else ()
        audit = audit_predictions(predictions, by=groups, folds=folds, **told)
    else:
        audit = audit_folds(folds, **told)
    if out:
        note(f"{len(audit.findings)} findings in {write_audit(audit, out)}")
    tell(audit_json(audit), as_json, audit_lines(audit))
    if not audit.clean:
        exit_with(Exit.SOME_FAILED)


def _one_source(store_url: str | None, folds: tuple[str, ...], predictions: str | None, by: str | None) -> None:
    """Refuse anything but a store, or files; and options that do not go with it."""
    if (store_url is not None) == bool(folds or predictions is not None):
        expected = "--store COHORT.zarr, --folds PATH, or --predictions FILE.csv"
        raise BadInput("BAD_OPTION", "say what to audit", expected=expected)
    if by and predictions is None:
        raise BadInput("BAD_OPTION", "an option goes with a table of predictions alone", key="--by")
    context = click.get_current_context()
    given = [name for name in OF_STORE if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if given and store_url is None:
        key = "--run" if given[0] == "run_name" else f"--{given[0]}"
        raise BadInput("BAD_OPTION", "an option goes with a store alone", key=key)
