"""What a trained fold leaves in the store: embeddings, or a supervised method's predictions, and tile weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mirror_data.store import (
    MODALITIES,
    Attention,
    Embeddings,
    Modality,
    Predictions,
    Store,
    open_store,
    read_expression_patients,
    read_split,
    schema,
    write_attention,
    write_embeddings,
    write_predictions,
)

from mirror_model.cohort import FeatureSet, find_features
from mirror_model.inference import Found, apply_network, in_order
from mirror_model.trained import Trained, load_trained, trained_folds


@dataclass(frozen=True)
class EmbedOutcome:
    """What was written for one fold."""

    fold: int
    status: str  # "embedded", "predicted" or "skipped"
    slide: int = 0  # patients with a slide embedding
    rna: int = 0
    predicted: int = 0  # patients with a prediction
    attention: int = 0  # slides with tile weights


def embed_folds(
    store_url: str, run: str, fold: str, *, attention: bool, checkpoints: str | None = None, overwrite: bool = False
) -> list[EmbedOutcome]:
    """`embed_fold` of every trained fold that ``--fold`` names, in order."""
    options = {"attention": attention, "checkpoints": checkpoints, "overwrite": overwrite}
    return [embed_fold(store_url, run, k, **options) for k in trained_folds(open_store(store_url), run, fold)]


def embed_fold(
    store_url: str,
    run: str,
    fold: int,
    *,
    attention: bool = False,
    checkpoints: str | None = None,
    overwrite: bool = False,
) -> EmbedOutcome:
    """Write what a trained fold says of every patient, and each tile's weight where asked for.

    An unsupervised method gives both modalities' embeddings of every patient of the store that has them, before the
    alignment head and, where the method has one, after it: in float32 and evaluation mode, from all tiles, or
    ``data.embed_tiles`` evenly spaced ones a slide.
    A supervised method gives its predictions for every patient of the fold who has what it needs, with the part they
    belong to. What is there and up to date is skipped; what is stale is made again.

    Raises:
        StoreError: ``MISSING`` or ``MISMATCH``; ``READ_ONLY``.
        Busy: another process embeds this fold.
    """
    store = open_store(store_url)
    store.files.require_writable()
    trained = load_trained(store, run, fold, checkpoints)
    features = find_features(store, trained.identity.tiling, trained.identity.encoder)
    plan = _plan(store, trained, features, run, fold, attention)
    with store.claim(f"embed {run} fold {fold}"):
        if not overwrite and all(store.has(p) and store.document(p).parents == plan.parents for p in plan.paths):
            rows = [int(store.document(path).attributes["rows"]) for path in plan.paths[: plan.results]]
            return _outcome(fold, "skipped", plan, rows)
        threads = torch.get_num_threads()
        torch.set_num_threads(trained.config.runtime.threads)
        try:
            title, weighed = f"embed {run} fold {fold}", bool(plan.slides)
            found = apply_network(store, trained, features, plan.patient_ids, attention=weighed, title=title)
        finally:
            torch.set_num_threads(threads)
        rows = _write_results(store, trained, found, plan, run, fold)
        for slide in plan.slides:
            record = Attention(run, fold, slide, features.tiling, found.weights[slide])
            write_attention(store, record, parents=plan.parents, overwrite=True)
    return _outcome(fold, "predicted" if plan.parts else "embedded", plan, rows)


@dataclass(frozen=True)
class _Plan:
    """What is to be written for one fold, of whom, from what."""

    patient_ids: tuple[str, ...]
    parts: dict[str, str]  # part of each patient of the fold, in supervised runs
    slides: tuple[str, ...]  # those that get tile weights
    paths: tuple[str, ...]  # of all records: first the results, then the tile weights
    parents: dict[str, str]

    @property
    def results(self) -> int:
        """How many of the records are embeddings or predictions."""
        return len(self.paths) - len(self.slides)


def _plan(store: Store, trained: Trained, features: FeatureSet, run: str, fold: int, attention: bool) -> _Plan:
    identity, reads_rna = trained.identity, trained.method.reads_rna
    parts = read_split(store, identity.split).folds[fold].part_of() if identity.task else {}
    with_rna = set(read_expression_patients(store)) if reads_rna else set()
    patients = set(parts) or with_rna | {bag.patient_id for bag in features.bags}
    weighed = patients & with_rna if "rna" in trained.needs else patients
    slides = tuple(bag.slide_id for bag in features.bags if bag.patient_id in weighed)
    slides = slides if attention and trained.weighs_tiles else ()
    paths = [schema.predictions(run, fold, identity.task)] if identity.task else []
    if not identity.task:
        paths += [schema.embeddings(run, fold, modality, aligned) for aligned, modality in _embedded(trained)]
    paths += [schema.attention(run, fold, slide) for slide in slides]
    read = [schema.run(run, fold), schema.all_features(features.tiling, features.encoder)]
    parents = store.parents(*read, *([schema.RNA] if reads_rna else []))
    return _Plan(tuple(sorted(patients)), parts, slides, tuple(paths), parents)


def _embedded(trained: Trained) -> list[tuple[bool, Modality]]:
    """The embeddings that an unsupervised method gives: whether they are aligned, of which modality."""
    kinds = (False, True) if trained.learner.aligns else (False,)
    return [(aligned, modality) for aligned in kinds for modality in MODALITIES]


def _write_results(store: Store, trained: Trained, found: Found, plan: _Plan, run: str, fold: int) -> list[int]:
    """Write predictions or embeddings; returns how many patients each record holds."""
    task = trained.learner.task
    if task is None:
        rows = []
        for aligned, modality in _embedded(trained):
            values = getattr(found, f"{modality}_aligned" if aligned else modality)
            record = Embeddings(run, fold, modality, *in_order(values), aligned=aligned)
            write_embeddings(store, record, parents=plan.parents, overwrite=True)
            rows.append(len(values))
        return rows
    ids, logits = in_order(found.logits)
    table = task.predictions(torch.from_numpy(logits))
    table.insert(0, "patient_id", list(ids))
    table.insert(1, "part", [plan.parts[patient] for patient in ids])
    write_predictions(store, Predictions(run, fold, task.name, table), parents=plan.parents, overwrite=True)
    return [len(ids)]


def _outcome(fold: int, status: str, plan: _Plan, rows: list[int]) -> EmbedOutcome:
    """``rows``: patients of each result."""
    if plan.parts:
        return EmbedOutcome(fold, status, predicted=rows[0], attention=len(plan.slides))
    return EmbedOutcome(fold, status, slide=rows[0], rna=rows[1], attention=len(plan.slides))


def describe(outcomes: list[EmbedOutcome]) -> list[str]:
    """A line for each fold."""
    lines = []
    for outcome in outcomes:
        told = f"{outcome.slide} patients by slide, {outcome.rna} by RNA"
        told = f"{outcome.predicted} patients predicted" if outcome.predicted else told
        word = f"fold {outcome.fold}: {outcome.status}, {told}"
        lines.append(word + (f", attention of {outcome.attention} slides" if outcome.attention else ""))
    return lines
