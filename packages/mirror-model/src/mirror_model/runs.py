"""Train one fold of a run: skip it if it is done, resume it if it was begun, commit it when it is finished."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

import torch
from mirror_data.errors import BadInput, StoreError
from mirror_data.progress import NO_PROGRESS, progress
from mirror_data.store import Run, Store, open_store, read_run, schema, write_run

from mirror_model.checkpoint import CheckpointDocument, CheckpointFolder
from mirror_model.cohort import FeatureSet
from mirror_model.config import RuntimeConfig
from mirror_model.device import choose_device, choose_precision
from mirror_model.fold_data import FoldData, parents_of, prepare, read_fold
from mirror_model.identity import Identity
from mirror_model.jobs import TrainJob, TrainOutcome, run_folder
from mirror_model.methods import method_of
from mirror_model.metrics_log import PACE, MetricsLog
from mirror_model.processes import ALONE, Processes
from mirror_model.trackers import tracking
from mirror_model.train import Training, fit, stop_signals


def train_fold(job: TrainJob, processes: Processes = ALONE) -> TrainOutcome:
    """Train one fold and commit its `Run`; resumes what was begun, skips what is done.

    Of several processes each trains on its share of every batch; the first of them writes.

    Raises:
        StoreError: ``MISMATCH`` if the run is there with other settings or data; ``MISSING``.
        Busy: another process trains this fold.
        Interrupted: stopped by a signal, saved.
        ProcessLost: another process of this training died, hangs, or gave up.
    """
    store = open_store(job.store_url)
    folder = CheckpointFolder(run_folder(job.store_url, job.run, job.fold, job.checkpoints))
    data = read_fold(store, job)
    identity = make_identity(store, job, data.features, processes.count)
    with ExitStack() as held:
        skipped = None
        if processes.leads:
            held.enter_context(store.claim(f"train {job.run} fold {job.fold}"))
            skipped = _already(store, job, identity, folder)
            if skipped is None:
                held.enter_context(folder.claim())
                _clear_way(store, job, identity, folder)
        if processes.any(skipped is not None):
            return skipped or _committed(store, job, folder, "skipped")
        held.enter_context(_set_up(identity.config.runtime))
        return _train(store, job, identity, folder, data, processes)


@contextmanager
def _set_up(runtime: RuntimeConfig) -> Iterator[None]:
    """Threads and determinism as asked for, while the block runs."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(runtime.threads)
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def make_identity(store: Store, job: TrainJob, features: FeatureSet, processes: int = 1) -> Identity:
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
        processes=processes,
        config=config,
        parents=parents_of(store, job, features),
    )


_ANOTHER_RUN = "choose another --run, or replace it with --overwrite"


def _already(store: Store, job: TrainJob, identity: Identity, folder: CheckpointFolder) -> TrainOutcome | None:
    """The outcome of a fold that is trained.

    Raises:
        StoreError: ``MISMATCH``.
    """
    path = schema.run(job.run, job.fold)
    if job.overwrite or not store.has(path):
        return None
    run = read_run(store, job.run, job.fold)
    committed = Identity.of_run(run, store.document(path).parents)
    identity.require_equal(committed, f"{store.url}: {path}", _ANOTHER_RUN)
    folder.drop("last")  # left there if the training was killed between its commit and its end
    return _outcome(job, "skipped", dict(run.metrics), None, folder)


def _clear_way(store: Store, job: TrainJob, identity: Identity, folder: CheckpointFolder) -> None:
    """Make room for a fold that is to be trained anew; what was begun under the same identity stays, if it is sound.

    Raises:
        StoreError: ``MISMATCH``, ``CORRUPT_CHECKPOINT``.
    """
    path = schema.run(job.run, job.fold)
    if store.has(path):
        store.delete(path)
        folder.clear()
        return
    try:
        begun = folder.resumable()
        if begun is not None:
            identity.require_equal(begun.document.identity, folder.path, _ANOTHER_RUN)
            MetricsLog(folder.path).up_to(begun.document.position.epoch, begun.document.log)
    except (BadInput, StoreError):
        if not job.overwrite:
            raise
        folder.clear()


def _committed(store: Store, job: TrainJob, folder: CheckpointFolder, status: str) -> TrainOutcome:
    """What a process that does not write has to say of a fold that the first one committed."""
    return _outcome(job, status, dict(read_run(store, job.run, job.fold).metrics), None, folder)


def _train(
    store: Store, job: TrainJob, identity: Identity, folder: CheckpointFolder, data: FoldData, processes: Processes
) -> TrainOutcome:
    training = prepare(store, identity, folder, data, processes)
    saved = folder.resumable()
    processes.wait()  # nobody may find what the first one is about to write
    title, epochs = f"{job.run} fold {job.fold}", identity.config.epochs
    if not processes.leads:
        with stop_signals() as stop:
            fit(training, saved, stop, NO_PROGRESS)
        processes.wait()
        return _committed(store, job, folder, "trained")
    track, settings = identity.config.runtime.track, identity.run_config()
    with (
        stop_signals() as stop,
        progress(title, epochs, "epochs") as shown,
        tracking(track, folder.path, f"{job.run}/fold_{job.fold}", settings) as tracker,
    ):
        document = fit(training, saved, stop, shown, tracker)
    outcome = _commit(store, job, training, document, "trained" if saved is None else "resumed")
    processes.wait()
    return outcome


def _commit(store: Store, job: TrainJob, training: Training, document: CheckpointDocument, status: str) -> TrainOutcome:
    """Write the run's record: from then on the fold is trained."""
    identity, folder = document.identity, training.folder
    _require_unchanged(store, identity)
    log = MetricsLog(folder.path).read()
    seconds = [line["seconds"] for line in log if "seconds" in line]
    kept = MetricsLog(folder.path).of_epoch(document.position.epoch)
    metrics = {name: value for name, value in kept.items() if name not in PACE} | _counts(training, log)
    versions = {name: version(name) for name in ("mirror-model", "torch")} | {"python": platform.python_version()}
    sha256 = document.weights.sha256
    run = Run(job.run, job.fold, job.method, job.split, identity.run_config(), sha256, metrics, versions)
    write_run(store, run, parents=identity.parents, overwrite=job.overwrite)
    folder.drop("last")
    return _outcome(job, status, metrics, sum(seconds) / len(seconds) if seconds else None, folder)


def _require_unchanged(store: Store, identity: Identity) -> None:
    """Refuse to commit what was trained on data that was replaced meanwhile: it may have seen both.

    Raises:
        StoreError: ``MISMATCH``, or ``MISSING`` if a record is gone.
    """
    now = store.parents(*identity.parents)
    changed = sorted(path for path, digest in identity.parents.items() if now[path] != digest)
    if changed:
        message, hint = "the data changed while it was trained on", "train again with --overwrite"
        raise StoreError("MISMATCH", message, file=store.url, key=", ".join(changed), hint=hint)


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
