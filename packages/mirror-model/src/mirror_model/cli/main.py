"""The command ``mirror-model``."""

from __future__ import annotations

import importlib
import sys

import click
from mirror_data.cli.app import run

COMMANDS = ("train", "embed", "attribute")


class Commands(click.Group):
    """Subcommands found by name in ``cli/{name}.py``, imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"mirror_model.cli.{cmd_name}").command


@click.group(cls=Commands)
@click.version_option(package_name="mirror-model", prog_name="mirror-model")
def cli() -> None:
    """Train encoders of slides and expression, and embed patients with them."""


def main() -> None:
    sys.exit(run(cli))
