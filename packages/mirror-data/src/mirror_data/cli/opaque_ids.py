"""``mirror-data opaque-ids``."""

from __future__ import annotations

import click


@click.command("opaque-ids")
@click.argument("keyfile")
@click.argument("ids", nargs=-1)
def command(keyfile: str, ids: tuple[str, ...]) -> None:
    """What IDS are called under a key, as CSV: the way back from opaque ids, for those who have key and list.

    IDS are slide and patient ids as a store without --opaque-ids has them; without any, one a line is read from
    standard input.
    """
    import csv
    import sys

    from mirror_data.opaque import read_naming
    from mirror_data.spreadsheet import unformula

    naming = read_naming(keyfile)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["id", "opaque_id"])
    lines = ids or sys.stdin
    table.writerows([unformula(word), naming(word)] for line in lines if (word := line.strip()))
