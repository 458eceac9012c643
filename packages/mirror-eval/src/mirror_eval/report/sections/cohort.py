"""Section: who is in the cohort, what they have, and who was left out and why."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from mirror_eval.figures.maps import overlap_panel
from mirror_eval.report.blocks import Absent, Block, Cell, Facts, Figure, Section, Table, count, csv_text
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.provenance import flat
from mirror_eval.results import Counts, SubtypeResult, SurvivalResult

SETS = ("slide", "RNA", "subtype", "outcome")


def cohort(evidence: Evidence) -> Section:
    """Who has what, who was left out of each task and why, and the folds."""
    has = membership(evidence)
    lead = (
        f"{count(len(has), 'patient')} known to the store, {count(len(evidence.slides), 'slide')}. A patient who lacks "
        "one modality is used for the other "
        "in training; nothing missing is ever filled in."
    )
    blocks: list[Block] = [_overlap(has)]
    left_out = _left_out(evidence)
    if left_out:
        blocks.append(left_out)
    blocks.append(_folds(evidence))
    if not isinstance(evidence.patients, Missing) and evidence.patients.provenance:
        blocks.append(Facts("How the outcomes were read", flat(evidence.patients.provenance)))
    if not isinstance(evidence.expression, Missing) and evidence.expression.transform:
        blocks.append(Facts("How the expression was read", flat(evidence.expression.transform)))
    return Section("cohort", "Cohort", lead, tuple(blocks))


def membership(evidence: Evidence) -> dict[str, tuple[bool, bool, bool, bool]]:
    """For every patient of the store: has a slide, RNA, a subtype, an outcome."""
    slides = set(evidence.slides.values()) | set(evidence.embedded.get("slide", ()))
    expressed = () if isinstance(evidence.expression, Missing) else evidence.expression.patient_ids
    rna = set(expressed) | set(evidence.embedded.get("rna", ()))
    listed = set() if isinstance(evidence.patients, Missing) else set(evidence.patients.patient_ids)
    subtyped, outcome = set(evidence.subtype_of), set(map(str, evidence.outcomes.index))
    everyone = sorted(listed | slides | rna | subtyped | outcome)
    return {p: (p in slides, p in rna, p in subtyped, p in outcome) for p in everyone}


def _overlap(has: dict[str, tuple[bool, bool, bool, bool]]) -> Figure | Absent:
    if not has:
        return Absent("Who has what", "The store holds no patients.")
    rows = sorted(Counter(has.values()).items(), key=lambda item: (-item[1], item[0]))
    told = "; ".join(f"{_named(combination)}: {number}" for combination, number in rows)
    panel = overlap_panel("who-has-what", SETS, rows, f"Patients by what they have: {told}.")
    frame = pd.DataFrame([(*combination, number) for combination, number in rows], columns=[*SETS, "patients"])
    caption = (
        "Who has what. A filled dot: these patients have it; the bar counts them. Blue: patients who have everything."
    )
    return Figure("who-has-what", caption, (panel,), csv=csv_text(frame))


def _named(combination: tuple[bool, ...]) -> str:
    return " + ".join(name for name, present in zip(SETS, combination, strict=True) if present) or "nothing"


def _left_out(evidence: Evidence) -> Table | None:
    """Patients of the split who were not scored, by reason and task."""
    results: list[tuple[str, Counts]] = []
    for name, result in (("subtyping", evidence.subtype), ("survival", evidence.survival)):
        if isinstance(result, (SubtypeResult, SurvivalResult)):
            results.append((name, result.counts))
    if not results:
        return None
    in_split = {patient for fold in evidence.split.folds for patient in fold.part_of()}
    paired = any(counts.cohort == "paired" for _, counts in results)
    reasons: list[tuple[str, list[int]]] = [
        ("in the split", [len(in_split)] * len(results)),
        ("left out: no label or outcome", [c.no_outcome for _, c in results]),
        ("left out: no embedding at all", [c.no_embedding for _, c in results]),
    ]
    if paired:
        reasons.append(("left out: one modality only", [c.one_modality for _, c in results]))
    kept = [c.outcome - c.no_embedding - (c.one_modality if c.cohort == "paired" else 0) for _, c in results]
    reasons.append(("scored", kept))
    rows = tuple((Cell(name), *(Cell(f"{value:,}", sort=value) for value in values)) for name, values in reasons)
    note = (
        "The three rows of each score table are scored on the same patients, so that they can be compared."
        if paired
        else ""
    )
    frame = pd.DataFrame([(name, *values) for name, values in reasons], columns=["", *(name for name, _ in results)])
    caption = "From the split to the scores, in patients."
    columns = ("", *(name for name, _ in results))
    return Table("left-out", caption, columns, rows, note=note, csv=csv_text(frame), sortable=False)


def _folds(evidence: Evidence) -> Table:
    subtype = evidence.subtype_of
    events = evidence.outcomes["event"]
    died = set(map(str, events.index[events.astype(bool)]))
    rows, frame = [], []
    for number in evidence.folds:
        fold = evidence.split.folds[number]
        mix = Counter(subtype[patient] for patient in fold.test if patient in subtype)
        told = ", ".join(f"{name}: {mix[name]:,}" for name in sorted(mix)) or "–"
        sizes = [len(fold.train), len(fold.validation), len(fold.test)]
        deaths = len(died & set(fold.test))
        rows.append(
            (Cell(f"fold {number}", sort=number), *(Cell(f"{n:,}", sort=n) for n in (*sizes, deaths)), Cell(told))
        )
        frame.append((number, *sizes, deaths, told))
    columns = ("", "train", "validation", "test", "events in test", "subtypes in test")
    csv = csv_text(pd.DataFrame(frame, columns=["fold", "train", "validation", "test", "test_events", "test_subtypes"]))
    return Table(
        "folds", f"The folds of the split “{evidence.split.name}”, in patients.", columns, tuple(rows), csv=csv
    )
