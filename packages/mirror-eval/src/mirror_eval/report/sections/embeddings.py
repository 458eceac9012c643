"""Section: what the embeddings look like, by subtype and by part of the fold."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mirror_eval.figures.maps import scatter_panel
from mirror_eval.figures.theme import GREEN, GREY, MODALITY_NAME, ORANGE, PURPLE, VARIABLES, class_styles
from mirror_eval.report.blocks import Absent, Block, Figure, Key, Section, csv_text
from mirror_eval.report.evidence import Evidence

LEAST_FOR_UMAP = 10
NO_SUBTYPE, NO_PART = "subtype not known", "not in the split"
GLYPHS = {"o": "●", "^": "▲", "s": "■", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}
PART_STYLES = {"train": (GREY, "o"), "validation": (ORANGE, "^"), "test": (PURPLE, "s")}
SIDE_STYLES = {"slide": (GREEN, "o"), "RNA": (PURPLE, "^")}

Styles = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Map:
    """Patients laid out in two dimensions."""

    name: str
    title: str
    patient_ids: tuple[str, ...]
    xy: np.ndarray  # (n, 2)


def embeddings(evidence: Evidence, seed: int) -> Section:
    """UMAP of slide, RNA and joint embeddings of one fold, and of the space that the modalities share."""
    lead = (
        "Each patient's slide and expression as the trained network sees them, laid out in two dimensions: patients "
        "that the network finds alike lie close. Distances between far groups, and the axes themselves, mean nothing."
    )
    usable = {name: found for name, found in _joint(evidence).items() if len(found[0]) >= LEAST_FOR_UMAP}
    if not usable:
        absent = Absent("UMAP", f"It needs embeddings of at least {LEAST_FOR_UMAP} patients.")
        return Section("embeddings", "Embeddings", lead, (absent,))
    shown = [name for name in MODALITY_NAME if name in usable]
    maps = [Map(name, MODALITY_NAME[name], usable[name][0], project(usable[name][1], seed)) for name in shown]
    blocks: list[Block] = [_by_subtype(evidence, maps), _by_part(evidence, maps)]
    if evidence.aligned:
        blocks.append(_aligned(evidence, seed))
    return Section("embeddings", "Embeddings", lead, tuple(blocks))


def _joint(evidence: Evidence) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Patients and values of the slide, RNA and joint embeddings of the shown fold; joint: both, each at equal
    weight."""
    found = {m: (e.patient_ids, e.values.astype(float)) for m, e in evidence.embeddings.items()}
    if len(found) == 2:
        (slide_ids, slides), (rna_ids, rna) = found["slide"], found["rna"]
        shared = sorted(set(slide_ids) & set(rna_ids))
        if shared:
            parts = [_rows(ids, values, shared) for ids, values in ((slide_ids, slides), (rna_ids, rna))]
            scaled = [part / (np.sqrt((part.std(axis=0) ** 2).sum()) or 1.0) for part in parts]
            found["both"] = (tuple(shared), np.concatenate(scaled, axis=1))
    return found


def _rows(ids: tuple[str, ...], values: np.ndarray, wanted: list[str]) -> np.ndarray:
    place = {patient: k for k, patient in enumerate(ids)}
    return values[[place[patient] for patient in wanted]]


def project(values: np.ndarray, seed: int) -> np.ndarray:
    """UMAP to two dimensions (n, 2), single-threaded and seeded. McInnes et al. 2018, arXiv:1802.03426."""
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap warns that a seed makes it single-threaded, which is what we ask for
        neighbours = min(15, len(values) - 1)
        return UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1, init="pca").fit_transform(values)


def _by_subtype(evidence: Evidence, maps: Sequence[Map]) -> Figure:
    subtype, test = evidence.subtype_of, set(evidence.fold.test)
    styles = class_styles(sorted(set(subtype.values())))
    panels, points = [], []
    for one in maps:
        labels = [subtype.get(patient, "") for patient in one.patient_ids]
        is_test = np.array([patient in test for patient in one.patient_ids])
        alt = f"UMAP of {len(labels)} patients, {one.title}, coloured by subtype."
        panels.append(scatter_panel(f"umap-{one.name}", one.title, one.xy, labels, is_test, styles, alt))
        points.append(_points(one, subtype=labels, test=is_test))
    caption = (
        f"UMAP of the embeddings of fold {evidence.shown_fold} by subtype. Filled: test patients, whom the network "
        "never saw in training; outlines: training and validation patients. Slides + RNA: both embeddings side by "
        "side, each scaled to the same total variance."
    )
    table = pd.concat(points)
    legend = _legend(styles, table["subtype"], NO_SUBTYPE)
    return Figure("umap", caption, tuple(panels), legend, csv_text(table))


def _by_part(evidence: Evidence, maps: Sequence[Map]) -> Figure:
    part_of = evidence.fold.part_of()
    panels, points = [], []
    for one in maps:
        parts = [part_of.get(patient, "") for patient in one.patient_ids]
        filled = np.array([part != "train" for part in parts])
        alt = f"UMAP of {len(parts)} patients, {one.title}, coloured by part of the fold."
        panels.append(scatter_panel(f"umap-part-{one.name}", one.title, one.xy, parts, filled, PART_STYLES, alt))
        points.append(_points(one, part=parts))
    caption = (
        f"The same maps by part of fold {evidence.shown_fold}. Test patients should lie among the training patients; "
        "where they lie apart, the network knows its training patients by heart."
    )
    table = pd.concat(points)
    legend = _legend(PART_STYLES, table["part"], NO_PART)
    return Figure("umap-part", caption, tuple(panels), legend, csv_text(table))


def _aligned(evidence: Evidence, seed: int) -> Figure | Absent:
    """Slide and RNA vectors of the space that they share, in one map."""
    slide, rna = evidence.aligned["slide"], evidence.aligned["rna"]
    ids = (*slide.patient_ids, *rna.patient_ids)
    if len(ids) < LEAST_FOR_UMAP:
        return Absent("UMAP of the shared space", f"It needs at least {LEAST_FOR_UMAP} vectors.")
    values = np.concatenate([slide.values, rna.values]).astype(float)
    xy = project(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), seed)
    sides = ["slide"] * len(slide.patient_ids) + ["RNA"] * len(rna.patient_ids)
    subtype, part_of = evidence.subtype_of, evidence.fold.part_of()
    subtypes, parts = ([of.get(patient, "") for patient in ids] for of in (subtype, part_of))
    is_test = np.array([part == "test" for part in parts])
    not_train = np.array([part != "train" for part in parts])
    styles = class_styles(sorted(set(subtype.values())))
    title = f"{len(ids)} vectors of {len(set(ids))} patients"
    panels = (
        scatter_panel(
            "umap-aligned", "by modality", xy, sides, is_test, SIDE_STYLES, f"UMAP of {title}, coloured by modality."
        ),
        scatter_panel(
            "umap-aligned-subtype", "by subtype", xy, subtypes, is_test, styles, f"The same {title}, by subtype."
        ),
        scatter_panel(
            "umap-aligned-part", "by part", xy, parts, not_train, PART_STYLES, f"The same {title}, by part of the fold."
        ),
    )
    caption = (
        f"UMAP of the space that slides and RNA share in fold {evidence.shown_fold}: every patient's slide and RNA "
        "vectors in one map. Where the two modalities lie apart there is a gap between them, which retrieval can live "
        "with; where they mix, a slide and its RNA look alike to the network. Filled as in the maps above."
    )
    keys = _legend(SIDE_STYLES, sides, ""), _legend(styles, subtypes, NO_SUBTYPE), _legend(PART_STYLES, parts, NO_PART)
    columns = {"modality": sides, "subtype": subtypes, "part": parts, "x": xy[:, 0], "y": xy[:, 1]}
    table = pd.DataFrame({"patient_id": ids, **columns})
    return Figure("umap-aligned", caption, panels, tuple(itertools.chain(*keys)), csv_text(table))


def _points(one: Map, **columns: Sequence | np.ndarray) -> pd.DataFrame:
    names = {"modality": one.name, "patient_id": one.patient_ids}
    return pd.DataFrame({**names, **columns, "x": one.xy[:, 0], "y": one.xy[:, 1]})


def _legend(styles: Styles, labels: Iterable[str], unknown: str) -> tuple[Key, ...]:
    """The styles that some patient has; ``unknown`` names those without a label, if there are any."""
    present = set(labels)
    keys = [Key(name, VARIABLES[colour], GLYPHS[m]) for name, (colour, m) in styles.items() if name in present]
    return (*keys, Key(unknown, "grey", "·")) if "" in present else tuple(keys)
