"""``mirror-data outcomes``."""

from __future__ import annotations

import click

from mirror_data.cli.app import json_option, opaque_option, overwrite_option, store_option, tell


@click.command("outcomes")
@click.argument("tables", nargs=-1, required=True)
@store_option
@click.option("--patient-column", help="Patient ids (default: found by name; TCGA barcodes join on 12 characters).")
@click.option("--time-column", help="Time to event or to the last contact (default: found by name).")
@click.option("--time-unit", type=click.Choice(["days", "months", "years"]), help="Default: told by the column's name.")
@click.option("--event-column", help="1 = death or progression, 0 = censored; also dead/alive, 1:DECEASED.")
@click.option("--censorship-column", help="The other way round: 1 = NO event.")
@click.option("--endpoint", help="Which of several outcomes a table holds: OS, DSS, DFI, PFI, PFS, DFS, RFS.")
@click.option("--subtype-column", help="Default: found by name (subtype, oncotree_code).")
@click.option("--subtypes", help="Keep only these subtypes, as IDC,ILC; others count as missing.")
@click.option("--covariates", help="COLUMN or NAME=COLUMN, separated by commas (default: age, stage, sex as found).")
@click.option(
    "--patients",
    default="auto",
    show_default=True,
    help="auto (those with slides or expression in the store, everybody if it is empty), all, or a file of ids.",
)
@opaque_option
@overwrite_option
@json_option
def command(
    tables: tuple[str, ...],
    store_url: str,
    patient_column: str | None,
    time_column: str | None,
    time_unit: str | None,
    event_column: str | None,
    censorship_column: str | None,
    endpoint: str | None,
    subtype_column: str | None,
    subtypes: str | None,
    covariates: str | None,
    patients: str,
    opaque_ids: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Bring clinical TABLES (CSV, TSV, .gz, .zip or Parquet) into the store: outcomes, subtypes, covariates."""
    from mirror_data.cohort.add import add_outcomes
    from mirror_data.cohort.columns import OutcomeOptions
    from mirror_data.cohort.outcome_report import outcome_report
    from mirror_data.opaque import read_naming
    from mirror_data.store import begin_store

    options = OutcomeOptions(
        patient_column=patient_column,
        time_column=time_column,
        time_unit=time_unit,
        event_column=event_column,
        censorship_column=censorship_column,
        endpoint=endpoint,
        subtype_column=subtype_column,
        subtypes=_words(subtypes) or (),
        covariates=_words(covariates),
    )
    store = begin_store(store_url, read_naming(opaque_ids))
    found = add_outcomes(store, tables, options, patients=patients, overwrite=overwrite)
    report = outcome_report(found)
    tell(report.as_json(), as_json, report.lines())


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())
