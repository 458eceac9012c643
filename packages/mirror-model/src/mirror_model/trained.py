"""A trained fold, ready to be used: its network, settings and everything that was fitted with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mirror_data.errors import StoreError
from mirror_data.store import Modality, Store, read_run, required_folds, schema
from mirror_data.versions import require_torch

from mirror_model.checkpoint import CheckpointFolder, Saved, restore_network
from mirror_model.config import TrainConfig
from mirror_model.fold_data import make_shapes
from mirror_model.identity import Identity
from mirror_model.jobs import run_folder
from mirror_model.learner import Learner
from mirror_model.methods import Method, method_of
from mirror_model.preparation import Preparation


@dataclass(frozen=True)
class Trained:
    """The network in evaluation mode."""

    method: Method
    learner: Learner
    network: torch.nn.Module
    identity: Identity
    preparation: Preparation

    @property
    def config(self) -> TrainConfig:
        return self.identity.config

    @property
    def needs(self) -> tuple[Modality, ...]:
        """Modalities without which it says nothing of a patient; where none is named, it takes what there is."""
        return self.method.needs if self.method.tasks else ()

    @property
    def weighs_tiles(self) -> bool:
        return self.method.weighs_tiles and self.config.data.bag != "mean"


def trained_folds(store: Store, run: str, fold: str) -> list[int]:
    """The trained folds that ``--fold`` names.

    Raises:
        StoreError: ``MISSING``.
    """
    there = required_folds(store, run)
    wanted = there if fold == "all" else [number for number in there if str(number) == fold]
    if not wanted:
        message, hint = "this fold of the run is not trained", "train it with `mirror-model train`"
        expected = f"all, or one of {', '.join(map(str, there))}"
        raise StoreError("MISSING", message, key=f"runs/{run}", expected=expected, got=fold, hint=hint)
    return wanted


def load_trained(store: Store, run: str, fold: int, checkpoints: str | None = None) -> Trained:
    """A trained fold.

    Raises:
        StoreError: ``MISSING`` or ``MISMATCH`` if the checkpoint is not the one the run was committed with.
        BadInput: ``OLD_LIBRARY``.
    """
    require_torch()
    record = read_run(store, run, fold)
    identity = Identity.of_run(record, store.document(schema.run(run, fold)).parents)
    folder = CheckpointFolder(run_folder(store.url, run, fold, checkpoints))
    saved = folder.load("model")
    if saved is None:
        hint = "say where it is with --checkpoints, or train again with --overwrite"
        raise StoreError("MISSING", "the run's checkpoint is not here", file=folder.path, key="model.json", hint=hint)
    if saved.document.weights.sha256 != record.checkpoint_sha256:
        message, hint = "the checkpoint is not the one this run was committed with", "train again with --overwrite"
        expected, got = record.checkpoint_sha256[:12], saved.document.weights.sha256[:12]
        raise StoreError("MISMATCH", message, file=folder.path, expected=expected, got=got, hint=hint)
    return _build(saved, identity, folder)


def _build(saved: Saved, identity: Identity, folder: CheckpointFolder) -> Trained:
    document, config, method = saved.document, identity.config, method_of(identity.method)
    arrays = {name: value.numpy() for name, value in saved.preparation.items()}
    fitted = Preparation.from_tensors(document.gene_ids, document.rna_clip, arrays)
    learner = method.make(config, document.task)
    network = learner.build(make_shapes(document.tile_width, config, fitted))
    restore_network(network, saved.network, folder.path)
    device = torch.device(config.runtime.device if torch.cuda.is_available() else "cpu")
    return Trained(method, learner, network.to(device).eval(), identity, fitted)
