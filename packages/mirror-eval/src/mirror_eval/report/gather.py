"""Read a run and all around it from the store, and evaluate it once, for the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mirror_data.errors import BadInput, BadSlide
from mirror_data.ids import to_key
from mirror_data.store import (
    MODALITIES,
    Embeddings,
    Fold,
    GeneSelection,
    Patients,
    Store,
    read_embeddings,
    read_expression,
    read_genes,
    read_patients,
    read_run,
    read_split,
    schema,
)

from mirror_eval.attention import AttentionRun, attention_run, slide_attention
from mirror_eval.figures.slides import map_of
from mirror_eval.leakage import audit_run
from mirror_eval.report.evaluations import REPORTED, compared, evaluate, or_missing, runs_beside, sentence
from mirror_eval.report.evidence import Evidence, Missing, SlideShown, TileFeatures
from mirror_eval.run_data import committed_folds
from mirror_eval.tile_pictures import SlideFiles, tile_pictures

SLIDES_SHOWN = 4


def gather(
    store: Store,
    run: str,
    *,
    compare: Sequence[str] = (),
    controls: bool = True,
    seed: int = 0,
    resamples: int = 1000,
    files: SlideFiles | None = None,
) -> Evidence:
    """Read and evaluate everything that a report on this run can show.

    Args:
        compare: runs whose scores stand beside. controls: whether to score the run under null controls too.
        seed: of the evaluations' inner parts, support sets and bootstrap. resamples: bootstrap samples.
        files: the slides' files, to read the tiles with most attention from; None for the stored thumbnails.

    Raises:
        StoreError: ``MISSING`` if there is no such run, or a record that is damaged; what was simply never written
            becomes `Missing`. BadInput: ``BAD_OPTION`` if the run is compared with itself.
    """
    numbers, _ = committed_folds(store, run)
    others = runs_beside(store, run, compare)
    runs = tuple(read_run(store, run, number) for number in numbers)
    split, shown = read_split(store, runs[0].split), numbers[0]
    found = evaluate(store, run, others, controls=controls, seed=seed, resamples=resamples)
    patients = or_missing(lambda: read_patients(store))
    sources = dict(store.document(schema.run(run, shown)).parents)
    slides = {a["slide_id"]: a["patient_id"] for a in _slide_attributes(store)}
    return Evidence(
        store_name=re.split(r"[\\/]", store.url.rstrip("/"))[-1],
        run=run,
        folds=tuple(numbers),
        runs=runs,
        split=split,
        shown_fold=shown,
        patients=patients,
        slides=slides,
        expression=or_missing(lambda: read_expression(store)),
        embedded=_embedded(store, run, numbers),
        embeddings={m: read_embeddings(store, run, shown, m) for m in _modalities(store, run, shown)},
        aligned=_aligned(store, run, shown),
        subtype=found.main.subtype,
        subtype_few_shot=found.subtype_few_shot,
        survival=found.main.survival,
        survival_few_shot=found.survival_few_shot,
        retrieval=found.main.retrieval,
        controls=found.controls,
        others=found.others,
        comparisons={task: compared(found, task, seed, 10 * resamples) for task in REPORTED},
        audit=audit_run(store, run),
        genes=_genes(store, sources, shown),
        attention=_attention(store, run, shown, slides, split.folds[shown], patients, files),
        sources=sources,
        hashes=_hashes(store, run, numbers, split.name),
        tile_features=_tile_features(store, sources),
    )


def _slide_attributes(store: Store) -> list[dict[str, Any]]:
    return [store.document(f"slides/{key}").attributes for key in store.keys("slides")]


def _modalities(store: Store, run: str, fold: int) -> list:
    return [m for m in MODALITIES if store.has(schema.embeddings(run, fold, m))]


def _aligned(store: Store, run: str, fold: int) -> dict[str, Embeddings]:
    """Vectors of both modalities in the space that the run shares between them; empty where it has none."""
    if not all(store.has(schema.embeddings(run, fold, m, aligned=True)) for m in MODALITIES):
        return {}
    return {m: read_embeddings(store, run, fold, m, aligned=True) for m in MODALITIES}


def _embedded(store: Store, run: str, numbers: list[int]) -> dict[str, frozenset[str]]:
    """Patients embedded in any fold, by modality."""
    found: dict[str, set[str]] = {}
    for number in numbers:
        for modality in _modalities(store, run, number):
            found.setdefault(modality, set()).update(read_embeddings(store, run, number, modality).patient_ids)
    return {modality: frozenset(ids) for modality, ids in found.items()}


def _genes(store: Store, sources: Mapping[str, str], fold: int) -> GeneSelection | Missing:
    """The gene selection that the shown fold was trained on, as its parents name it."""
    names = sorted(path.split("/")[1] for path in sources if path.startswith("genes/"))
    if not names:
        return Missing("The run was trained without a gene selection of this store.")
    name = (
        store.document(schema.genes(names[0], fold)).attributes["name"]
        if store.has(schema.genes(names[0], fold))
        else names[0]
    )
    return or_missing(lambda: read_genes(store, name, fold))


def _attention(
    store: Store,
    run: str,
    fold: int,
    slides: Mapping[str, str],
    parts: Fold,
    patients: Patients | Missing,
    files: SlideFiles | None,
) -> tuple[SlideShown, ...] | Missing:
    """One slide of each subtype: of a test patient if there is one, with most tiles."""
    keys = {to_key(slide_id): slide_id for slide_id in slides}
    stored = store.keys(f"{schema.run(run, fold)}/attention")
    if not stored:
        return Missing("The run holds no attention: `mirror-model embed` writes it.")
    subtypes = {} if isinstance(patients, Missing) else patients.subtypes()
    test, folds = set(parts.test), attention_run(store, run)

    def first(slide_id: str) -> tuple:
        attributes = store.document(schema.attention(run, fold, slide_id)).attributes
        return (slides[slide_id] not in test, -attributes["rows"], slide_id)

    ordered = sorted((keys[key] for key in stored if key in keys), key=first)
    by_subtype: dict[str, list[SlideShown]] = {}
    for slide_id in ordered:
        group = by_subtype.setdefault(subtypes.get(slides[slide_id], ""), [])
        if not group:
            shown = _slide_shown(store, folds, fold, slide_id, subtypes, files)
            group += [shown] if shown else []
    chosen = [slide for name in sorted(by_subtype, key=lambda n: (n == "", n)) for slide in by_subtype[name]]
    if not chosen:
        return Missing("No slide with attention has a thumbnail and tile positions in the store.")
    return tuple(chosen[:SLIDES_SHOWN])


def _slide_shown(
    store: Store,
    run: AttentionRun,
    fold: int,
    slide_id: str,
    subtypes: Mapping[str, str],
    files: SlideFiles | None,
) -> SlideShown | None:
    """The slide with its attention; None where the store has no picture of it or no positions."""
    try:
        shown = slide_attention(store, run, slide_id, fold)
    except BadSlide:
        return None
    if shown.slide.thumbnail is None or shown.slide.size is None:
        return None
    drawn = map_of(shown)
    try:
        pictures = tile_pictures(shown, drawn.top.tolist(), files)
    except BadInput as error:
        pictures = Missing(" ".join(sentence(text, None) for text in (error.message, error.hint) if text))
    return SlideShown(shown, subtypes.get(shown.slide.patient_id, ""), drawn, pictures)


def _hashes(store: Store, run: str, numbers: list[int], split: str) -> dict[str, str]:
    """Identity of the records that the report's numbers come from."""
    paths = [schema.PATIENTS, schema.RNA, schema.split(split)]
    for number in numbers:
        paths += [schema.run(run, number), *(schema.embeddings(run, number, m) for m in MODALITIES)]
    return {path: store.hash(path) for path in paths if store.has(path)}


def _tile_features(store: Store, sources: Mapping[str, str]) -> dict[str, TileFeatures]:
    """The features that the run was trained on, as the first slide that has them records them."""
    found = {}
    for pattern in sorted(path for path in sources if path.startswith("slides/")):
        parts = pattern.split("/")
        for key in store.keys("slides") if parts[1] == "*" else [parts[1]]:
            path = "/".join(["slides", key, *parts[2:]])
            if store.has(path):
                grid = store.document("/".join(path.split("/")[:4])).attributes
                attributes = store.document(path).attributes
                told = {k: attributes.get(k) for k in ("width", "precision", "weights_sha256", "transform")}
                told |= {k: grid.get(k) for k in ("tile_px", "mpp", "overlap", "min_tissue")}
                found[pattern] = TileFeatures(encoder=str(attributes["encoder"]), **told)
                break
    return found
