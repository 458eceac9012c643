"""The command ``mirror-data``."""

from __future__ import annotations

import importlib
import sys

import click

from mirror_data.cli.app import run

COMMANDS = (
    "tile",
    "expression",
    "outcomes",
    "split",
    "genes",
    "import",
    "contact-sheet",
    "geojson",
    "check",
    "info",
    "opaque-ids",
    "demo",
)


class Commands(click.Group):
    """Subcommands found by name in ``cli/{name}.py`` (a dash is an underscore there), imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")
        return importlib.import_module(f"mirror_data.cli.{module}").command


@click.group(cls=Commands)
@click.version_option(package_name="mirror-data", prog_name="mirror-data")
def cli() -> None:
    """Whole-slide images and expression tables to one cohort store."""


def main() -> None:
    sys.exit(run(cli))
