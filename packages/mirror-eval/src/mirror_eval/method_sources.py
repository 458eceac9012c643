"""Methods to compare, from runs of a cohort store or from anybody's tables of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
from mirror_data.errors import BadInput, some
from mirror_data.store import MODALITIES, Store, schema
from mirror_data.tables import open_table

from mirror_eval.compared import METRICS, TASKS, Method, Task, rest_of
from mirror_eval.prediction_tables import RiskColumns, fold_order, read_classes, read_risks
from mirror_eval.results import ROWS, Protocol, SubtypeResult, SurvivalResult, Watch
from mirror_eval.run_data import committed_folds
from mirror_eval.subtype import evaluate_subtype
from mirror_eval.survival import evaluate_survival

How = Literal["auto", "linear", "stored"]
HOWS: tuple[How, ...] = ("auto", "linear", "stored")
_SUFFIXES = (".gz", ".zip", ".csv", ".tsv", ".txt", ".parquet")
_OUTCOMES = {"fold", "patient_id", "risk", "time", "event", "label", "draw"}  # what a table is read as


def methods_of_runs(
    store: Store,
    runs: Sequence[str],
    task: Task,
    *,
    how: How = "auto",
    seed: int = 0,
    watch: Watch = lambda done, total: None,
) -> tuple[Method, ...]:
    """What runs predict for the test patients of their folds.

    Args:
        runs: ``NAME``, or ``NAME:slide``, ``NAME:rna``, ``NAME:both`` for one row of a run's table, ``NAME:stored`` for
            its own predictions. A name alone is both modalities where the run has both.
        how: "linear", a linear model on frozen embeddings; "stored", predictions that the run wrote itself; "auto", the
            former for runs with embeddings and the latter for the others.
        seed: deals the inner parts of the linear protocol.
        watch: hears how many runs are done, and of how many.

    Raises:
        StoreError: ``MISSING`` run, embeddings, predictions or patients.
        BadInput: ``BAD_OPTION`` for a row the run has not, or as `evaluate_subtype` and `evaluate_survival`.
    """
    if len(set(runs)) < len(runs):
        raise BadInput("BAD_OPTION", "a run is given twice", got=some(runs))
    evaluate = evaluate_subtype if task == "subtype" else evaluate_survival
    known: dict[tuple[str, Protocol], SubtypeResult | SurvivalResult] = {}
    methods = []
    for done, given in enumerate(runs, 1):
        name, colon, row = given.rpartition(":")
        run, row = (name, row) if colon and row in (*ROWS, "stored") else (given, "")
        protocol = _protocol(store, run, row, how)
        if (run, protocol) not in known:
            known[run, protocol] = evaluate(store, run, protocol=protocol, seed=seed, resamples=0)
        methods.append(method_of(known[run, protocol], given, row))
        watch(done, len(runs))
    return tuple(methods)


def _protocol(store: Store, run: str, row: str, how: How) -> Protocol:
    if how not in HOWS:
        raise BadInput("BAD_OPTION", "unknown protocol", key="--protocol", expected=some(HOWS), got=how)
    if row == "stored" or (how == "stored" and not row):
        return "stored"
    if row or how == "linear":
        return "linear"
    numbers, _ = committed_folds(store, run)
    embedded = any(all(store.has(schema.embeddings(run, number, m)) for number in numbers) for m in MODALITIES)
    return "linear" if embedded else "stored"


def method_of(result: SubtypeResult | SurvivalResult, name: str, row: str = "") -> Method:
    """One row of an evaluated run as a method; both modalities where it has both and no row is named.

    Raises:
        BadInput: ``BAD_OPTION`` if the run has no such row.
    """
    rows = list(dict.fromkeys(result.predictions["modality"]))
    row = row or next(row for row in ("both", *rows) if row in rows)
    if row not in rows:
        raise BadInput("BAD_OPTION", "the run has no such row", key=name, expected=some(rows), got=row)
    table = result.predictions[result.predictions["modality"] == row].rename(columns={"time_days": "time"})
    table = table.assign(fold=table["fold"].astype(str))
    sizes = {str(count.fold): count.fitted for count in result.counts.folds if count.modality == row}
    fitted = {fold: float(size) if (size := sizes.get(fold)) else rest for fold, rest in rest_of(table).items()}
    classes = result.classes if isinstance(result, SubtypeResult) else ()
    source = "its own predictions" if result.protocol == "stored" else f"linear model on frozen embeddings, {row}"
    return Method(name, _sorted(table), fitted, classes, source=source)


def methods_of_tables(
    paths: Sequence[str | Path],
    task: Task | None = None,
    *,
    method_column: str | None = None,
    by: Sequence[str] = (),
    columns: RiskColumns | None = None,
    fitted: int | None = None,
) -> tuple[Method, ...]:
    """Methods of tables of predictions: a file each, named by it, or one file with a column that names them.

    Args:
        task: None finds out: a table with columns prob_<class> is subtyping.
        method_column: names the methods within one file.
        by: columns within whose values methods are compared by themselves (a cohort, a modality).
        columns: names of the other columns of a table of risks; its ``by`` is not used.
        fitted: patients trained on a fold; None takes the patients of the other folds.

    Raises:
        BadInput: ``BAD_OPTION``, or as `read_risks` and `read_classes`; ``DUPLICATE`` for few-shot predictions or
            several modalities in one method.
    """
    groups = [*([method_column] if method_column else []), *by]
    if method_column and len(paths) > 1:
        raise BadInput("BAD_OPTION", "a column names the methods of one table", key="--method-column")
    if wrong := [name for name in groups if name in _OUTCOMES or groups.count(name) > 1]:
        raise BadInput("BAD_OPTION", "a column cannot have two uses", key="--method-column, --by", got=some(wrong))
    names = [_stem(path) for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    methods = []
    for path, name in zip(paths, names, strict=True):
        table, classes = _read(path, task or task_of(path), groups, columns or RiskColumns())
        for key, rows in table.groupby(groups, sort=True) if groups else [((), table)]:
            values = [str(value) for value in key]
            method = values.pop(0) if method_column else name
            sizes = rest_of(rows) if fitted is None else dict.fromkeys(rows["fold"], float(fitted))
            where = " ".join(values)
            methods.append(Method(method, _sorted(rows), sizes, classes, where, source=Path(path).name))
    return tuple(methods)


def task_of(path: str | Path) -> Task:
    """Subtyping if the table has class probabilities, else survival."""
    return "subtype" if any(name.startswith("prob_") for name in open_table(path).names) else "survival"


def metric_for(task: Task | None, metric: str | None) -> tuple[str, Task]:
    """The metric asked for, or that of the task (Harrell's C, AUROC), with its task.

    Raises:
        BadInput: ``BAD_OPTION`` if neither is given, or the metric is not one of the task.
    """
    if task is None and metric is None:
        raise BadInput("BAD_OPTION", "say what to compare runs by", key="--task or --metric", expected=some(TASKS))
    mine = [name for name, one in METRICS.items() if task in (None, one.task)]
    if metric is not None and metric not in mine:
        message = f"no metric of {task}" if task else "unknown metric"
        raise BadInput("BAD_OPTION", message, key="--metric", expected=some(mine, 9), got=metric)
    found = metric or mine[0]
    return found, METRICS[found].task


def _read(
    path: str | Path, task: Task, groups: list[str], columns: RiskColumns
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if task == "survival":
        return read_risks(path, replace(columns, by=tuple(groups))), ()
    found = read_classes(path, groups)
    once = ["fold", "patient_id", *groups]
    if repeated := int(found.table.duplicated(once).sum()):
        message = "a method has several predictions for a patient of a fold"
        hint = "name the column that tells them apart with --by or --method-column; few-shot sets are not compared"
        raise BadInput("DUPLICATE", message, file=path, got=f"{repeated} rows", hint=hint)
    return found.table, found.classes


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    order = sorted(table["fold"].unique(), key=fold_order)
    places = table["fold"].map({fold: k for k, fold in enumerate(order)})
    return table.assign(place=places).sort_values(["place", "patient_id"], ignore_index=True).drop(columns="place")


def _stem(path: str | Path) -> str:
    name = Path(path).name
    while name.lower().endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return name or Path(path).name
