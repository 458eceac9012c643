"""Embeddings and tile weights of every patient of a store, from a trained fold.

Shapes: n patients, D width, N tiles of a slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from mirror_data.errors import StoreError
from mirror_data.progress import progress
from mirror_data.store import (
    MODALITIES,
    Attention,
    Embeddings,
    Modality,
    Store,
    open_store,
    read_run,
    run_folds,
    schema,
    write_attention,
    write_embeddings,
)

from mirror_model.batches import Bags, EvenDraw, PatientData
from mirror_model.checkpoint import CheckpointFolder, Identity, Saved, restore_network
from mirror_model.cohort import FeatureSet, find_features
from mirror_model.config import TrainConfig
from mirror_model.jobs import run_folder
from mirror_model.preparation import Preparation, load_expression
from mirror_model.runs import make_shapes, run_identity
from mirror_model.tasks import Task, make_task

_BATCH_TILES = 32_768  # tiles of a batch, padding included


@dataclass(frozen=True)
class EmbedOutcome:
    """What was written for one fold."""

    fold: int
    status: str  # "embedded" or "skipped"
    slide: int  # patients with a slide embedding
    rna: int
    attention: int  # slides with tile weights


@dataclass(frozen=True)
class Trained:
    """A trained fold, ready to be used."""

    task: Task
    network: torch.nn.Module
    identity: Identity
    preparation: Preparation

    @property
    def config(self) -> TrainConfig:
        return self.identity.config


def folds_to_embed(store: Store, run: str, fold: str) -> list[int]:
    """The trained folds that ``--fold`` names.

    Raises:
        StoreError: ``MISSING``.
    """
    there = run_folds(store, run)
    wanted = there if fold == "all" else [int(fold)] if fold.isdigit() else []
    if not wanted or not set(wanted) <= set(there):
        hint = "train it with `mirror-model train`"
        key = schema.run(run, 0).rpartition("/")[0]
        message = "no such trained fold"
        raise StoreError("MISSING", message, file=store.url, key=key, expected=f"folds {there}", got=fold, hint=hint)
    return wanted


def embed_folds(
    store_url: str, run: str, fold: str, *, attention: bool, checkpoints: str | None = None, overwrite: bool = False
) -> list[EmbedOutcome]:
    """`embed_fold` of every trained fold that ``--fold`` names, in order."""
    options = {"attention": attention, "checkpoints": checkpoints, "overwrite": overwrite}
    return [embed_fold(store_url, run, k, **options) for k in folds_to_embed(open_store(store_url), run, fold)]


def load_trained(store: Store, run: str, fold: int, checkpoints: str | None = None) -> Trained:
    """The network of a trained fold in evaluation mode, with its preparation.

    Raises:
        StoreError: ``MISSING`` or ``MISMATCH`` if the checkpoint is not the one the run was committed with.
    """
    record = read_run(store, run, fold)
    identity = run_identity(record, store.document(schema.run(run, fold)).parents)
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
    document = saved.document
    arrays = {name: value.numpy() for name, value in saved.preparation.items()}
    fitted = Preparation.from_tensors(document.gene_ids, document.rna_clip, arrays)
    task = make_task(identity.method, identity.config)
    network = task.build(make_shapes(document.tile_width, identity.config, fitted))
    restore_network(network, saved.network, folder.path)
    device = torch.device(identity.config.runtime.device if torch.cuda.is_available() else "cpu")
    return Trained(task, network.to(device).eval(), identity, fitted)


def embed_fold(
    store_url: str,
    run: str,
    fold: int,
    *,
    attention: bool = False,
    checkpoints: str | None = None,
    overwrite: bool = False,
) -> EmbedOutcome:
    """Write both modalities' embeddings of every patient that has them, and each tile's weight where asked for.

    The slide embedding is the CLS token (or the pool), the RNA embedding the encoder's output, both before the
    alignment head, in float32 and evaluation mode, from all tiles, or ``data.embed_tiles`` evenly spaced ones a slide.
    What is there and up to date is skipped; what is stale is made again.

    Raises:
        StoreError: ``MISSING`` or ``MISMATCH``.
        Busy: another process embeds this fold.
    """
    store = open_store(store_url)
    trained = load_trained(store, run, fold, checkpoints)
    features = find_features(store, trained.identity.tiling, trained.identity.encoder)
    paths = (schema.run(run, fold), schema.all_features(features.tiling, features.encoder), schema.RNA)
    parents = store.parents(*paths)
    slides = [bag.slide_id for bag in features.bags] if attention else []
    targets = [schema.embeddings(run, fold, modality) for modality in MODALITIES]
    targets += [schema.attention(run, fold, slide) for slide in slides]
    with store.claim(f"embed {run} fold {fold}"):
        if not overwrite and all(store.has(p) and store.document(p).parents == parents for p in targets):
            slide, rna = (int(store.document(path).attributes["rows"]) for path in targets[:2])
            return EmbedOutcome(fold, "skipped", slide, rna, len(slides))
        threads = torch.get_num_threads()
        torch.set_num_threads(trained.config.runtime.threads)
        try:
            found = _embed(store, trained, features, attention, f"{run} fold {fold}")
        finally:
            torch.set_num_threads(threads)
        for modality in MODALITIES:
            ids, values = found.sorted(modality)
            record = Embeddings(run, fold, modality, ids, values)
            write_embeddings(store, record, parents=parents, overwrite=True)
        for slide in slides:
            record = Attention(run, fold, slide, features.tiling, found.weights[slide])
            write_attention(store, record, parents=parents, overwrite=True)
    return EmbedOutcome(fold, "embedded", len(found.slide), len(found.rna), len(slides))


@dataclass(frozen=True)
class Found:
    """Embeddings by patient and tile weights by slide, as they come."""

    slide: dict[str, np.ndarray]  # (D,) each
    rna: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]  # (N,) each

    def sorted(self, modality: Modality) -> tuple[tuple[str, ...], np.ndarray]:
        values = self.slide if modality == "slide" else self.rna
        ids = tuple(sorted(values))
        return ids, np.stack([values[patient] for patient in ids]).astype(np.float32)


@torch.no_grad()
def _embed(store: Store, trained: Trained, features: FeatureSet, attention: bool, title: str) -> Found:
    config, found = trained.config, Found({}, {}, {})
    bags = Bags(store, features, config.data.token_order, 0)
    table = load_expression(store)
    everyone = sorted({bag.patient_id for bag in features.bags} | set(table.patient_ids))
    data = PatientData(everyone, bags, table, trained.preparation)
    draw = EvenDraw(config.data.embed_tiles)
    device = next(trained.network.parameters()).device
    with progress(f"embed {title}", len(data), "patients") as shown:
        for members in _groups(data, config):
            batch = data.batch(members, draw).to(device)
            result = trained.task.embed(trained.network, batch, attention=attention)
            for rows, kept, into in (
                (result.slide, batch.slide_of, found.slide),
                (result.rna, batch.rna_of, found.rna),
            ):
                if rows is not None:
                    for place, row in zip(kept.tolist(), rows.float().cpu().numpy(), strict=True):
                        into[batch.patient_ids[place]] = row
            if result.weights is not None:
                for place, row in zip(batch.slide_of.tolist(), result.weights.float().cpu().numpy(), strict=True):
                    found.weights.update(_by_slide(data, int(members[place]), draw, row))
            shown.advance(len(members))
    return found


def _groups(data: PatientData, config: TrainConfig) -> list[np.ndarray]:
    """Patients in batches of like bag size, so that little is padding."""
    cap = config.data.embed_tiles
    sizes = np.array([sum(min(bag.rows, cap) for bag in bags) for bags in data.slides])
    most = 1 if config.model.attention == "nystrom" else config.data.eval_batch_size  # nystrom knows no padding
    groups: list[list[int]] = [[]]
    for member in np.lexsort((np.arange(len(sizes)), sizes)):
        full = len(groups[-1]) == most or (len(groups[-1]) + 1) * sizes[member] > _BATCH_TILES
        if groups[-1] and full:
            groups.append([])
        groups[-1].append(int(member))
    return [np.array(group) for group in groups]


def _by_slide(data: PatientData, member: int, draw: EvenDraw, weights: np.ndarray) -> dict[str, np.ndarray]:
    """A patient's tile weights by slide, each summing to 1, rows as the slide's tiling; 0 for tiles beyond the cap."""
    found, start = {}, 0
    for bag in data.slides[member]:
        rows = draw.rows(bag.rows)
        own = weights[start : start + len(rows)].astype(np.float64)
        start += len(rows)
        order = data.bags.row_order(bag)
        stored = np.zeros(bag.rows)
        stored[rows if order is None else order[rows]] = own
        total = stored.sum()
        found[bag.slide_id] = (stored / total if total > 0 else np.full(bag.rows, 1 / bag.rows)).astype(np.float32)
    return found


def describe(outcomes: list[EmbedOutcome]) -> list[str]:
    """A line for each fold."""
    lines = []
    for outcome in outcomes:
        word = f"fold {outcome.fold}: {outcome.status}, {outcome.slide} patients by slide, {outcome.rna} by RNA"
        lines.append(word + (f", attention of {outcome.attention} slides" if outcome.attention else ""))
    return lines
