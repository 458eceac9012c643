"""Names that clinical tables use for what we read, and how their cells are spelt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mirror_data.errors import BadInput, some
from mirror_data.ids import check_name, is_barcode
from mirror_data.opaque import AS_THEY_ARE, Naming
from mirror_data.tables import plain_name, words
from mirror_data.units import DAYS_PER_MONTH

PATIENT = words(
    "patient_id case_id bcr_patient_barcode case_submitter_id cases_submitter_id submitter_id patient patientid "
    "patient_barcode patient_identifier sample_id sample"
)
SUBTYPE = words("subtype oncotree_code cancer_subtype histological_subtype label")
COVARIATES = {
    "age": words("age age_at_diagnosis age_at_index age_at_initial_pathologic_diagnosis diagnosis_age"),
    "stage": words("stage tumor_stage ajcc_pathologic_stage ajcc_pathologic_tumor_stage pathologic_stage"),
    "sex": words("sex gender"),
    "is_female": ["is_female"],
}
SITE = words("site tissue_source_site institution center centre")
MISSING_WORDS = frozenset(
    words(
        "[not available]|[not applicable]|[unknown]|[discrepancy]|[not evaluated]|not reported|not available|unknown|"
        "n/a|na|nan|none|null|#n/a|--|'--|.",
        "|",
    )
)
DAYS = {"days": 1.0, "months": DAYS_PER_MONTH, "years": 365.25}
_RESERVED = {"patient_id", "subtype", "time_days", "event", "site", "_index"}  # the last is AnnData's own
ENDPOINTS = ("OS", "DSS", "DFI", "PFI", "PFS", "DFS", "RFS")


@dataclass(frozen=True)
class OutcomeNames:
    """One way of writing an outcome: the time's column and unit, the event's column or the censorship's."""

    time: str
    unit: str  # "days", "months", "years", "" where the name does not say
    event: str | None
    censorship: str | None  # 1 = NO event


@dataclass(frozen=True)
class OutcomeOptions:
    """Which columns hold what; None is found by name. See the command ``outcomes``."""

    patient_column: str | None = None
    time_column: str | None = None
    time_unit: str | None = None  # days, months, years
    event_column: str | None = None
    censorship_column: str | None = None  # 1 = NO event
    endpoint: str | None = None  # OS, DSS, DFI, PFI, ...
    subtype_column: str | None = None
    subtypes: tuple[str, ...] = ()  # the only ones to keep, all if empty
    covariates: tuple[str, ...] | None = None  # COLUMN or NAME=COLUMN; found by name if None
    naming: Naming = AS_THEY_ARE  # what the store calls patients


@dataclass(frozen=True)
class Chosen:
    """The columns that were read."""

    patient: str
    outcome: OutcomeNames | None
    subtype: str | None
    site: str | None
    covariates: tuple[tuple[str, str], ...]  # name in the store, column


def find(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of ``wanted`` (plain names, best first) that a table has, as the table spells it."""
    spelt = {plain_name(name): name for name in reversed(names)}
    return next((spelt[name] for name in wanted if name in spelt), None)


def outcome_candidates(names: Sequence[str], endpoint: str | None) -> list[OutcomeNames]:
    """The outcomes a table holds, best first; only those of ``endpoint`` if one is given."""
    found = []
    if endpoint is None:
        event = find(names, words("event status event_observed dead death deceased vital_status os_status"))
        censorship = find(names, words("censorship censored censor"))
        for unit in DAYS:
            stems = ("time", "survival", "overall_survival", "followup", "follow_up", "survival_time", "futime")
            time = find(names, [f"{stem}_{unit}" for stem in stems])
            if time and (event or censorship):
                found.append(OutcomeNames(time, unit, event, censorship))
        time = find(names, words("time survival_time futime survival"))
        if time and (event or censorship):
            found.append(OutcomeNames(time, "", event, censorship))
    for label in ENDPOINTS if endpoint is None else (endpoint,):
        stem = plain_name(label)
        event = find(names, [f"{stem}_event", f"{stem}_status", stem])
        for time, unit in ((f"{stem}_days", "days"), (f"{stem}_months", "months"), (f"{stem}_time", "days")):
            if event and (spelt := find(names, [time])):
                found.append(OutcomeNames(spelt, unit, event, None))  # OS.time of TCGA-CDR and Xena is in days
    return found


def choose_columns(names: Sequence[str], options: OutcomeOptions, path: object) -> Chosen:
    """The columns to read: those stated, else those found by name.

    Raises:
        BadInput: ``MISSING_COLUMN``, ``BAD_OPTION``.
    """

    def named(column: str | None, option: str) -> str | None:
        if column is not None and column not in names:
            got = some([name for name in names if name and not is_barcode(name)], 12)
            raise BadInput("MISSING_COLUMN", f"the table has no column {column}", file=path, key=option, got=got)
        return column

    patient = named(options.patient_column, "--patient-column") or find(names, PATIENT)
    if patient is None:
        got = some([name for name in names if name and not is_barcode(name)], 12)
        hint = "name it with --patient-column"
        raise BadInput("MISSING_COLUMN", "no column is named like patient ids", file=path, got=got, hint=hint)
    if options.covariates is None:
        pairs = [(name, found) for name, known in COVARIATES.items() if (found := find(names, known))]
    else:
        split = [(given.rpartition("=")[0] or given, given.rpartition("=")[2]) for given in options.covariates]
        pairs = [(name, named(column, "--covariates") or column) for name, column in split]
    reserved = _RESERVED & {name for name, _ in pairs}
    if reserved:
        hint = "give it another name, as in --covariates NAME=COLUMN"
        raise BadInput("BAD_OPTION", f"{some(sorted(reserved))} cannot be a covariate", key="--covariates", hint=hint)
    for name, _ in pairs:
        check_name(name, "--covariates")
    return Chosen(
        patient=patient,
        outcome=_choose_outcome(names, options, named, path),
        subtype=named(options.subtype_column, "--subtype-column") or find(names, SUBTYPE),
        site=find(names, SITE),
        covariates=tuple(pairs),
    )


def _choose_outcome(
    names: Sequence[str], options: OutcomeOptions, named: Callable[[str | None, str], str | None], path: object
) -> OutcomeNames | None:
    if options.event_column and options.censorship_column:
        raise BadInput("BAD_OPTION", "an event column and a censorship column exclude each other", key="--event-column")
    if options.endpoint and options.endpoint.upper() not in ENDPOINTS:
        raise BadInput(
            "BAD_OPTION", "unknown endpoint", key="--endpoint", expected=some(ENDPOINTS, 9), got=options.endpoint
        )
    found = outcome_candidates(names, options.endpoint)
    if options.endpoint and not found:
        hint = "name the columns with --time-column and --event-column"
        raise BadInput(
            "MISSING_COLUMN", "the endpoint's columns are not in the table", file=path, key=options.endpoint, hint=hint
        )
    best = found[0] if found else None
    time = named(options.time_column, "--time-column") or (best.time if best else None)
    event, censorship = (
        named(options.event_column, "--event-column"),
        named(options.censorship_column, "--censorship-column"),
    )
    if event is None and censorship is None and best is not None:
        event, censorship = best.event, best.censorship
    if time is None and event is None and censorship is None:
        return None
    if time is None or (event is None and censorship is None):
        lacking = "--time-column" if time is None else "--event-column or --censorship-column"
        raise BadInput(
            "MISSING_COLUMN", "an outcome needs a time and an event", file=path, hint=f"name it with {lacking}"
        )
    unit = options.time_unit or (best.unit if best and best.time == time else "")
    unit = unit or next((unit for unit in ("days", "months", "years") if unit in time.lower()), "")
    if not unit:
        hint = "say --time-unit days, months or years"
        raise BadInput("BAD_OPTION", "the time's unit is not known", file=path, key=time, hint=hint)
    return OutcomeNames(time, unit, event, censorship)
