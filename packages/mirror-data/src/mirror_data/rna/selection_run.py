"""Gene selection for all folds of a split in a store: one fold one unit, over processes, with progress."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mirror_data.errors import BadInput
from mirror_data.failures import list_failures
from mirror_data.ids import check_name
from mirror_data.progress import progress
from mirror_data.rna.selection import SelectionOptions, asked, select_genes
from mirror_data.runner import Result, run_units, usable_cores
from mirror_data.spreadsheet import csv_text
from mirror_data.store import (
    GeneSelection,
    Store,
    open_store,
    read_expression,
    read_genes,
    read_patients,
    read_split,
    schema,
    write_genes,
)
from mirror_data.tables import check_file
from mirror_data.whole import write_whole

_SMALL = 2e7  # cells times eliminations below which processes cost more than they save
_TOLD_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class FoldJob:
    """One unit: the genes of one outer fold."""

    store_url: str
    split: str
    fold: int
    options: SelectionOptions
    overwrite: bool
    threads: int
    device: str
    told: str  # file in which the unit writes the share of its work that is done


@dataclass(frozen=True)
class FoldOutcome:
    """What a unit wrote, or found written."""

    fold: int
    patients: int
    genes: int
    eliminated_to: int
    cancer: int
    kept: int
    score: float
    unmatched: int  # symbols of the cancer list that no gene has
    reused: bool  # it was there already, of equal inputs and parameters


def select_all(
    store: Store,
    split: str,
    options: SelectionOptions,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> list[Result[FoldOutcome]]:
    """Select genes for every fold and commit them; results in the order of the folds, whatever the workers.

    What failed is listed in ``.mirror/failures.jsonl``.

    Raises:
        StoreError: ``MISSING`` if the store lacks expression, patients or the split; ``READ_ONLY``.
        BadInput: ``NOT_FOUND``, ... if the cancer gene list cannot be read.
    """
    began = time.time()
    check_name(options.name, "--name")
    store.files.require_writable()
    if options.cancer_genes is not None:
        check_file(Path(options.cancer_genes))
    folds = len(read_split(store, split).folds)
    shape = store.document(schema.RNA).arrays["X"]["shape"]
    store.document(schema.PATIENTS)
    if workers is None:
        work = float(shape[0]) * shape[1] * (options.folds + 1 + options.resamples)
        workers = 1 if work < _SMALL else min(folds, usable_cores())
    threads = max(1, usable_cores() // workers) if workers > 0 else 1
    with tempfile.TemporaryDirectory(prefix="mirror-genes-") as folder:
        jobs = [
            FoldJob(store.url, split, fold, options, overwrite, threads, device, str(Path(folder) / str(fold)))
            for fold in range(folds)
        ]
        with _shown([Path(job.told) for job in jobs], f"genes of {folds} folds"):
            results = run_units(run_fold, jobs, name=lambda job: f"fold {job.fold}", workers=workers)
    failures = [result.failure for result in results if result.failure is not None]
    return [*results, *list_failures(store.files, failures, began)]


def run_fold(job: FoldJob) -> FoldOutcome:
    """Select and commit the genes of one fold, unless they are there with equal inputs and parameters."""
    store = open_store(job.store_url)
    path = schema.genes(job.options.name, job.fold)
    parents = store.parents(schema.RNA, schema.PATIENTS, schema.split(job.split))
    wanted = asked(job.options, store.document(schema.RNA).attributes["unit"])
    if store.has(path) and not job.overwrite:
        there = store.document(path)
        if there.parents == parents and wanted.items() <= there.attributes["parameters"].items():
            return _outcome(read_genes(store, job.options.name, job.fold), reused=True)
        message = "another selection stands here in the store"
        raise BadInput("EXISTS", message, key=path, hint="use --overwrite to replace it, or another --name")
    last = 0.0

    def watch(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > _TOLD_EVERY:
            last = time.monotonic()
            _say(job, share)

    train = read_split(store, job.split).folds[job.fold].train
    found = select_genes(
        read_expression(store),
        read_patients(store),
        train,
        job.fold,
        job.options,
        watch,
        threads=job.threads,
        device=job.device,
    )
    write_genes(store, found.genes, parents=parents, overwrite=job.overwrite)
    _say(job, 1)
    return _outcome(found.genes, reused=False)


def write_table(path: str | Path, store: Store, name: str, folds: Sequence[int]) -> None:
    """A selection as one CSV: gene, symbol, fold, rank, kept, stability, cancer_gene; by fold, rank and gene.

    Cells that a spreadsheet would take for a formula are quoted by an apostrophe.

    Raises:
        BadInput: ``UNWRITABLE``.
    """
    expression = read_expression(store)
    symbols = dict(zip(expression.gene_ids, expression.symbols, strict=True))
    frames = []
    for found in (read_genes(store, name, fold) for fold in folds):
        kept = set(found.kept)
        frame = pd.DataFrame({"gene": found.gene_ids, "symbol": [symbols.get(gene, "") for gene in found.gene_ids]})
        frame["fold"], frame["rank"] = found.fold, found.ranking
        frame["kept"] = [int(gene in kept) for gene in found.gene_ids]
        frame["stability"] = np.nan if found.stability is None else np.round(found.stability, 4)
        frame["cancer_gene"] = found.cancer
        frame = frame.sort_values(["rank", "gene"], kind="stable")
        frames.append(frame)
    write_whole(Path(path), csv_text(pd.concat(frames)).encode(), "table")


def _outcome(found: GeneSelection, reused: bool) -> FoldOutcome:
    best = found.curve[found.curve["genes"] == found.parameters["eliminated_to"]]
    return FoldOutcome(
        fold=found.fold,
        patients=len(found.fitted_on),
        genes=len(found.gene_ids),
        eliminated_to=int(found.parameters["eliminated_to"]),
        cancer=int(found.cancer.sum()),
        kept=len(found.kept),
        score=float(best["score"].iloc[0]),
        unmatched=len(found.parameters["cancer_symbols_unmatched"]),
        reused=reused,
    )


@contextlib.contextmanager
def _shown(files: Sequence[Path], title: str) -> Iterator[None]:
    """A progress bar in percent of all units, from what they write into their files."""
    stop = threading.Event()

    def follow() -> None:
        told = 0
        with progress(title, 100, "%") as bar:
            while not stop.wait(_TOLD_EVERY):
                now = int(100 * sum(map(_share, files)) / max(len(files), 1))
                if now > told:
                    bar.advance(now - told)
                    told = now
            bar.advance(100 - told)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _say(job: FoldJob, share: float) -> None:
    with contextlib.suppress(OSError):  # a full disk must not cost the work whose progress it is
        Path(job.told).write_text(f"{share:.4f}")


def _share(file: Path) -> float:
    try:
        return float(file.read_text() or 0)
    except (FileNotFoundError, ValueError):  # not begun, or half written
        return 0.0
