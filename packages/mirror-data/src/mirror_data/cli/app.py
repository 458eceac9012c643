"""What every command of the three packages shares: errors to exit codes, ``--store``, ``--json``.

A command file holds its options and one library call; heavy imports stand inside the command, so that ``--help`` is
instant.
"""

from __future__ import annotations

import errno
import json
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mirror_data.errors import OUT_OF_MEMORY, Exit, Interrupted, MirrorError, is_out_of_memory
from mirror_data.whole import unwritable

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # what happens to any program, and is no defect of ours

store_option = click.option(
    "--store", "store_url", required=True, metavar="COHORT.zarr", help="The cohort store: a folder or an fsspec URL."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is already in the store.")
opaque_option = click.option(
    "--opaque-ids",
    metavar="KEYFILE",
    help="Replace slide and patient ids by keyed hashes; KEYFILE holds 32 random bytes or more, for your eyes alone.",
)


def run(group: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status and never shows a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = group.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        return int(result) if isinstance(result, int) else Exit.OK
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.BAD_INPUT
    except MirrorError as error:
        click.echo(str(error), err=True)
        return error.exit
    except (KeyboardInterrupt, click.Abort):
        click.echo("INTERRUPTED: stopped; what was committed is kept, run the same command again to go on", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.OK
    except OSError as error:
        if error.errno not in _DISK:
            return _defect(error)
        click.echo(str(unwritable(Path(error.filename or "output"), error, "work")), err=True)
        return Exit.BAD_INPUT
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect of ours, told without a traceback
        if not is_out_of_memory(error):
            return _defect(error)
        click.echo(str(OUT_OF_MEMORY), err=True)
        return OUT_OF_MEMORY.exit


def _interrupt(_number: int, _frame: object) -> None:
    raise Interrupted("INTERRUPTED", "stopped by SIGTERM", hint="run the same command again to go on")


def _defect(error: Exception) -> int:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mirror-crash-", suffix=".txt", delete=False) as file:
            file.write(traceback.format_exc())
        details = f"details in {file.name}"
    except OSError as full:
        details = f"details could not be kept: {full.strerror}"
    click.echo(f"INTERNAL: a defect of ours, {type(error).__name__}; {details}", err=True)
    return Exit.DEFECT


def tell(result: dict[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """Print ``lines`` for a person, or ``result`` as one JSON object."""
    if as_json:
        click.echo(json.dumps(result, indent=2, sort_keys=True, default=_plain))
    else:
        for line in lines:
            click.echo(line)


def _plain(value: Any) -> Any:
    """NumPy scalars and paths as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def note(message: str) -> None:
    """A line for the person at the terminal, on standard error, so that standard output stays data."""
    click.echo(message, err=True)


def exit_with(status: int) -> None:
    """Leave the command with a status other than success."""
    sys.stdout.flush()
    raise click.exceptions.Exit(status)
