"""Options that the evaluating commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click
from mirror_data.errors import BadInput

if TYPE_CHECKING:
    from mirror_data.store import Store

ONLY_RUN = ("protocol", "shots", "draws", "cohort", "control", "head", "out")

store = click.option("--store", "store_url", metavar="COHORT.zarr", help="The cohort store: a folder or an fsspec URL.")
run_name = click.option("--run", "run_name", metavar="NAME", help="A run of the store.")
predictions = click.option(
    "--predictions", metavar="FILE.csv", help="Score a table of predictions instead of a run (CSV, TSV, .gz, Parquet)."
)
out = click.option("--out", metavar="OUT.csv", help="Write the predictions for the test patients to this file.")

opaque_ids = click.option(
    "--opaque-ids", metavar="KEYFILE", help="The key that made the store's ids opaque, to find files for --slides."
)


def protocol(command: Callable) -> Callable:
    """How a run is evaluated."""
    for option in reversed(
        (
            click.option(
                "--protocol",
                type=click.Choice(["linear", "few-shot", "stored"]),
                default="linear",
                show_default=True,
                help="A linear model on the embeddings, the same on few patients, or the run's own predictions.",
            ),
            click.option("--shots", default=10, show_default=True, help="Few-shot: patients a class or time bin."),
            click.option("--draws", default=20, show_default=True, help="Few-shot: support sets, at least 20."),
            click.option(
                "--cohort",
                type=click.Choice(["paired", "all"]),
                default="paired",
                show_default=True,
                help="Score the same patients in every row, or in each row all who have what it needs.",
            ),
            click.option(
                "--control",
                type=click.Choice(["none", "shuffled", "random"]),
                default="none",
                show_default=True,
                help="Null control: outcomes dealt to other patients, or features of noise.",
            ),
        )
    ):
        command = option(command)
    return command


def chance(command: Callable) -> Callable:
    """What is drawn at random."""
    seed = click.option("--seed", default=0, show_default=True, help="Of inner parts, support sets and bootstrap.")
    resamples = click.option(
        "--resamples",
        type=click.IntRange(min=0),
        default=1000,
        show_default=True,
        help="Bootstrap samples behind each interval.",
    )
    return seed(resamples(command))


def risk_columns(command: Callable) -> Callable:
    """The columns of a table of risks."""
    for option in reversed(
        (
            click.option("--fold-column", metavar="COLUMN", help="[default: fold; without it all is one fold]"),
            click.option("--id-column", metavar="COLUMN", help="[default: patient_id, case_id, id]"),
            click.option("--risk-column", metavar="COLUMN", help="Higher = worse. [default: risk]"),
            click.option(
                "--time-column", metavar="COLUMN", help="In any unit. [default: time_days, time, t, survival_months]"
            ),
            click.option("--event-column", metavar="COLUMN", help="1 = death or progression. [default: event, status]"),
            click.option("--censorship-column", metavar="COLUMN", help="The opposite of an event: 1 = NO event."),
        )
    ):
        command = option(command)
    return command


def given(*names: str) -> list[str]:
    """Which of these parameters stand on the command line, as options."""
    context = click.get_current_context()
    said = click.core.ParameterSource.COMMANDLINE
    return [f"--{name.replace('_', '-')}" for name in names if context.get_parameter_source(name) is said]


def one_source(store_url: str | None, run_name: str | None, predictions: str | None, only_table: Sequence[str]) -> None:
    """Refuse anything but a store with a run, or a file; and options that do not go with it.

    Args:
        only_table: parameters of the command that make sense for a table alone.
    """
    if (predictions is None) == (store_url is None and run_name is None) or (store_url is None) != (run_name is None):
        expected = "--store COHORT.zarr --run NAME, or --predictions FILE.csv"
        raise BadInput("BAD_OPTION", "say what to evaluate", expected=expected)
    if idle := given(*(only_table if predictions is None else ONLY_RUN)):
        what = "a run of a store" if predictions is None else "a table of predictions"
        raise BadInput("BAD_OPTION", f"an option does not go with {what}", key=idle[0])


def open_with_slides(store_url: str, slides: str | None, opaque_ids: str | None) -> Store:
    """The store, and how it names the files of ``--slides``.

    Raises:
        StoreError: as `open_store`; ``MISMATCH`` if the ids of its slides were not made with this key.
        BadInput: as `read_naming`.
    """
    from mirror_data.opaque import read_naming
    from mirror_data.store import open_store

    return open_store(store_url, read_naming(opaque_ids) if slides or opaque_ids else None)


@contextmanager
def shown(title: str, unit: str = "folds of rows") -> Iterator[Callable[[int, int], None]]:
    """Progress for work that says itself how much there is of it."""
    from mirror_data.progress import progress

    with ExitStack() as stack:
        bars: list = []

        def watch(_done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress(title, total, unit)))
            bars[0].advance()

        yield watch
