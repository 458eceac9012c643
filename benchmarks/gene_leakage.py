"""What choosing genes on everybody does to the accuracy on patients who are then called unseen.

    python benchmarks/gene_leakage.py [--data FOLDER] [--permutations 10] [--sizes 10 50 200]

TCGA LUAD against LUSC, the published folds (train -> val), z-scores clipped to +-10. Genes are chosen by elimination
(step 5 %) down to each size, once on all patients and once on each fold's training patients; on the genes chosen a
logistic regression is fitted on the training patients (standardised by them) and scored on the others. With permuted
labels there is nothing to learn: an honest accuracy is 0.5. Mean over the folds; in brackets the standard deviation
over the folds (true labels) or over the permutations (permuted ones).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mirror_data.rna.crew import crew
from mirror_data.rna.elimination import EliminationOptions, eliminate
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.standardise import standardise
from mirror_data.rna.tables import ExpressionOptions, read_expression_table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CLIP = 10.0


@dataclass(frozen=True)
class Cohort:
    values: np.ndarray  # float32 (n, g)
    labels: np.ndarray  # (n,): 1 = LUSC
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]  # rows of train and val


def lung(data: Path) -> Cohort:
    options = ExpressionOptions(gene_suffix="_rnaseq")
    parts = [
        read_expression_table(data / f"tcga/clinical_rna_{name}.csv.zip", options).expression
        for name in ("luad", "lusc")
    ]
    genes = sorted(set(parts[0].gene_ids) & set(parts[1].gene_ids))
    values = np.concatenate([part.values[:, [part.gene_ids.index(gene) for gene in genes]] for part in parts])
    place = {patient: row for row, patient in enumerate([p for part in parts for p in part.patient_ids])}
    folds = []
    for number in range(5):
        table = pd.read_csv(data / f"splits/tcga_nsclc/splits_{number}.csv")
        named = [[place[patient] for patient in table[part].dropna() if patient in place] for part in ("train", "val")]
        folds.append((np.array(named[0]), np.array(named[1])))
    used = np.unique(np.concatenate([np.concatenate(fold) for fold in folds]))
    folds = [(np.searchsorted(used, train), np.searchsorted(used, val)) for train, val in folds]
    labels = np.repeat([0, 1], [len(part.patient_ids) for part in parts])
    return Cohort(np.clip(values[used], -CLIP, CLIP), labels[used], tuple(folds))


def chosen(cohort: Cohort, labels: np.ndarray, rows: np.ndarray, sizes: list[int], threads: int) -> list[np.ndarray]:
    """Genes (bool) left at each size, chosen on these rows alone."""
    matrix = GeneMatrix.of(standardise(cohort.values, None, rows))
    kept = []
    with crew(threads) as hands:
        for size in sizes:
            options = EliminationOptions(min_genes=size)
            kept.append(eliminate(matrix, labels[rows], options, crew=hands).ranking(size) == 1)
    return kept


def accuracy(cohort: Cohort, labels: np.ndarray, genes: np.ndarray, fold: tuple[np.ndarray, np.ndarray]) -> float:
    train, val = fold
    machine = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    machine.fit(cohort.values[train][:, genes], labels[train])
    return float(machine.score(cohort.values[val][:, genes], labels[val]))


def accuracies(cohort: Cohort, labels: np.ndarray, sizes: list[int], threads: int) -> np.ndarray:
    """(2, sizes, folds): genes chosen on everybody, and inside the fold."""
    everybody = chosen(cohort, labels, np.arange(len(labels)), sizes, threads)
    found = np.empty((2, len(sizes), len(cohort.folds)))
    for number, fold in enumerate(cohort.folds):
        inside = chosen(cohort, labels, fold[0], sizes, threads)
        for k in range(len(sizes)):
            found[0, k, number] = accuracy(cohort, labels, everybody[k], fold)
            found[1, k, number] = accuracy(cohort, labels, inside[k], fold)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--permutations", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    cohort = lung(given.data)
    n, g = cohort.values.shape
    true = accuracies(cohort, cohort.labels, given.sizes, given.threads)
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(cohort.labels) for _ in range(given.permutations)]
    permuted = np.array([accuracies(cohort, labels, given.sizes, given.threads).mean(axis=2) for labels in shuffled])
    print(f"LUAD against LUSC, {n} patients, {g} genes, 5 published folds, {given.permutations} permutations of labels")
    print(
        f"{'genes':>6s} {'labels':>10s} {'chosen on everybody':>22s} {'chosen inside folds':>22s} {'difference':>11s}"
    )
    for k, size in enumerate(given.sizes):
        rows = (
            ("true", true[:, k].mean(axis=1), true[:, k].std(axis=1)),
            ("permuted", permuted[:, :, k].mean(axis=0), permuted[:, :, k].std(axis=0)),
        )
        for name, mean, sd in rows:
            shown = [f"{mean[j]:.3f} ({sd[j]:.3f})" for j in (0, 1)]
            print(f"{size:6d} {name:>10s} {shown[0]:>22s} {shown[1]:>22s} {mean[0] - mean[1]:+11.3f}")


if __name__ == "__main__":
    main()
