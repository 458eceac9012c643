"""Section: what the embeddings look like, and whether slides and RNA of one patient find each other."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from mirror_eval.figures.curves import Line, lines_panel, scores_panel
from mirror_eval.figures.maps import scatter_panel, similarity_panel
from mirror_eval.figures.theme import BLUE, GREY, MODALITY_NAME, ORANGE, VARIABLES, class_styles
from mirror_eval.report.blocks import Absent, Figure, Key, Section, csv_text, number
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.results import RetrievalResult, Score
from mirror_eval.retrieval import recall_at_k

LEAST_FOR_UMAP = 10
GLYPHS = {"o": "●", "^": "▲", "s": "■", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}


def embeddings(evidence: Evidence, seed: int) -> Section:
    """UMAP of slide, RNA and joint embeddings of one fold."""
    lead = (
        "Each patient's slide and expression as the trained network sees them, laid out in two dimensions: patients "
        "that "
        "the network finds alike lie close. Distances between far groups, and the axes themselves, mean nothing."
    )
    return Section("embeddings", "Embeddings", lead, (_umap(evidence, seed),))


def _joint(evidence: Evidence) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Patients and values of the slide, RNA and joint embeddings of the shown fold; joint: both, each at equal "
    "weight."""
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


def _umap(evidence: Evidence, seed: int) -> Figure | Absent:
    usable = {name: found for name, found in _joint(evidence).items() if len(found[0]) >= LEAST_FOR_UMAP}
    if not usable:
        return Absent("UMAP", f"It needs embeddings of at least {LEAST_FOR_UMAP} patients.")
    subtype, test = evidence.subtype_of, set(evidence.fold.test)
    classes = sorted(set(subtype.values()))
    panels, points = [], []
    for name in [m for m in MODALITY_NAME if m in usable]:
        ids, values = usable[name]
        xy = project(values, seed)
        labels = [subtype.get(patient, "") for patient in ids]
        is_test = np.array([patient in test for patient in ids])
        title = MODALITY_NAME[name]
        alt = f"UMAP of {len(ids)} patients, {title}, coloured by subtype."
        panels.append(scatter_panel(f"umap-{name}", title, xy, labels, is_test, classes, alt))
        columns = {"patient_id": ids, "subtype": labels, "test": is_test, "x": xy[:, 0], "y": xy[:, 1]}
        points.append(pd.DataFrame({"modality": name, **columns}))
    legend = [Key(c, VARIABLES[colour], GLYPHS[marker]) for c, (colour, marker) in class_styles(classes).items()]
    if any("" in set(table["subtype"]) for table in points):
        legend.append(Key("subtype not known", "grey"))
    caption = (
        f"UMAP of the embeddings of fold {evidence.shown_fold}. Filled: test patients, whom the network never saw in "
        "training; "
        "outlines: training and validation patients. Joint: both embeddings side by side, each scaled to the same "
        "total variance."
    )
    return Figure("umap", caption, tuple(panels), tuple(legend), csv_text(pd.concat(points)))


def alignment(evidence: Evidence) -> Section:
    """Retrieval across modalities: recall at k against chance, and the similarity matrix of one fold."""
    result = evidence.retrieval
    title = "Alignment of slides and RNA"
    if isinstance(result, Missing):
        return Section("alignment", title, "", (Absent("Cross-modal retrieval", result.reason),))
    mapped = "A linear map between the embeddings is fitted on the training patients"
    how = "The run's own aligned vectors are compared" if result.aligned else mapped
    lead = (
        f"Given a test patient's slide, is that patient's RNA among the {result.k} most similar of the fold, and the "
        f"other way round? {how}; chance is what a random order would reach."
    )
    return Section("alignment", title, lead, (_recall(result), _similarity(result, evidence)))


def _recall(result: RetrievalResult) -> Figure:
    rows = [("slide → RNA", result.slide_to_rna), ("RNA → slide", result.rna_to_slide)]
    told = "; ".join(f"{label} {number(s.mean)} ± {number(s.sd)}" for label, s in rows)
    alt = f"Recall at {result.k}: {told}; chance {number(result.chance)}."
    title = f"recall@{result.k}"
    values = [(label, _defined(s), s.mean, s.low, s.high) for label, s in rows]
    dots = scores_panel("recall", title, values, result.chance, alt)
    curves, points = _recall_curves(result)
    alt = "Recall at every k in both directions, beside chance."
    lines = lines_panel(
        "recall-curve", "recall@k, mean of folds", curves, ("share of the fold's patients looked at", "recall"), alt
    )
    caption = f"Recall at {result.k}: {told}; chance {number(result.chance)}. Small dots: folds; bars: 95 % intervals."
    return Figure("recall", caption, (dots, lines), csv=csv_text(points))


def _defined(score: Score) -> list[float]:
    return [value for value in score.folds if value == value]


def _recall_curves(result: RetrievalResult) -> tuple[list[Line], pd.DataFrame]:
    """Recall against the share of patients looked at, averaged over folds."""
    share = np.linspace(0, 1, 101)
    lines, table = [], {"share_looked_at": share}
    for label, colour, by_rna in (("slide → RNA", BLUE, False), ("RNA → slide", ORANGE, True)):
        folds = []
        for fold in result.folds:
            similarity = fold.similarity.T if by_rna else fold.similarity
            looked = np.floor(share * len(similarity) + 1e-9).astype(int)
            folds.append([recall_at_k(similarity, k) for k in looked])
        table[f"recall {label}"] = np.mean(folds, axis=0)
        lines.append(Line(label, share, table[f"recall {label}"], colour))
    lines.append(Line("chance", share, share, GREY))
    return lines, pd.DataFrame(table)


def _similarity(result: RetrievalResult, evidence: Evidence) -> Figure:
    """The fold with most patients, ordered by subtype."""
    fold = max(result.folds, key=lambda one: (len(one.patient_ids), -one.fold))
    subtype = evidence.subtype_of
    labels = np.array([subtype.get(patient, "unknown") for patient in fold.patient_ids])
    order = np.lexsort([np.array(fold.patient_ids), labels])
    sizes = [(str(name), int((labels == name).sum())) for name in np.unique(labels)]
    matrix = fold.similarity[np.ix_(order, order)]
    alt = f"Similarity of the slides and RNA of {len(order)} test patients of fold {fold.fold}, ordered by subtype."
    panel = similarity_panel("similarity", f"fold {fold.fold}, {len(order)} test patients", matrix, sizes, alt)
    ids = [fold.patient_ids[k] for k in order]
    table = pd.DataFrame(matrix, columns=ids)
    table.insert(0, "slide_of", ids)
    caption = (
        "Similarity of every test patient's slide (rows) to every test patient's RNA (columns). A dark orange "
        "diagonal: a patient's own pair "
        "is closest. Orange blocks on it: what is shared is the subtype."
    )
    return Figure("similarity", caption, (panel,), csv=csv_text(table))
