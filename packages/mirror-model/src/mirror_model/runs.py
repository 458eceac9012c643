"""Train one fold of a run: skip it if it is done, resume it if it was begun, commit it when it is finished."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

import torch
from mirror_data.errors import BadInput, StoreError
from mirror_data.progress import progress
from mirror_data.store import Expression, Fold, Run, Store, open_store, read_run, schema, write_run

from mirror_model.batches import Bags, PatientData, tile_moments
from mirror_model.checkpoint import CheckpointDocument, CheckpointFolder, Identity
from mirror_model.cohort import FeatureSet, find_features, read_folds
from mirror_model.config import TrainConfig
from mirror_model.device import choose_device, choose_precision
from mirror_model.jobs import TrainJob, TrainOutcome, run_folder
from mirror_model.mirror import Shapes
from mirror_model.preparation import Preparation, choose_genes, fit_preparation, load_expression
from mirror_model.tasks import make_task
from mirror_model.train import Training, Use, fit, read_log, seed_torch, stop_signals

_GB = 1e9  # bytes
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
    features = find_features(store, job.tiling, job.encoder)
    fold = read_folds(store, job.split)[job.fold]
    table = load_expression(store)
    gene_ids = choose_genes(store, table, job.genes, job.fold, fold)
    identity = make_identity(store, job, features)
    with store.claim(f"train {job.run} fold {job.fold}"):
        skipped = _already(store, job, identity, folder)
        if skipped is not None:
            return skipped
        threads = torch.get_num_threads()
        torch.set_num_threads(identity.config.runtime.threads)
        try:
            return _train(store, job, identity, folder, FoldData(features, fold, table, gene_ids))
        finally:
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class FoldData:
    """What a fold is trained on, as the store has it."""

    features: FeatureSet
    fold: Fold
    table: Expression
    gene_ids: tuple[str, ...]


def make_identity(store: Store, job: TrainJob, features: FeatureSet) -> Identity:
    """What decides this training, with device and precision spelled out."""
    device = choose_device(job.config.runtime.device)
    runtime = job.config.runtime.model_copy(update={"device": device.type})
    precision = choose_precision(job.config.precision, device, job.config.model.dim)
    config = job.config.model_copy(update={"runtime": runtime, "precision": precision})
    paths = [schema.all_features(features.tiling, features.encoder), schema.RNA, schema.split(job.split)]
    if job.genes is not None:
        paths.append(schema.genes(job.genes, job.fold))
    return Identity(
        method=job.method,
        split=job.split,
        fold=job.fold,
        tiling=features.tiling,
        encoder=features.encoder,
        genes=job.genes,
        config=config,
        parents=store.parents(*paths),
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
        committed = run_identity(run, store.document(path).parents)
        identity.require_equal(committed, f"{store.url}: {path}", hint)
        metrics = dict(run.metrics)
        patients, pairs, missing = (int(metrics[name]) for name in ("patients", "pairs", "missing"))
        epochs = identity.config.epochs
        return TrainOutcome(job.fold, "skipped", epochs, patients, pairs, missing, None, metrics, str(folder.path))
    if begun is not None:
        try:
            identity.require_equal(begun.identity, folder.path, hint)
        except StoreError:
            if not job.overwrite:
                raise
            folder.clear()
    return None


def run_identity(run: Run, parents: dict[str, str]) -> Identity:
    """The identity that a committed run was trained under."""
    config = dict(run.config)
    tiling, encoder, genes = (config.pop(name) for name in ("tiling", "encoder", "genes"))
    return Identity(
        method=run.method,
        split=run.split,
        fold=run.fold,
        tiling=tiling,
        encoder=encoder,
        genes=genes,
        config=TrainConfig.model_validate(config),
        parents=parents,
    )


def _train(store: Store, job: TrainJob, identity: Identity, folder: CheckpointFolder, data: FoldData) -> TrainOutcome:
    config = identity.config
    if config.choose == "best" and not data.fold.validation:
        message = "choose = best needs a validation part, and this split has none"
        raise BadInput("BAD_OPTION", message, key="choose", expected="last", got="best")
    training = prepare(store, identity, folder, data)
    saved = folder.load("last")
    with stop_signals() as stop, progress(f"{job.run} fold {job.fold}", config.epochs, "epochs") as shown:
        document = fit(training, saved, stop, shown)
    log = read_log(folder.path)
    seconds = [line["seconds"] for line in log if "seconds" in line]
    counts = {"patients": len(training.train), "pairs": training.train.paired, "missing": training.train.missing}
    kept = next(line for line in log if line["epoch"] == document.position.epoch)
    metrics = {name: value for name, value in kept.items() if name not in _NOT_RESULTS} | counts
    values = config.model_dump(mode="json") | {
        "tiling": identity.tiling,
        "encoder": identity.encoder,
        "genes": identity.genes,
    }
    versions = {name: version(name) for name in ("mirror-model", "torch")} | {"python": platform.python_version()}
    run = Run(job.run, job.fold, job.method, job.split, values, document.weights.sha256, metrics, versions)
    write_run(store, run, parents=identity.parents, overwrite=job.overwrite)
    folder.drop("last")
    per_epoch = sum(seconds) / len(seconds) if seconds else None
    status = "trained" if saved is None else "resumed"
    return TrainOutcome(
        job.fold, status, config.epochs, **counts, seconds_per_epoch=per_epoch, metrics=metrics, folder=str(folder.path)
    )


def prepare(store: Store, identity: Identity, folder: CheckpointFolder, data: FoldData) -> Training:
    """Fit the preparation on the training patients, build the network, open two parts' data; the test part is not read.

    Raises:
        BadInput: ``NO_OVERLAP`` if fewer than two training patients have both modalities.
    """
    config, fold = identity.config, data.fold
    bags = Bags(store, data.features, config.data.token_order, config.runtime.cache_gb * _GB)
    moments = tile_moments(bags, data.features.of(fold.train)) if config.data.standardise_tiles else None
    fitted = fit_preparation(data.table, fold.train, data.gene_ids, config.data, config.model, moments)
    parts = [PatientData(ids, bags, data.table, fitted) for ids in (fold.train, fold.validation)]
    if parts[0].paired < 2:
        message = "fewer than two training patients have both slides and expression"
        raise BadInput("NO_OVERLAP", message, file=store.url, key=identity.split, got=parts[0].paired)
    task = make_task(identity.method, config)
    seed_torch(config.seed, identity.fold, Use.START)
    shapes = make_shapes(data.features.width, config, fitted)
    device = torch.device(config.runtime.device)
    tensors = {name: torch.from_numpy(value) for name, value in fitted.tensors().items()}
    document = CheckpointDocument.model_construct(
        identity=identity,
        tile_width=data.features.width,
        positions=config.data.tiles,
        gene_ids=fitted.gene_ids,
        rna_clip=fitted.clip,
    )
    return Training(
        task,
        task.build(shapes).to(device),
        config,
        identity.fold,
        parts[0],
        parts[1],
        folder,
        document,
        tensors,
        device,
        config.precision == "bf16",
    )


def make_shapes(tile_width: int, config: TrainConfig, fitted: Preparation) -> Shapes:
    """Sizes of the network that the data decides."""
    groups = None if fitted.groups is None else torch.from_numpy(fitted.groups)
    return Shapes(tile_width, len(fitted.gene_ids), config.data.tiles, groups)
