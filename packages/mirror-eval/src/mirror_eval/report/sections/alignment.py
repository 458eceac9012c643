"""Section: whether slides and RNA of one patient find each other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror_eval.figures.curves import Line, lines_panel, scores_panel
from mirror_eval.figures.maps import similarity_panel
from mirror_eval.figures.theme import BLUE, GREY, VERMILION
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Section, Table, csv_text, number, score_cell
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.scores import scores_csv
from mirror_eval.results import RetrievalResult, Score
from mirror_eval.retrieval import recall_at_k


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
    return Section("alignment", title, lead, _blocks(result, evidence))


def _blocks(result: RetrievalResult, evidence: Evidence) -> tuple[Block, ...]:
    return (_recall(result), *_beside(result, evidence), _similarity(result, evidence))


def _beside(result: RetrievalResult, evidence: Evidence) -> tuple[Table, ...]:
    """Recall of the run and of those beside it that can be asked; nothing where there is no other."""
    others = [one.retrieval for one in evidence.others if not isinstance(one.retrieval, Missing)]
    if not others:
        return ()
    rows = tuple(
        (
            Cell(one.run, "its own aligned vectors" if one.aligned else "a linear map between its embeddings"),
            score_cell(one.slide_to_rna),
            score_cell(one.rna_to_slide),
            Cell(number(one.chance), sort=one.chance),
        )
        for one in (result, *others)
    )
    left_out = [one.run for one in evidence.others if isinstance(one.retrieval, Missing)]
    note = f"Not shown, without embeddings of both modalities: {', '.join(left_out)}." if left_out else ""
    headings = ("", "slide → RNA", "RNA → slide", "chance")
    csv = scores_csv({one.run: (one.slide_to_rna, one.rna_to_slide) for one in (result, *others)})
    return (Table("retrieval-scores", f"Recall at {result.k} beside other runs.", headings, rows, note=note, csv=csv),)


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
    for label, colour, by_rna in (("slide → RNA", BLUE, False), ("RNA → slide", VERMILION, True)):
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
