"""A run of the store as one HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror_data.errors import BadInput, some
from mirror_data.store import Store
from mirror_data.whole import write_whole

from mirror_eval.report.blocks import Absent, Section
from mirror_eval.report.evidence import Evidence
from mirror_eval.report.gather import gather
from mirror_eval.report.page import render
from mirror_eval.report.paper import PAPER_COHORTS, PaperCohort
from mirror_eval.report.sections.alignment import alignment
from mirror_eval.report.sections.attention import attention
from mirror_eval.report.sections.cohort import cohort
from mirror_eval.report.sections.comparison import comparison
from mirror_eval.report.sections.controls import controls as null_controls
from mirror_eval.report.sections.embeddings import embeddings
from mirror_eval.report.sections.genes import genes
from mirror_eval.report.sections.leakage import leakage
from mirror_eval.report.sections.methods import methods
from mirror_eval.report.sections.provenance import provenance
from mirror_eval.report.sections.subtyping import subtyping
from mirror_eval.report.sections.summary import Summary, summary
from mirror_eval.report.sections.survival import survival
from mirror_eval.tile_pictures import slide_files


@dataclass(frozen=True)
class Report:
    """The page, and what stands on it in words."""

    html: str
    summary: Summary
    sections: tuple[str, ...]
    absent: tuple[tuple[str, str], ...]  # what could not be shown, and why


def build_report(
    store: Store,
    run: str,
    *,
    compare: Sequence[str] = (),
    controls: bool = True,
    seed: int = 0,
    resamples: int = 1000,
    paper: str | None = None,
    slides: str | Path | None = None,
) -> Report:
    """Evaluate a run and lay out everything found as one self-contained HTML page.

    Args:
        compare: runs of the store whose scores stand beside; one named "untrained" always does.
        controls: score the run with shuffled outcomes and with random features too.
        seed: of evaluations, bootstrap and UMAP. resamples: bootstrap samples.
        paper: show the figures that the MIRROR paper prints for this cohort beside ours.
        slides: folder of the slide files, to show the tiles with most attention in full resolution.

    Raises:
        StoreError: ``MISSING`` if the store has no such run; ``CORRUPT_STORE``, ``NEWER_FORMAT``.
        BadInput: ``BAD_OPTION`` for an unknown cohort of the paper, no samples, a negative seed, or a run compared with
            itself; ``NOT_FOUND`` or ``EMPTY`` for a folder of slides that is none.
    """
    if paper is not None and paper not in PAPER_COHORTS:
        message = "the paper has no such cohort"
        raise BadInput("BAD_OPTION", message, key="--paper", expected=some(PAPER_COHORTS), got=paper)
    if resamples < 1:
        raise BadInput("BAD_OPTION", "at least one bootstrap sample is needed", key="--resamples", got=resamples)
    if seed < 0:
        raise BadInput("BAD_OPTION", "a seed is not negative", key="--seed", got=seed)
    files = slide_files(slides, store.naming) if slides is not None else None
    found = gather(store, run, compare=compare, controls=controls, seed=seed, resamples=resamples, files=files)
    return lay_out(found, seed, paper)


def lay_out(evidence: Evidence, seed: int, paper: PaperCohort | None) -> Report:
    """The page of what was gathered."""
    sections: tuple[Section, ...] = (
        cohort(evidence),
        subtyping(evidence, paper),
        survival(evidence, paper),
        comparison(evidence),
        null_controls(evidence),
        leakage(evidence),
        embeddings(evidence, seed),
        alignment(evidence),
        genes(evidence),
        attention(evidence),
        methods(evidence, seed),
        provenance(evidence, seed),
    )
    top = summary(evidence)
    absent = tuple((b.what, b.reason) for s in sections for b in s.blocks if isinstance(b, Absent))
    html = render(evidence.store_name, evidence.run, top, sections)
    return Report(html, top, tuple(section.id for section in sections), absent)


def write_report(report: Report, file: str | os.PathLike) -> Path:
    """Write the page; the file appears whole or not at all.

    Raises:
        BadInput: ``BAD_PATH`` for a folder, or a place in a folder that is missing; ``UNWRITABLE``.
    """
    path = Path(file)
    if path.is_dir() or not path.absolute().parent.is_dir():
        message = "this is a folder" if path.is_dir() else "the folder to write to does not exist"
        raise BadInput("BAD_PATH", message, file=path, hint="name a file in a folder that is there")
    write_whole(path, report.html.encode(), "report")
    return path
