"""Is anybody on both sides of a fold: by id, by a second id, by submitting site?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from mirror_data import ids

from mirror_eval.leakage.cohort import Cohort, site_of
from mirror_eval.leakage.parts import FoldParts, SplitParts
from mirror_eval.leakage.records import Finding, Where

_SHORTEST = 4  # characters of a patient id before a slide that starts with it is taken for that patient's
_DRAW = "draw folds over patients anew with `mirror-data split`; results on this fold cannot be used"
_ONE_ID = "give both ids to one patient (a slides table with slide_id and patient_id), then draw folds anew"
_LOOK = "check whether these are one person; if so give them one id and draw folds anew"
_SITES = "`mirror-data split --group site` keeps sites whole; where sites are shared, say so beside the results"


def patient_findings(split: SplitParts) -> Iterator[Finding]:
    """Patients who stand in more than one part of a fold."""
    for fold in split.folds:
        shared, where = fold.shared(), Where(split.name, fold=fold.number)
        if shared:
            what = "patients in two parts of a fold"
            yield Finding.of_some("patients", "leak", what, where, _DRAW, shared, len(fold.everyone))
        else:
            yield Finding("patients", "ok", "nobody stands in two parts of a fold", where, of=len(fold.everyone))


def repeat_findings(split: SplitParts) -> Iterator[Finding]:
    """Patients tested in more than one fold: no leak, but not independent either."""
    folds = Counter(patient for fold in split.folds for patient in fold.test)
    over = [patient for patient, count in folds.items() if count > 1]
    if over:
        what, do = "patients tested in several folds", "pool such folds by patient; intervals over folds are too narrow"
        yield Finding.of_some("repeats", "warning", what, Where(split.name), do, over, len(folds))
    else:
        yield Finding("repeats", "ok", "nobody is tested in two folds", Where(split.name), of=len(folds))


def unknown_findings(split: SplitParts, cohort: Cohort) -> Iterator[Finding]:
    """Patients of a split of whom the store has nothing."""
    unknown, where, everyone = split.everyone - cohort.known, Where(split.name), len(split.everyone)
    if unknown:
        do = "check that ids agree (`mirror-data info`): nobody can be trained or tested on them"
        what = "patients of whom the store has nothing"
        yield Finding.of_some("unknown", "warning", what, where, do, unknown, everyone)
    else:
        yield Finding("unknown", "ok", "the store has something of every patient", where, of=everyone)


def alias_findings(split: SplitParts, cohort: Cohort | None) -> Iterator[Finding]:
    """People who seem to have two patient ids: what the ids of their slides and samples say, then how ids are spelt."""
    people = own_ids(cohort) if cohort else ()
    alike = spelt_alike(split.everyone | (cohort.known if cohort else frozenset()))
    for fold in split.folds:
        where = Where(split.name, fold=fold.number)
        apart = [group for group in people if fold.apart(group)]
        seem = [group for group in alike if fold.apart(group) and group not in apart]
        within = [group for group in people if group not in apart and len(group & fold.everyone) > 1]
        if apart:
            what = "ids of people whose slides or samples stand under two patients, in different parts"
            yield Finding.of_some("aliases", "leak", what, where, _ONE_ID, members(apart), len(fold.everyone))
        if seem:
            what = "ids in different parts that differ in case, spaces or punctuation alone"
            yield Finding.of_some("aliases", "warning", what, where, _LOOK, members(seem), len(fold.everyone))
        if within:
            what = "ids of people whose slides or samples stand under two patients, in one part"
            yield Finding.of_some("aliases", "warning", what, where, _LOOK, members(within), len(fold.everyone))
        if not (apart or seem or within):
            yield Finding("aliases", "ok", "no two ids seem to be one person", where)


def own_ids(cohort: Cohort) -> tuple[frozenset[str], ...]:
    """Groups of patient ids that the ids of slides and samples say are one person.

    A slide or sample belongs to the patient whose TCGA barcode it starts with; without a barcode, to the longest known
    patient id (of four characters or more) that it starts with, up to a character that is no letter or digit.
    """
    named = [(slide.slide_id, slide.patient_id) for slide in cohort.slides]
    if cohort.expression:
        named += list(zip(cohort.expression.sample_ids, cohort.expression.patient_ids, strict=True))
    groups: dict[str, set[str]] = {}
    for name, patient in named:
        person = _person(name, cohort.known)
        if person is not None:
            groups.setdefault(person, {person} & cohort.known).add(patient)
    return tuple(frozenset(group) for _, group in sorted(groups.items()) if len(group) > 1)


def _person(name: str, known: Collection[str]) -> str | None:
    """The patient that the id of a slide or sample names, None where it names none."""
    if ids.is_barcode(name):
        return ids.patient_id(name)
    ends = [k for k in range(_SHORTEST, len(name) + 1) if k == len(name) or not name[k].isalnum()]
    return next((name[:k] for k in reversed(ends) if name[:k] in known), None)


def spelt_alike(names: Iterable[str]) -> tuple[frozenset[str], ...]:
    """Groups of ids that are equal without case, spaces, punctuation and Unicode's ways of writing one character."""
    groups: dict[str, set[str]] = {}
    for name in names:
        plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
        groups.setdefault(plain or name, set()).add(name)
    return tuple(frozenset(group) for _, group in sorted(groups.items()) if len(group) > 1)


def site_findings(split: SplitParts, sites: Mapping[str, str], *, strict: bool) -> Iterator[Finding]:
    """Test patients whose submitting site is also among the patients that are fitted on (train and validation).

    Slides carry a signature of the laboratory that made them, and outcomes differ between hospitals: a model can score
    by telling sites apart. Source: Howard et al. 2021, doi 10.1038/s41467-021-24698-1.
    """
    for fold in split.folds:
        yield from _fold_sites(Where(split.name, fold=fold.number), fold, sites, strict)


def _fold_sites(where: Where, fold: FoldParts, sites: Mapping[str, str], strict: bool) -> Iterator[Finding]:
    of = {patient: site for patient in fold.everyone if (site := site_of(patient, sites))}
    fitted = {of[patient] for patient in fold.train | fold.validation if patient in of}
    tested = {patient for patient in fold.test if patient in of}
    if not fitted or not tested:
        what, do = "neither barcodes nor a column site tell the sites", "give the clinical table a column site"
        yield Finding("sites", "not recorded", what, where, do)
        return
    shared = {of[patient] for patient in tested} & fitted
    seen = {patient for patient in tested if of[patient] in shared}
    if shared:
        severity = "leak" if strict else "warning"
        what = "test patients of a site that is trained on as well"
        yield Finding.of_some("sites", severity, what, where, _SITES, seen, len(tested))
        yield Finding.of_some("sites", severity, "sites on both sides", where, _SITES, shared, len({*of.values()}))
    else:
        yield Finding("sites", "ok", "no site is trained and tested on", where, of=len({*of.values()}))
    if lacking := fold.everyone - of.keys():
        what, do = "patients whose site is not known", "give the clinical table a column site"
        yield Finding.of_some("sites", "not recorded", what, where, do, lacking, len(fold.everyone))


def members(groups: Iterable[Collection[str]]) -> frozenset[str]:
    """Everybody of some groups."""
    return frozenset(patient for group in groups for patient in group)
