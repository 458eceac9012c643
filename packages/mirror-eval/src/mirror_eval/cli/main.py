"""The command ``mirror-eval``."""

from __future__ import annotations

import importlib
import sys

import click
from mirror_data.cli.app import run

COMMANDS = ("subtype", "cindex", "compare", "audit", "heatmap", "report")


class Commands(click.Group):
    """Subcommands found by name in ``cli/{name}.py``, imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"mirror_eval.cli.{cmd_name}").command


@click.group(cls=Commands)
@click.version_option(package_name="mirror-eval", prog_name="mirror-eval")
def cli() -> None:
    """Subtyping, survival, comparison and report of trained runs, or of anybody's predictions."""


def main() -> None:
    sys.exit(run(cli))
