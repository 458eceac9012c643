"""What a fold is trained on: read from the store, fitted on the training patients, parted for the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Expression, Fold, Patients, Store, read_patients, schema

from mirror_model.batches import Bags, PatientData, epoch_batches, tile_moments
from mirror_model.checkpoint import CheckpointDocument, CheckpointFolder
from mirror_model.cohort import FeatureSet, find_features, read_folds
from mirror_model.config import TrainConfig
from mirror_model.device import AUTOCAST
from mirror_model.gradients import Arithmetic
from mirror_model.identity import Identity
from mirror_model.jobs import TrainJob
from mirror_model.layers import compile_blocks
from mirror_model.methods import Method, method_of
from mirror_model.mirror import Shapes
from mirror_model.preparation import (
    Preparation,
    choose_genes,
    fit_preparation,
    fit_tiles_alone,
    load_expression,
    no_expression,
    principal_axes,
)
from mirror_model.processes import ALONE, Processes
from mirror_model.streams import Use, seed_torch
from mirror_model.tasks import Subtype, Survival, TaskName, fit_task, labelled
from mirror_model.train import Training

_GB = 1e9  # bytes


@dataclass(frozen=True)
class FoldData:
    """What a fold is trained on, as the store has it."""

    features: FeatureSet
    fold: Fold
    table: Expression  # empty for a method that reads slides only
    gene_ids: tuple[str, ...]
    patients: Patients | None  # outcomes, for supervised methods alone


def read_fold(store: Store, job: TrainJob) -> FoldData:
    """Everything that a job reads.

    Raises:
        StoreError: ``MISSING``.
        BadInput: ``BAD_OPTION``, ``PATIENT_LEAK``.
    """
    features = find_features(store, job.tiling, job.encoder)
    fold = read_folds(store, job.split)[job.fold]
    method = method_of(job.method)
    table = load_expression(store) if method.reads_rna else no_expression()
    gene_ids = choose_genes(store, table, job.genes, job.fold, fold)
    return FoldData(features, fold, table, gene_ids, _outcomes(store) if method.tasks else None)


def _outcomes(store: Store) -> Patients:
    if not store.has(schema.PATIENTS):
        hint = "write them with `mirror-data outcomes`"
        raise StoreError("MISSING", "the store holds no outcomes", file=store.url, key=schema.PATIENTS, hint=hint)
    return read_patients(store)


def parents_of(store: Store, job: TrainJob, features: FeatureSet) -> dict[str, str]:
    """Hashes of all records that a job reads."""
    method = method_of(job.method)
    paths = [schema.all_features(features.tiling, features.encoder), schema.split(job.split)]
    paths += [schema.RNA] if method.reads_rna else []
    paths += [schema.PATIENTS] if method.tasks else []
    paths += [schema.genes(job.genes, job.fold)] if job.genes is not None else []
    return store.parents(*paths)


@dataclass(frozen=True)
class Parts:
    """Training and validation patients of a fold; the test part is never opened."""

    train: PatientData
    validation: PatientData
    task: Subtype | Survival | None  # fitted on ``train``
    unlabelled: int  # training patients whose outcome is not known


def part_fold(
    store: Store, data: FoldData, bags: Bags, fitted: Preparation, method: Method, task: TaskName | None
) -> Parts:
    """Part a fold into the patients that a method can be trained on, and fit its task.

    Raises:
        BadInput: ``NO_OVERLAP``, ``NOT_ESTIMABLE``.
    """
    fold = data.fold
    known = labelled(task, data.patients) if task and data.patients else {*fold.train, *fold.validation}
    train, validation = (
        PatientData(sorted(set(ids) & known), bags, data.table, fitted, method.needs)
        for ids in (fold.train, fold.validation)
    )
    usable, what = (len(train), " and ".join(method.needs)) if method.needs else (train.paired, "slides and expression")
    if usable < 2:
        message = f"fewer than two training patients have {what}" + (f" and a known {task}" if task else "")
        raise BadInput("NO_OVERLAP", message, file=store.url, key="--split", got=usable)
    if task is None or data.patients is None:
        return Parts(train, validation, None, 0)
    learned = fit_task(task, data.patients, train.patient_ids)
    for part in (train, validation):
        part.targets = learned.targets(data.patients, part.patient_ids)
    return Parts(train, validation, learned, len(set(fold.train) - known))


def prepare(
    store: Store, identity: Identity, folder: CheckpointFolder, data: FoldData, processes: Processes = ALONE
) -> Training:
    """Fit the preparation and the task on the training patients, build the network, open two parts' data.

    Raises:
        BadInput: ``NO_OVERLAP`` if fewer than two training patients have what the method needs, ``NOT_ESTIMABLE`` if
            nothing can be learned of their outcomes, ``BAD_OPTION`` if a validation part is needed and empty, or a
            batch cannot be shared out among the processes.
    """
    config, method = identity.config, method_of(identity.method)
    bags = Bags(store, data.features, config.data.token_order, config.runtime.cache_gb * _GB)
    fitted = _fit(bags, data, config, method)
    parts = part_fold(store, data, bags, fitted, method, identity.task)
    _require_patients(parts, config, processes)
    learner = method.make(config, parts.task)
    seed_torch(config.seed, identity.fold, Use.START)
    device = torch.device(config.runtime.device)
    document = CheckpointDocument.model_construct(
        identity=identity,
        tile_width=data.features.width,
        positions=config.data.tiles,
        gene_ids=fitted.gene_ids,
        rna_clip=fitted.clip,
        task=parts.task,
    )
    shapes = make_shapes(data.features.width, config, fitted)
    if config.rna_axes:
        shapes = replace(shapes, axes=torch.from_numpy(principal_axes(fitted, data.table, data.fold.train)))
    network = learner.build(shapes).to(device)
    if config.runtime.compile:
        compile_blocks(network)
    return Training(
        learner,
        network,
        config,
        identity.fold,
        parts.train,
        parts.validation,
        folder,
        document,
        {name: torch.from_numpy(value) for name, value in fitted.tensors().items()},
        Arithmetic(device, AUTOCAST[config.precision]),
        processes,
        parts.unlabelled,
    )


def _require_patients(parts: Parts, config: TrainConfig, processes: Processes) -> None:
    if not len(parts.validation) and (config.choose == "best" or config.patience):
        message = "choose = best and patience need validation patients, and the fold has none for this method"
        raise BadInput("BAD_OPTION", message, key="choose", expected="choose = last, patience = 0")
    smallest = min(map(len, epoch_batches(len(parts.train), config.batch_size, np.random.default_rng(0))))
    if smallest < processes.count:
        message, got = "a batch has fewer patients than there are processes", f"{smallest} patients"
        expected = f"at least {processes.count}"
        raise BadInput("BAD_OPTION", message, key="batch_size", expected=expected, got=got)


def _fit(bags: Bags, data: FoldData, config: TrainConfig, method: Method) -> Preparation:
    """On all training patients of the fold, whether their outcome is known or not."""
    moments = None
    if config.data.standardise_tiles:
        moments = tile_moments(bags, data.features.of(data.fold.train), of_means=config.data.bag == "mean")
    if not method.reads_rna:
        return fit_tiles_alone(config.data, moments)
    return fit_preparation(data.table, data.fold.train, data.gene_ids, config.data, config.gene_groups, moments)


def make_shapes(tile_width: int, config: TrainConfig, fitted: Preparation) -> Shapes:
    """Sizes of the network that the data decides."""
    groups = None if fitted.groups is None else torch.from_numpy(fitted.groups)
    return Shapes(tile_width, len(fitted.gene_ids), config.data.tiles, groups)
