"""Anybody's table of predictions: is a patient tested who was trained on, or tested twice?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from mirror_data import ids
from mirror_data.cohort.columns import find
from mirror_data.errors import BadInput, some
from mirror_data.tables import open_table, read_strings

from mirror_eval.leakage.parts import FoldParts, SplitParts
from mirror_eval.leakage.people import alias_findings, patient_findings, site_findings
from mirror_eval.leakage.records import Finding, Where
from mirror_eval.prediction_tables import fold_order, is_number

_PARTS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
_ONE_ROW = "one row a patient and fold: average its slides first; several experiments in one table need --by"


def read_rows(path: str | Path, by: Sequence[str] = ()) -> pd.DataFrame:
    """Who is predicted: columns group (the values of ``by``), fold (int), part, name (as the table has it), patient_id,
    again (True for a row that repeats name, fold, modality and draw).

    Without a column ``fold`` all is one fold; without ``part`` (train, validation, test) part is "".

    Raises:
        BadInput: ``BAD_COLUMN``; ``BAD_VALUE`` for an empty cell or an unknown part; or as
            `mirror_data.tables.read_strings`.
    """
    names = open_table(path).names
    patient = find(names, ["patient_id", "case_id", "id", "patient", "slide_id"])
    lacking = [name for name in by if name not in names] or ([] if patient else ["patient_id"])
    if lacking or patient is None:
        message, hint = f"the table has no column {lacking[0]}", "name it as in: fold, patient_id, part"
        raise BadInput("BAD_COLUMN", message, file=path, got=some(names, 12), hint=hint)
    fold, part, modality, draw = (find(names, [name]) for name in ("fold", "part", "modality", "draw"))
    used = [name for name in (*by, fold, part, modality, draw, patient) if name]
    frame = read_strings(path, list(dict.fromkeys(used)))
    cells = pd.DataFrame({name: pd.Series(frame[name].to_list(), dtype=object) for name in frame.columns})
    if empty := int(cells.isna().any(axis=1).sum()):
        hint = "leave such rows out of the table"
        raise BadInput("BAD_VALUE", "a cell is empty", file=path, got=f"{empty} rows", hint=hint)
    table = pd.DataFrame({"group": ["/".join(row) for row in cells[list(by)].to_numpy()]}, index=cells.index)
    told = cells[fold] if fold else pd.Series("0", index=cells.index)
    place = {name: k for k, name in enumerate(sorted(set(told), key=fold_order))}
    table["fold"] = [int(name) if is_number(name) else place[name] for name in told]
    table["part"] = [_part(name, path) for name in cells[part]] if part else ""
    table["name"] = cells[patient].astype(str)
    table["patient_id"] = table["name"].map(ids.patient_id)
    table["again"] = cells.duplicated([name for name in (*by, fold, modality, draw, patient) if name])
    return table


def _part(name: str, path: object) -> str:
    found = _PARTS.get(name.strip().lower())
    if found is None:
        expected = "train, validation or test"
        raise BadInput("BAD_VALUE", "a part is none", file=path, key="part", expected=expected, got=name[:40])
    return found


def predicted_findings(
    rows: pd.DataFrame, subject: str, folds: SplitParts | None, *, strict_sites: bool
) -> Iterator[Finding]:
    """All checks of a table.

    Args:
        rows: as `read_rows`.
        subject: what the table is called.
        folds: published folds that the table's folds should be; None if not known.
    """
    for group, own in rows.groupby("group", sort=True):
        name = str(group) or subject
        if own["part"].any():
            split = _as_split(own, name)
            yield from patient_findings(split)
            yield from alias_findings(split, None)
            yield from site_findings(split, {}, strict=strict_sites)
        elif folds is None:
            what = "the table does not say who was trained on: a column part, or --folds, would"
            yield Finding("training", "not recorded", what, Where(name))
        tested = own[own["part"].isin(["", "test"])]
        yield from _slides_apart(tested, name)
        yield from _repeats(tested, name)
        if folds is not None:
            yield from _against(tested, name, folds)


def _as_split(rows: pd.DataFrame, name: str) -> SplitParts:
    folds = []
    for number, own in rows.groupby("fold", sort=True):
        parts = (frozenset(own["patient_id"][own["part"] == part]) for part in ("train", "validation", "test"))
        folds.append(FoldParts(int(str(number)), *parts))
    return SplitParts(name, tuple(folds))


def _slides_apart(tested: pd.DataFrame, name: str) -> Iterator[Finding]:
    """Patients of whom one slide is tested in one fold and another in another: folds were drawn over slides."""
    slides: dict[str, set[str]] = {}
    here: dict[tuple[str, object], set[str]] = {}
    for patient, fold, slide in zip(tested["patient_id"], tested["fold"], tested["name"], strict=True):
        slides.setdefault(patient, set()).add(slide)
        here.setdefault((patient, fold), set()).add(slide)
    torn = {patient for (patient, _), own in here.items() if own < slides[patient]}
    if torn:
        what = "patients of whom one slide is tested while another, tested in another fold, may be trained on"
        do = "draw folds over patients, not slides (`mirror-data split`), and train again"
        yield Finding.of_some("patients", "leak", what, Where(name), do, torn, len(slides))
    elif any(len(own) > 1 for own in slides.values()):
        yield Finding("patients", "ok", "all slides of a patient are tested together", Where(name), of=len(slides))


def _repeats(tested: pd.DataFrame, name: str) -> Iterator[Finding]:
    """Patients who count more than once: in a fold, or over folds."""
    distinct = tested.drop_duplicates(["fold", "patient_id", "name"])
    within = {
        *distinct["patient_id"][distinct.duplicated(["fold", "patient_id"])],
        *tested["patient_id"][tested["again"]],
    }
    folds = tested.groupby("patient_id")["fold"].nunique()
    over, where = set(map(str, folds.index[folds > 1])), Where(name)
    if within:
        what = "patients with several rows in a fold, scored as if they were several patients"
        yield Finding.of_some("repeats", "warning", what, where, _ONE_ROW, set(map(str, within)), len(folds))
    if over:
        what, do = "patients tested in several folds", "pool such folds by patient; intervals over folds are too narrow"
        yield Finding.of_some("repeats", "warning", what, where, do, over, len(folds))
    if not (within or over):
        yield Finding("repeats", "ok", "everybody is tested once", where, of=len(folds))


def _against(tested: pd.DataFrame, name: str, folds: SplitParts) -> Iterator[Finding]:
    """Are the patients tested in a fold its test patients?"""
    known = {fold.number: fold for fold in folds.folds}
    do = "check that both number the folds alike; a model that trained on a patient must not be scored on it"
    for number, own in tested.groupby("fold", sort=True):
        patients, where = frozenset(map(str, own["patient_id"])), Where(name, fold=int(str(number)))
        fold = known.get(int(str(number)))
        if fold is None:
            yield Finding("predictions", "not checked", f"{folds.name} has no such fold", where, do)
            continue
        wrong, absent = patients & (fold.train | fold.validation), patients - fold.everyone
        if wrong:
            what = f"patients tested who train or validate in {folds.name}"
            yield Finding.of_some("predictions", "leak", what, where, do, wrong, len(patients))
        if absent:
            what = f"patients tested who stand in no part of {folds.name}"
            yield Finding.of_some("predictions", "warning", what, where, do, absent, len(patients))
        if not (wrong or absent):
            yield Finding("predictions", "ok", f"all who are tested are test patients of {folds.name}", where)
