"""Exact gene selection against scikit-learn's: every goal as a ratio, in one run.

    python benchmarks/genes.py [--quick] [--only equality speed validation single] [--threads 2] [--data FOLDER]

equality    at every round the genes of RFE with LinearSVC(tol=1e-8, max_iter=100000, dual=True), on three data sets
speed       one elimination of 20,000 genes, 840 samples, step 5 %, against RFE(LinearSVC()) as it comes
validation  RFECV of 198,620 genes, 1,053 samples, step 5 %, five folds: seconds and peak memory
single      one gene at a time from 20,000, with rounds drawn at random checked against LinearSVC(tol=1e-8)

Synthetic log-expression, and real tables in --data (their layout: rna/rsem_6cohorts_20531.npz,
tcga/clinical_rna_luad.csv.zip, tcga/clinical_rna_lusc.csv.zip); without them those lines are left out. --quick takes
smaller sizes and about a minute. Wall and CPU seconds are printed beside each other: on a busy machine believe the CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mirror_data.rna.crew import crew
from mirror_data.rna.elimination import Elimination, EliminationOptions, eliminate
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.resampling import validate
from mirror_data.rna.standardise import standardise
from mirror_data.rna.tables import ExpressionOptions, read_expression_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFE
from sklearn.svm import LinearSVC

SECTIONS = ("equality", "speed", "validation", "single")


@dataclass(frozen=True)
class Timed:
    wall: float
    cpu: float
    result: Any

    def __str__(self) -> str:
        return f"{self.wall:8.2f} s ({self.cpu:.2f} CPU s)"


@dataclass(frozen=True)
class Table:
    name: str
    values: np.ndarray  # (n, g)
    labels: np.ndarray  # (n,)


def timed(work: Callable[..., Any], *given: Any) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*given)
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, result)


def told(goal: str, reached: str, holds: bool | None) -> None:
    verdict = {True: "holds", False: "MISSED", None: ""}[holds]
    print(f"{goal:62s} {reached:48s} {verdict}", flush=True)


def expression(samples: int, genes: int, classes: int = 2) -> Table:
    """Log-expression (n, g), float32: genes of their own mean and spread, 30 programmes, one in a hundred tells."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, samples)
    programmes = rng.normal(size=(30, samples))
    values = np.empty((genes, samples), dtype=np.float32)
    for start in range(0, genes, 4096):
        block = values[start : start + 4096]
        shared = rng.normal(size=(len(block), 30)) @ programmes / 6
        effect = rng.normal(size=(len(block), classes)) * 0.4 * (rng.random((len(block), 1)) < 0.01)
        spread, mean = rng.uniform(0.2, 3, (len(block), 1)), rng.uniform(0, 12, (len(block), 1))
        block[:] = mean + spread * (shared + rng.normal(size=block.shape) + effect[:, labels])
    return Table("synthetic", values.T, labels)


def cohorts(data: Path) -> Table:
    with np.load(data / "rna/rsem_6cohorts_20531.npz") as file:
        values = np.log2(file["X"].astype(np.float64) + 1).astype(np.float32)
        return Table("six cancers", values, np.unique(file["cohort"], return_inverse=True)[1])


def lung(data: Path) -> Table:
    options = ExpressionOptions(gene_suffix="_rnaseq")
    parts = [
        read_expression_table(data / f"tcga/clinical_rna_{name}.csv.zip", options).expression
        for name in ("luad", "lusc")
    ]
    genes = sorted(set(parts[0].gene_ids) & set(parts[1].gene_ids))
    places = [[part.gene_ids.index(gene) for gene in genes] for part in parts]
    values = np.concatenate([part.values[:, place] for part, place in zip(parts, places, strict=True)])
    return Table("TCGA LUAD/LUSC", np.clip(values, -10, 10), np.repeat([0, 1], [len(part.values) for part in parts]))


def variable(table: Table, genes: int) -> Table:
    """The most variable genes alone."""
    chosen = np.argsort(-table.values.var(axis=0), kind="stable")[:genes]
    return Table(table.name, table.values[:, np.sort(chosen)], table.labels)


def scaled(table: Table) -> np.ndarray:
    return np.ascontiguousarray(standardise(table.values, None).values.T)


def exact_peer() -> LinearSVC:
    return LinearSVC(tol=1e-8, max_iter=100_000, dual=True)


def ours(matrix: GeneMatrix, labels: np.ndarray, step: float, threads: int) -> Elimination:
    with crew(threads) as hands:
        return eliminate(matrix, labels, EliminationOptions(step=step), crew=hands)


def theirs(machine: LinearSVC, X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return RFE(machine, n_features_to_select=1, step=0.05).fit(X, labels).ranking_


def real(given: argparse.Namespace) -> Iterator[Table]:
    for read in (cohorts, lung):
        try:
            yield read(given.data)
        except OSError:
            print(f"{read.__name__}: no such table in --data")


def equality(given: argparse.Namespace) -> None:
    synthetic = expression(120, 300 if given.quick else 2000, 3)
    for table in (synthetic, *real(given)):
        table = variable(table, 300) if given.quick else table
        matrix, n, g = GeneMatrix.of(standardise(table.values, None)), *table.values.shape
        mine = timed(ours, matrix, table.labels, 0.05, given.threads)
        peer = timed(theirs, exact_peer(), scaled(table), table.labels)
        same = np.array_equal(mine.result.ranking(1), peer.result)
        what = f"{table.name}, {n} x {g}, {table.labels.max() + 1} classes: equal at every round"
        told(what, f"{'equal' if same else 'DIFFERENT'}, {peer.wall / mine.wall:.0f} x faster", same)


def speed(given: argparse.Namespace) -> None:
    table = expression(840, 1500 if given.quick else 20_000)
    ready = standardise(table.values, None)
    for name, matrix, X, goal in (
        ("as it is", GeneMatrix(table.values.T), table.values.astype(np.float64), 60.0),
        ("standardised", GeneMatrix.of(ready), scaled(table), None),
    ):
        mine = timed(ours, matrix, table.labels, 0.05, given.threads)
        peer = timed(theirs, LinearSVC(), X, table.labels)
        print(f"  ours {mine}, RFE(LinearSVC()) {peer}")
        ratio = peer.wall / mine.wall
        holds = None if goal is None or given.quick else ratio >= goal
        what = f"one elimination, 840 x {X.shape[1]} log-expression {name}"
        told(what + (": at least 60 x" if goal else ""), f"{ratio:.0f} x (CPU {peer.cpu / mine.cpu:.0f} x)", holds)


def validation(given: argparse.Namespace) -> None:
    samples, genes = (300, 20_000) if given.quick else (1053, 198_620)
    # In a process of its own, whose peak memory is that of the work and its input.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, gigabytes = pool.apply(_validated, (samples, genes, given.threads))
    told(f"RFECV, {samples} x {genes}, 5 folds: under 30 s", str(found), None if given.quick else found.wall < 30)
    told("  in under 3 GB", f"{gigabytes:.2f} GB at its peak", None if given.quick else gigabytes < 3)
    told("  every fit exact: residual under 1e-9", f"{found.result:.1e}", found.result < 1e-9)


def _validated(samples: int, genes: int, threads: int) -> tuple[Timed, float]:
    table = expression(samples, genes)
    fold_of = np.sort(np.arange(samples) % 5)

    def work() -> float:
        with crew(threads) as hands:
            matrix = GeneMatrix.of(standardise(table.values, None, crew=hands))
            found = validate(matrix, table.labels, fold_of, EliminationOptions(), crew=hands)
        return max(found.curve.residual, found.everybody.residual)

    return timed(work), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def single(given: argparse.Namespace) -> None:
    table = expression(840, 600 if given.quick else 20_000)
    matrix, X = GeneMatrix.of(standardise(table.values, None)), scaled(table)
    mine = timed(ours, matrix, table.labels, 1, given.threads)
    genes, dropped_in = X.shape[1], mine.result.dropped_in
    goal = f"one gene at a time, 840 x {genes}: under 5 minutes"
    told(goal, str(mine), None if given.quick else mine.wall < 300)
    told("  every fit exact: residual under 1e-9", f"{mine.result.residual:.1e}", mine.result.residual < 1e-9)
    rounds = np.sort(np.random.default_rng(0).choice(np.arange(1, genes), 5 if given.quick else 12, replace=False))
    right = 0
    for round_ in rounds:
        left = np.flatnonzero((dropped_in == 0) | (dropped_in >= round_))
        weights = exact_peer().fit(X[:, left], table.labels).coef_[0]
        right += int(dropped_in[left[np.argmin(weights**2)]] == round_)
    told(
        "  the gene that LinearSVC(tol=1e-8) would drop, in rounds drawn",
        f"{right} of {len(rounds)}",
        right == len(rounds),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run, {given.threads} threads")
    for section in given.only:
        {"equality": equality, "speed": speed, "validation": validation, "single": single}[section](given)


if __name__ == "__main__":
    main()
