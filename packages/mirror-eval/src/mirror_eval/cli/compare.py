"""``mirror-eval compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from mirror_data.cli.app import json_option, note, tell
from mirror_data.errors import BadInput

from mirror_eval.cli import options

if TYPE_CHECKING:
    from mirror_eval.compared import Method, Task

METRICS = ("c_harrell", "auroc", "accuracy", "balanced_accuracy", "macro_f1", "auprc", "mcc")
_RISKS = ("fold", "risk", "time", "event", "censorship")
ONLY_TABLES = ("method_column", "by", "train_patients", *(f"{kind}_column" for kind in (*_RISKS, "id")))
ONLY_RUNS = ("protocol",)


@click.command("compare")
@click.argument("names", nargs=-1, metavar="[RUN[:ROW] | FILE.csv]...")
@options.store
@click.option(
    "--predictions",
    multiple=True,
    metavar="FILE.csv",
    help="Compare tables of predictions instead of runs: a method a file, named by it (CSV, TSV, .gz, Parquet).",
)
@click.option("--method-column", metavar="COLUMN", help="Of one table: the column that names the methods.")
@click.option("--by", metavar="COLUMN,...", help="Of tables: compare within each value of these columns (a cohort).")
@click.option("--reference", metavar="NAME", help="Compare this method with each other. [default: all pairs]")
@click.option("--task", type=click.Choice(["subtype", "survival"]), help="[default: that of the metric or table]")
@click.option("--metric", type=click.Choice(METRICS), help="[default: c_harrell for survival, auroc for subtypes]")
@click.option(
    "--test",
    type=click.Choice(["corrected-t", "wilcoxon"]),
    default="corrected-t",
    show_default=True,
    help="What Holm's correction is over. Wilcoxon needs six folds.",
)
@click.option(
    "--protocol",
    type=click.Choice(["auto", "linear", "stored"]),
    default="auto",
    show_default=True,
    help="Of runs: a linear model on the embeddings, the run's own predictions, or whichever there is.",
)
@click.option(
    "--train-patients",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of tables: patients trained on a fold. [default: those of the other folds]",
)
@options.risk_columns
@click.option("--seed", default=0, show_default=True, help="Of inner parts and bootstrap.")
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    help="Samples of the paired bootstrap.",
)
@click.option("--out", metavar="TABLE.csv", help="Write every comparison in full to this file.")
@click.option("--plot", metavar="FOREST.svg", help="Draw the differences with their intervals (.svg or .png).")
@json_option
def command(
    names: tuple[str, ...],
    store_url: str | None,
    predictions: tuple[str, ...],
    out: str | None,
    plot: str | None,
    as_json: bool,
    metric: str | None,
    task: Task | None,
    **how: Any,
) -> None:
    """Is one method better than another? Runs of a store, or tables of predictions, pair by pair.

    Differences on the patients that both methods predicted, in the same folds: paired patient bootstrap, t-test over
    folds corrected for shared training patients, both Holm-corrected, and the smallest difference that could have been
    resolved. A run is RUN, or RUN:slide, RUN:rna, RUN:both for one row, RUN:stored for its own predictions.
    """
    _check_sources(names, store_url, predictions)
    from mirror_eval.cli.comparison import comparison_json, comparison_lines
    from mirror_eval.compare import compare
    from mirror_eval.prediction_tables import check_folder, write_table

    for path in (out, plot):
        check_folder(path or ".")
    if plot:
        from mirror_eval.figures.forest import check_picture

        check_picture(plot)
    methods, metric = _methods(names, store_url, predictions, task, metric, how)
    with options.shown("compare", "pairs") as watch:
        found = compare(
            methods,
            metric,
            reference=how["reference"],
            test=how["test"],
            seed=how["seed"],
            resamples=how["resamples"],
            watch=watch,
        )
    if out:
        note(f"{len(found.differences)} comparisons in {write_table(found.table(), out)}")
    if plot:
        from mirror_eval.figures.forest import write_forest

        note(f"forest plot in {write_forest(found, plot)}")
    tell(comparison_json(found, methods), as_json, comparison_lines(found, methods))


def _check_sources(names: tuple[str, ...], store_url: str | None, predictions: tuple[str, ...]) -> None:
    """Refuse anything but a store with runs, or files; and options that do not go with it."""
    if bool(store_url) == bool(predictions):
        expected = "--store COHORT.zarr RUN RUN..., or --predictions FILE.csv..."
        raise BadInput("BAD_OPTION", "say what to compare", expected=expected)
    if store_url and len(names) < 2:
        raise BadInput("BAD_OPTION", "a comparison needs two runs", expected="RUN RUN...", got=f"{len(names)} runs")
    if idle := options.given(*(ONLY_TABLES if store_url else ONLY_RUNS)):
        what = "runs of a store" if store_url else "tables of predictions"
        raise BadInput("BAD_OPTION", f"an option does not go with {what}", key=idle[0])


def _methods(
    names: tuple[str, ...],
    store_url: str | None,
    predictions: tuple[str, ...],
    task: Task | None,
    metric: str | None,
    how: dict[str, Any],
) -> tuple[tuple[Method, ...], str]:
    """What is compared, and by what."""
    from mirror_data.store import open_store

    from mirror_eval.method_sources import methods_of_runs, methods_of_tables, metric_for, task_of
    from mirror_eval.prediction_tables import RiskColumns

    if store_url:
        metric, task = metric_for(task, metric)
        with options.shown("predict", "runs") as watch:
            runs = methods_of_runs(
                open_store(store_url), names, task, how=how["protocol"], seed=how["seed"], watch=watch
            )
        return runs, metric
    files = (*predictions, *names)
    metric, task = metric_for(task if task or metric else task_of(files[0]), metric)
    columns = {kind: how[f"{kind}_column"] for kind in _RISKS}
    tables = methods_of_tables(
        files,
        task,
        method_column=how["method_column"],
        by=[name.strip() for name in how["by"].split(",")] if how["by"] else [],
        columns=RiskColumns(patient=how["id_column"], **columns),
        fitted=how["train_patients"],
    )
    return tables, metric
