"""Does one slide, or one sample, stand under two patients? Contents are compared by the hashes the store keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from mirror_eval.leakage.cohort import Cohort, SlideFacts
from mirror_eval.leakage.parts import SplitParts
from mirror_eval.leakage.people import members
from mirror_eval.leakage.records import Finding, Where

_REMOVE = "find out whose it is, remove the other from the store, and draw folds anew"


def slide_findings(split: SplitParts, cohort: Cohort) -> Iterator[Finding]:
    """Slides with the same features, or made from the same file, under two patients in different parts."""
    if not any(slide.bags or slide.file for slide in cohort.slides):
        what = "the store holds no features and no file hashes to compare" if cohort.slides else "there are no slides"
        yield Finding("slides", "not recorded", what, Where(split.name))
        return
    yield from _judged("slides", "slides", slide_copies(cohort), split)
    yield from _own_copies(cohort, split)


def slide_copies(cohort: Cohort) -> tuple[frozenset[str], ...]:
    """Groups of patients that share a slide: equal features (one tiling and encoder, at least a tile) or one file."""
    holders: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for slide in cohort.slides:
        for key in _contents(slide):
            holders[key].add(slide.patient_id)
    return tuple(sorted({frozenset(group) for group in holders.values() if len(group) > 1}, key=sorted))


def _contents(slide: SlideFacts) -> list[tuple[str, ...]]:
    """What two slides must not have in common."""
    found: list[tuple[str, ...]] = [(bag.tiling, bag.encoder, bag.sha256) for bag in slide.bags if bag.rows]
    return [*found, ("file", slide.file)] if slide.file else found


def _own_copies(cohort: Cohort, split: SplitParts) -> Iterator[Finding]:
    """A slide that one patient has twice: no leak, but it counts twice in that patient's bag."""
    seen: set[tuple] = set()
    repeated: set[str] = set()
    for slide in cohort.slides:
        keys = {(slide.patient_id, *key) for key in _contents(slide)}
        if keys & seen and slide.patient_id in split.everyone:
            repeated.add(slide.slide_id)
        seen |= keys
    if repeated:
        what, do = "slides that one patient has twice", "remove one of them: it counts twice among the patient's tiles"
        yield Finding.of_some("slides", "warning", what, Where(split.name), do, repeated, len(cohort.slides))


def expression_findings(split: SplitParts, cohort: Cohort) -> Iterator[Finding]:
    """Patients with the same expression, value for value, in different parts."""
    if cohort.expression is None:
        yield Finding("expression", "not recorded", "the store holds no expression", Where(split.name))
        return
    holders: dict[str, set[str]] = defaultdict(set)
    for patient, digest in cohort.rows.items():
        holders[digest].add(patient)
    groups = sorted((frozenset(group) for group in holders.values() if len(group) > 1), key=sorted)
    yield from _judged("expression", "rows of expression", groups, split)


def scale_findings(split: SplitParts, cohort: Cohort) -> Iterator[Finding]:
    """Expression that came standardised over all patients carries their means into every fold."""
    if cohort.expression is None:
        return
    unit = cohort.expression.unit
    if "zscore" not in unit.lower().replace("-", ""):
        yield Finding("scale", "ok", f"the unit {unit} is no standardised one", Where(split.name))
        return
    what = (
        "the expression came as z-scores, over patients that the store does not name: test patients likely among them"
    )
    do = "take the table before it was standardised (log2 TPM, counts): scalers are then fitted inside folds"
    yield Finding("scale", "warning", what, Where(split.name), do)


def _judged(kind: str, things: str, groups: Iterable[frozenset[str]], split: SplitParts) -> Iterator[Finding]:
    """Groups of patients who share something: a leak where the parts of a fold come between them."""
    groups = list(groups)
    for fold in split.folds:
        where, everyone = Where(split.name, fold=fold.number), len(fold.everyone)
        apart = [group for group in groups if fold.apart(group)]
        within = [group for group in groups if group not in apart and len(group & fold.everyone) > 1]
        if apart:
            what = f"patients with equal {things} who stand in different parts"
            yield Finding.of_some(kind, "leak", what, where, _REMOVE, members(apart), everyone)
        if within:
            what = f"patients with equal {things} who stand in one part"
            yield Finding.of_some(kind, "warning", what, where, _REMOVE, members(within), everyone)
        if not (apart or within):
            yield Finding(kind, "ok", f"no two patients have equal {things}", where)
