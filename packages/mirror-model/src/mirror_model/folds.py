"""The folds of a run, several side by side: what the command ``train`` calls."""

from __future__ import annotations

import sys
from pathlib import Path

from mirror_data.errors import Exit, MirrorError
from mirror_data.ids import check_name
from mirror_data.progress import progress
from mirror_data.runner import Failure, Result, run_units, usable_cores
from mirror_data.store import open_store

from mirror_model.baselines.config import config_of
from mirror_model.cohort import choose_folds, find_features, read_folds
from mirror_model.config import TrainConfig, read_config
from mirror_model.device import choose_device
from mirror_model.jobs import TrainJob, TrainOutcome
from mirror_model.methods import check_choice
from mirror_model.processes import ALONE, Processes
from mirror_model.runs import train_fold
from mirror_model.tasks import choose_task
from mirror_model.trackers import require_tracker

_TOLD = {  # metrics of the kept epoch, in words
    "validation_loss": "validation loss",
    "recall10_slide_rna": "recall@10",
    "validation_accuracy": "accuracy",
    "validation_auroc": "AUROC",
    "validation_c_index": "C",
}
_NAMES = {"slide": "slides", "rna": "expression"}


def plan_jobs(
    store_url: str,
    run: str,
    *,
    split: str,
    method: str = "mirror",
    task: str | None = None,
    fold: str = "all",
    config: TrainConfig | None = None,
    genes: str | None = None,
    tiling: str | None = None,
    encoder: str | None = None,
    checkpoints: str | None = None,
    overwrite: bool = False,
) -> list[TrainJob]:
    """A job for each fold that ``fold`` names, after checking what can be checked at once.

    Args:
        task: "subtype" or "survival", for a supervised method.
        config: the method's settings, by default the published ones.

    Raises:
        BadInput: ``BAD_OPTION``, or ``BAD_PATH`` for a run's name that is none.
        StoreError: ``NOT_A_STORE``, ``MISSING``.
    """
    check_name(run, "--run")
    config = config or read_config(kind=config_of(method))
    chosen = choose_task(method, check_choice(method, config, genes).tasks, task)
    store = open_store(store_url)
    features = find_features(store, tiling, encoder)
    numbers = choose_folds(read_folds(store, split), fold)
    choose_device(config.runtime.device)
    require_tracker(config.runtime.track)
    names = (chosen, genes, features.tiling, features.encoder, checkpoints, overwrite)
    return [TrainJob(store_url, run, method, split, number, config, *names) for number in numbers]


def train_folds(jobs: list[TrainJob], workers: int | None = None, processes: Processes = ALONE) -> list[TrainOutcome]:
    """Train folds side by side, each in ``runtime.threads`` threads; the results do not depend on ``workers``.

    Args:
        workers: folds at the same time; by default as many as the cores allow, one on a GPU.
        processes: those that share the batches of each fold; with several, one fold is trained after the other.

    Raises:
        MirrorError: that of the first fold that failed, after the others had their turn.
    """
    config = jobs[0].config
    if workers is None:
        on_cpu = choose_device(config.runtime.device).type == "cpu"
        workers = max(1, usable_cores() // config.runtime.threads) if on_cpu else 1
    workers = min(workers, len(jobs)) if processes.count == 1 else 1
    if workers == 1:
        return [train_fold(job, processes) for job in jobs]
    with progress(jobs[0].run, len(jobs), "folds") as shown:

        def done(result: Result[TrainOutcome]) -> None:
            shown.advance(1, f"{result.id} {result.outcome.status if result.outcome else 'failed'}")

        results = run_units(_quietly, jobs, name=lambda job: f"fold {job.fold}", workers=workers, done=done)
    for result in results:
        if result.failure is not None:
            raise _error(result, result.failure)
    return [result.outcome for result in results if result.outcome is not None]


def _error(result: Result[TrainOutcome], failure: Failure) -> MirrorError:
    """What a fold failed with: its own error, which names file and key, with the fold before the key."""
    error = result.error or MirrorError(failure.code, failure.reason, hint=failure.next_step)
    error.key = ", ".join(part for part in (result.id, error.key) if part)
    error.exit = Exit(result.exit)
    return error


def _quietly(job: TrainJob) -> TrainOutcome:
    """A fold in a process of its own; on a terminal the bar of the folds is the only one."""
    if sys.stderr.isatty():
        sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115 - for the life of the process
    return train_fold(job)


def describe(outcomes: list[TrainOutcome]) -> list[str]:
    """A line for each fold."""
    lines = []
    for outcome in outcomes:
        word = f"fold {outcome.fold}: {outcome.status}, {outcome.patients} patients ({outcome.pairs} with both)"
        if outcome.seconds_per_epoch is not None:
            word += f", {outcome.epochs} epochs of {outcome.seconds_per_epoch:.2f} s"
        for name, label in _TOLD.items():
            if name in outcome.metrics:
                word += f", {label} {outcome.metrics[name]:.3f}"
        lines.append(f"{word}; checkpoint in {outcome.folder}")
        if outcome.missing:
            lack = f"lack {' or '.join(map(_NAMES.__getitem__, outcome.needs))}" if outcome.needs else ""
            lack = lack or "have neither slides nor expression"
            lines.append(f"  left out: {outcome.missing} training patients of the split {lack}")
        if outcome.unlabelled:
            lines.append(f"  left out: the outcome of {outcome.unlabelled} training patients is not known")
    return lines
