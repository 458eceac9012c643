"""One recursive elimination by exact machines on the Gram matrix, against RFE(LinearSVC()) of scikit-learn in one run.

    python benchmarks/genes.py [--genes 5000] [--samples 840] [--step 0.05] [--classes 2] [--exact] [--peer-rounds N]

Synthetic log-expression. Prints seconds and the ratio to ours. --exact also runs LinearSVC(tol=1e-8, max_iter=100000,
dual=True), which is what ours must equal at every round; its default tolerance ends elsewhere. With --peer-rounds only
the first N rounds of each peer are timed and compared with our first N (for 20,000 genes the whole takes minutes).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mirror_data.rna.elimination import EliminationOptions, eliminate, genes_a_round, one_thread
from mirror_data.rna.gene_matrix import GeneMatrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFE
from sklearn.svm import LinearSVC


@dataclass(frozen=True)
class Timed:
    seconds: float
    ranking: np.ndarray


def timed(work: Callable[[], np.ndarray]) -> Timed:
    started = time.perf_counter()
    ranking = work()
    return Timed(time.perf_counter() - started, ranking)


def expression(samples: int, genes: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised (n, g) with correlated genes, of which one in a hundred differs between the classes; labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, samples)
    programmes = rng.normal(size=(samples, 30)) @ rng.normal(size=(30, genes)) / 6
    values = programmes + rng.normal(size=(samples, genes))
    told = rng.choice(genes, max(classes, genes // 100), replace=False)
    values[:, told] += rng.normal(size=(classes, len(told)))[labels] * 0.4
    return (values - values.mean(0)) / values.std(0), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=840)
    parser.add_argument("--step", type=float, default=0.05)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--peer-rounds", type=int)
    given = parser.parse_args()
    values, labels = expression(given.samples, given.genes, given.classes)
    least = 1
    if given.peer_rounds:
        least = max(1, given.genes - given.peer_rounds * genes_a_round(given.step, given.genes))
    step = given.step if given.step < 1 else int(given.step)
    options = EliminationOptions(step=step, min_genes=least)
    warnings.simplefilter("ignore", ConvergenceWarning)

    def ours() -> np.ndarray:
        with one_thread():
            return eliminate(GeneMatrix(values.T), labels, options).ranking(least)

    def peer(machine: LinearSVC) -> np.ndarray:
        return RFE(machine, n_features_to_select=least, step=step).fit(values, labels).ranking_

    results = {
        "mirror_data.rna.elimination": timed(ours),
        "RFE(LinearSVC())": timed(lambda: peer(LinearSVC())),
    }
    if given.exact:
        exact = LinearSVC(tol=1e-8, max_iter=100_000, dual=True)
        results["RFE(LinearSVC(tol=1e-8))"] = timed(lambda: peer(exact))
    mine = results["mirror_data.rna.elimination"]
    print(f"{given.samples} samples, {given.genes} genes down to {least}, step {step}, {given.classes} classes")
    for name, one in results.items():
        equal = "equal at every round" if np.array_equal(one.ranking, mine.ranking) else "another ranking"
        print(f"{name:28s} {one.seconds:8.2f} s  {one.seconds / mine.seconds:6.1f} x  {equal}")


if __name__ == "__main__":
    main()
