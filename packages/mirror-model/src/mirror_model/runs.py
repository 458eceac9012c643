"""Train one fold of a run: skip it if it is done, resume it if it was begun, commit it when it is finished."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch
from mirror_data.errors import StoreError
from mirror_data.progress import progress
from mirror_data.store import Run, Store, open_store, read_run, schema, write_run

from mirror_model.checkpoint import CheckpointFolder
from mirror_model.cohort import FeatureSet
from mirror_model.device import choose_device, choose_precision
from mirror_model.fold_data import FoldData, parents_of, prepare, read_fold
from mirror_model.identity import Identity
from mirror_model.jobs import TrainJob, TrainOutcome, run_folder
from mirror_model.methods import method_of
from mirror_model.train import Training, fit, read_log, stop_signals

_NOT_RESULTS = ("seconds", "patients_per_second")  # of the log: differ from machine to machine


def train_fold(job: TrainJob) -> TrainOutcome:
    """Train one fold and commit its `Run`; resumes what was begun, skips what is done.

    Raises:
        StoreError: ``MISMATCH`` if the run is there with other settings or data; ``MISSING``.
        Busy: another process trains this fold.
        Interrupted: stopped by a signal, saved.
    """
    store = open_store(job.store_url)
    folder = CheckpointFolder(run_folder(job.store_url, job.run, job.fold, job.checkpoints))
    data = read_fold(store, job)
    identity = make_identity(store, job, data.features)
    with store.claim(f"train {job.run} fold {job.fold}"):
        skipped = _already(store, job, identity, folder)
        if skipped is not None:
            return skipped
        threads = torch.get_num_threads()
        torch.set_num_threads(identity.config.runtime.threads)
        try:
            return _train(store, job, identity, folder, data)
        finally:
            torch.set_num_threads(threads)


def make_identity(store: Store, job: TrainJob, features: FeatureSet) -> Identity:
    """What decides this training, with device and precision spelled out."""
    device = choose_device(job.config.runtime.device)
    runtime = job.config.runtime.model_copy(update={"device": device.type})
    precision = choose_precision(job.config.precision, device, job.config.width)
    config = job.config.model_copy(update={"runtime": runtime, "precision": precision})
    return Identity(
        method=job.method,
        split=job.split,
        fold=job.fold,
        tiling=features.tiling,
        encoder=features.encoder,
        genes=job.genes,
        task=job.task,
        config=config,
        parents=parents_of(store, job, features),
    )


def _already(store: Store, job: TrainJob, identity: Identity, folder: CheckpointFolder) -> TrainOutcome | None:
    """The outcome of a fold that is trained; clears the way for one that is to be trained anew.

    Raises:
        StoreError: ``MISMATCH``.
    """
    hint = "choose another --run, or replace it with --overwrite"
    path = schema.run(job.run, job.fold)
    begun = folder.document("last")
    if store.has(path):
        if job.overwrite:
            store.delete(path)
            folder.clear()
            return None
        run = read_run(store, job.run, job.fold)
        committed = Identity.of_run(run, store.document(path).parents)
        identity.require_equal(committed, f"{store.url}: {path}", hint)
        return _outcome(job, "skipped", dict(run.metrics), None, folder)
    if begun is not None:
        try:
            identity.require_equal(begun.identity, folder.path, hint)
        except StoreError:
            if not job.overwrite:
                raise
            folder.clear()
    return None


def _train(store: Store, job: TrainJob, identity: Identity, folder: CheckpointFolder, data: FoldData) -> TrainOutcome:
    training = prepare(store, identity, folder, data)
    saved = folder.load("last")
    with stop_signals() as stop, progress(f"{job.run} fold {job.fold}", identity.config.epochs, "epochs") as shown:
        document = fit(training, saved, stop, shown)
    log = read_log(folder.path)
    seconds = [line["seconds"] for line in log if "seconds" in line]
    kept = next(line for line in log if line["epoch"] == document.position.epoch)
    metrics = {name: value for name, value in kept.items() if name not in _NOT_RESULTS} | _counts(training, log)
    versions = {name: version(name) for name in ("mirror-model", "torch")} | {"python": platform.python_version()}
    sha256 = document.weights.sha256
    run = Run(job.run, job.fold, job.method, job.split, identity.run_config(), sha256, metrics, versions)
    write_run(store, run, parents=identity.parents, overwrite=job.overwrite)
    folder.drop("last")
    per_epoch = sum(seconds) / len(seconds) if seconds else None
    return _outcome(job, "trained" if saved is None else "resumed", metrics, per_epoch, folder)


def _counts(training: Training, log: list[dict[str, float]]) -> dict[str, float]:
    """Who was trained on, and for how long."""
    train = training.train
    counts = {"patients": len(train), "pairs": train.paired, "missing": train.missing}
    return {**counts, "unlabelled": training.unlabelled, "epochs_trained": log[-1]["epoch"]}


def _outcome(
    job: TrainJob, status: str, metrics: dict[str, float], seconds_per_epoch: float | None, folder: CheckpointFolder
) -> TrainOutcome:
    patients, pairs, missing = (int(metrics[name]) for name in ("patients", "pairs", "missing"))
    return TrainOutcome(
        job.fold,
        status,
        int(metrics.get("epochs_trained", job.config.epochs)),  # runs of version 0.1.0 do not say
        patients,
        pairs,
        missing,
        seconds_per_epoch,
        metrics,
        str(folder.path),
        method_of(job.method).needs,
        int(metrics.get("unlabelled", 0)),
    )
