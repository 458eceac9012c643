"""The audit: of a store, of one run, of published folds, of a table of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mirror_data.errors import StoreError, some
from mirror_data.ids import to_key
from mirror_data.store import Store, schema

from mirror_eval.leakage.cohort import Cohort, read_cohort
from mirror_eval.leakage.copies import expression_findings, scale_findings, slide_findings
from mirror_eval.leakage.fitted import fitted_findings
from mirror_eval.leakage.parts import SplitParts, published_parts, stored_parts
from mirror_eval.leakage.people import (
    alias_findings,
    patient_findings,
    repeat_findings,
    site_findings,
    unknown_findings,
)
from mirror_eval.leakage.predicted import predicted_findings, read_rows
from mirror_eval.leakage.records import Audit, Finding, Where, make_audit
from mirror_eval.leakage.runs import (
    TrainedFold,
    encoder_findings,
    gene_findings,
    judged_selection,
    prediction_findings,
    split_findings,
    stale_findings,
    trained_folds,
    training_findings,
)
from mirror_eval.leakage.tiles import Sums, tile_finding


def audit_run(store: Store, run: str, *, strict_sites: bool = False, show_ids: bool = False) -> Audit:
    """What concerns one run: its split, and how it was trained. Reads documents, expression and scalers, no tiles.

    Raises:
        StoreError: ``MISSING`` if the store has no such run, ``CORRUPT_STORE``.
    """
    return audit_store(store, run=run, strict_sites=strict_sites, show_ids=show_ids)


def audit_store(
    store: Store,
    *,
    split: str | None = None,
    run: str | None = None,
    checkpoints: str | None = None,
    strict_sites: bool = False,
    show_ids: bool = False,
    deep: bool = False,
) -> Audit:
    """Look for leaks between the parts of every split of a store, and into every run.

    Args:
        split: this split alone, with the runs trained on it.
        run: this run alone, with its split.
        checkpoints: folder of the runs' checkpoints, where they do not lie beside the store.
        strict_sites: a submitting site on both sides is a leak, not a warning.
        show_ids: keep the ids of patients in the findings.
        deep: read every tile, to fit their scaler again, and every checkpoint whole.

    Raises:
        StoreError: ``MISSING`` without such a split or run, or any split; ``CORRUPT_STORE``.
    """
    parts = [stored_parts(store, key) for key in store.keys("splits")]
    splits = {one.name: one for one in parts}
    names = _known(store, splits, split, run)
    cohort = read_cohort(store)
    runs = [folds for name in names if (folds := trained_folds(cohort, name, splits, checkpoints, deep=deep))]
    if split is not None:
        runs = [folds for folds in runs if any(fold.run.split == split for fold in folds)]
    wanted = {fold.run.split for folds in runs for fold in folds} if run is not None else set(splits)
    findings: list[Finding] = []
    for name in sorted(wanted & splits.keys() if split is None else {split}):
        findings += _split_findings(cohort, splits[name], strict_sites)
        findings += _selection_findings(cohort, splits[name]) if run is None else ()
    kept: Sums = {}
    for folds in runs:
        findings += _run_findings(cohort, folds, deep, kept)
    return make_audit(store.url, findings, show_ids=show_ids)


def audit_folds(source: Sequence[str | Path], *, strict_sites: bool = False, show_ids: bool = False) -> Audit:
    """Look for leaks in published folds: a folder of splits_0.csv, splits_1.csv, ..., or one CSV a fold.

    Raises:
        BadInput: as `mirror_data.cohort.splits.read_published`; a leak is no error here.
    """
    split = published_parts(source)
    findings = [*patient_findings(split), *alias_findings(split, None), *repeat_findings(split)]
    findings += site_findings(split, {}, strict=strict_sites)
    return make_audit(split.name, findings, show_ids=show_ids)


def audit_predictions(
    path: str | Path,
    *,
    by: Sequence[str] = (),
    folds: Sequence[str | Path] = (),
    strict_sites: bool = False,
    show_ids: bool = False,
) -> Audit:
    """Look for leaks in a table of predictions, a row a patient (or slide) and fold.

    Args:
        by: columns whose every combination is a table by itself.
        folds: published folds that the table's folds should be.

    Raises:
        BadInput: as `read_rows`, `audit_folds`.
    """
    rows, split = read_rows(path, by), published_parts(folds) if folds else None
    findings = predicted_findings(rows, Path(path).name, split, strict_sites=strict_sites)
    return make_audit(Path(path).name, findings, show_ids=show_ids)


def _known(store: Store, splits: Mapping[str, SplitParts], split: str | None, run: str | None) -> list[str]:
    """Names of the runs to look at, after making sure that there is what was asked for."""
    if not splits:
        hint = "draw folds with `mirror-data split`, or import published ones"
        raise StoreError("MISSING", "the store has no split to audit", file=store.url, key="splits", hint=hint)
    if split is not None and split not in splits:
        expected = f"one of: {some(sorted(splits), 20)}"
        raise StoreError("MISSING", "no such split", file=store.url, key=schema.split(split), expected=expected)
    folders = {key: store.keys(f"runs/{key}") for key in store.files.children("runs")}
    names = {str(store.document(f"runs/{k}/{own[0]}").attributes["name"]): k for k, own in folders.items() if own}
    if run is not None and run not in names:
        expected = f"one of: {some(sorted(names), 20)}" if names else "a trained run"
        hint = "train it with `mirror-model train`"
        message, key = "the store has no such run", f"runs/{to_key(run)}"
        raise StoreError("MISSING", message, file=store.url, key=key, expected=expected, hint=hint)
    return sorted(names) if run is None else [run]


def _split_findings(cohort: Cohort, split: SplitParts, strict_sites: bool) -> Iterator[Finding]:
    yield from patient_findings(split)
    yield from alias_findings(split, cohort)
    yield from unknown_findings(split, cohort)
    yield from repeat_findings(split)
    yield from slide_findings(split, cohort)
    yield from expression_findings(split, cohort)
    yield from site_findings(split, cohort.sites, strict=strict_sites)
    yield from scale_findings(split, cohort)
    old = cohort.replaced(cohort.store.document(schema.split(split.name)).parents)
    if old:
        what, do = "the patients were replaced since the folds were drawn", "look whether the folds still fit them"
        yield Finding("stale", "warning", what, Where(split.name), do)


def _selection_findings(cohort: Cohort, split: SplitParts) -> Iterator[Finding]:
    """Gene selections made for a split, whether a run uses them yet or not."""
    parts = {fold.number: fold for fold in split.folds}
    for name in cohort.store.files.children("genes"):
        for key in cohort.store.keys(f"genes/{name}"):
            document = cohort.store.document(f"genes/{name}/{key}")
            number = document.attributes["fold"]
            if schema.split(split.name) not in document.parents or number not in parts:
                continue
            yield judged_selection(cohort, document.path, parts[number], Where(split.name, fold=number))


def _run_findings(cohort: Cohort, folds: tuple[TrainedFold, ...], deep: bool, kept: Sums) -> Iterator[Finding]:
    """Everything about one run."""
    proven = set()
    for fold in folds:
        for found in fitted_findings(cohort, fold):
            if found.kind == "scaler" and found.severity == "ok" and fold.checkpoint and fold.checkpoint.gene_ids:
                proven.add(fold.run.fold)
            yield found
        yield tile_finding(cohort, fold, deep=deep, kept=kept)
        yield from training_findings(cohort, fold)
        yield from gene_findings(cohort, fold)
        yield from prediction_findings(cohort, fold)
        yield from encoder_findings(fold)
        yield from stale_findings(cohort, fold)
    yield from split_findings(cohort, folds, frozenset(proven))
