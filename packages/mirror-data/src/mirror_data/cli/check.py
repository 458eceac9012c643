"""``mirror-data check``."""

from __future__ import annotations

import click

from mirror_data.cli.app import exit_with, json_option, store_option, tell
from mirror_data.errors import Exit


@click.command("check")
@store_option
@json_option
def command(store_url: str, as_json: bool) -> None:
    """Verify every byte of a store, and that everything derived is up to date.

    Exit status 3 if anything is found.
    """
    from dataclasses import asdict

    from mirror_data.store import check, open_store

    result = check(open_store(store_url))
    lines = [f"{finding.code}  {finding.key}: {finding.message}" for finding in result.findings]
    lines.append(f"{result.records} records, {result.keys} keys verified, {len(result.findings)} findings")
    tell(asdict(result), as_json, lines)
    if result.findings:
        exit_with(Exit.SOME_FAILED)
