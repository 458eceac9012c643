"""Eliminations equal to scikit-learn's at every round, and what scikit-learn leaves to chance."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.rna import course
from mirror_data.rna.crew import ALONE, crew
from mirror_data.rna.elimination import EliminationOptions, eliminate, genes_a_round, score
from mirror_data.rna.gene_matrix import GeneMatrix, Lens
from mirror_data.rna.svm import signs
from sklearn.feature_selection import RFE
from sklearn.svm import LinearSVC


def synthetic(n: int, genes: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, genes) standardised, and labels that a few genes tell."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, genes)) + rng.normal(size=(n, 1))
    labels = np.argmax(X[:, :classes] * 1.5 + rng.normal(size=(n, classes)), axis=1)
    return (X - X.mean(0)) / X.std(0), labels


def exact_peer() -> LinearSVC:
    return LinearSVC(tol=1e-8, max_iter=100_000, dual=True)


def run(X: np.ndarray, labels: np.ndarray, options: EliminationOptions, threads: int = 1, **more):
    with crew(threads) as hands:
        return eliminate(GeneMatrix(X.T), labels, options, crew=hands, **more)


@pytest.mark.parametrize(
    ("n", "genes", "classes", "step", "least"),
    [(80, 60, 2, 0.05, 1), (60, 150, 2, 0.1, 7), (90, 60, 4, 0.07, 3), (50, 40, 2, 1, 1), (60, 30, 3, 1, 2)],
)
def test_equal_to_scikit_learn_at_every_round(n, genes, classes, step, least):
    X, labels = synthetic(n, genes, classes, seed=genes)
    found = run(X, labels, EliminationOptions(step=step, min_genes=least))
    peer = RFE(exact_peer(), n_features_to_select=least, step=step).fit(X, labels)
    assert np.array_equal(found.ranking(least), peer.ranking_)
    assert found.residual < 1e-9
    for size in found.sizes:  # every round is scikit-learn's elimination to that size
        expected = np.where(peer.ranking_ <= 1 + len(found.sizes) - 1 - found.sizes.index(size), 1, 0)
        assert np.array_equal(found.ranking(size) == 1, expected == 1)


@pytest.mark.parametrize("step", [0.1, 10])
def test_equal_to_scikit_learn_on_real_cohorts(shared, step):
    """Six cancers told apart by the 200 most variable genes of 180 patients."""
    with np.load(shared / "data/rna/rsem_6cohorts_20531.npz") as file:
        rows = np.sort(np.random.default_rng(0).permutation(len(file["X"]))[:180])
        values, cohort = np.log2(file["X"][rows].astype(float) + 1), file["cohort"][rows]
    values = values[:, np.argsort(-values.var(axis=0), kind="stable")[:200]]
    X = (values - values.mean(0)) / values.std(0)
    _, labels = np.unique(cohort, return_inverse=True)
    assert labels.max() == 5
    found = run(X, labels, EliminationOptions(step=step, min_genes=20))
    peer = RFE(exact_peer(), n_features_to_select=20, step=step).fit(X, labels)
    assert np.array_equal(found.ranking(20), peer.ranking_)


@pytest.mark.parametrize("step", [0.1, 1])
def test_a_freer_intercept_is_scikit_learns(step):
    """It decides where one class is rare: fewer of it are taken for the other."""
    rng = np.random.default_rng(7)
    labels = (np.arange(120) % 6 == 0).astype(int)
    X = rng.normal(size=(120, 90)) + 0.5 * labels[:, None] * (np.arange(90) < 9)
    X = (X - X.mean(0)) / X.std(0)
    held = np.arange(120) // 6 % 3 == 0
    options = EliminationOptions(step=step, C=0.1, intercept=30.0)
    found = run(X, labels, options, among=~held, scored=held)
    machine = LinearSVC(C=0.1, intercept_scaling=30.0, tol=1e-8, max_iter=1_000_000, dual=True)
    peer = RFE(machine, n_features_to_select=1, step=step).fit(X[~held], labels[~held])
    assert np.array_equal(found.ranking(1), peer.ranking_)
    assert found.scores[0] == pytest.approx(machine.fit(X[~held], labels[~held]).score(X[held], labels[held]))
    stiff = run(X, labels, EliminationOptions(step=step, C=0.1), among=~held, scored=held)
    assert found.scores[0] != stiff.scores[0]


@pytest.fixture
def rough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 products and readings, as for 200,000 genes, also for a few hundred."""
    monkeypatch.setattr(course, "_FEW_ROUNDS", 0)
    monkeypatch.setattr(course, "_ROUGH", 1)


@pytest.mark.parametrize(("n", "genes", "classes", "step"), [(60, 400, 2, 0.05), (50, 300, 4, 0.1), (40, 200, 2, 1)])
def test_float32_products_end_where_float64_ends(n, genes, classes, step, rough):
    X, labels = synthetic(n, genes, classes, seed=n)
    held = np.arange(n) % 4 == 0
    options = EliminationOptions(step=step)
    found = run(X, labels, options, among=~held, scored=held)
    peer = RFE(exact_peer(), n_features_to_select=1, step=step).fit(X[~held], labels[~held])
    assert np.array_equal(found.ranking(1), peer.ranking_)
    assert found.residual < 1e-11
    for size, scored in zip(found.sizes[::3], found.scores[::3], strict=True):
        left = found.ranking(size) == 1
        machine = exact_peer().fit(X[~held][:, left], labels[~held])
        assert scored == pytest.approx(machine.score(X[held][:, left], labels[held]))


def test_the_residual_is_that_of_the_genes_themselves(rough):
    """Not only that of the rough matrix: b_i = 2 C y_i max(0, 1 - y_i f_i) with f from the genes left."""
    X, labels = synthetic(50, 500, 3, seed=2)
    everyone = np.ones(50, dtype=bool)
    under_way = course.Course(
        GeneMatrix(X.T), labels, course.Machine(), 50, 8, fitted=everyone, scored=None, standardise=False, crew=ALONE
    )
    y = signs(labels)
    alive = np.ones(500, dtype=bool)
    for _ in range(8):
        now = under_way.fit()
        beta = under_way.beta
        f = beta @ X[:, alive] @ X[:, alive].T + beta.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(now.scores, f, atol=1e-11)
        np.testing.assert_allclose(beta, 2 * y * np.maximum(0, 1 - y * f), atol=1e-11)
        alive[under_way.drop(50)] = False


@pytest.mark.parametrize("step", [1, 0.1])
def test_float32_values_and_threads_change_nothing(step):
    """Genes with means and spreads far apart, stored in float32, seen through a lens."""
    rng = np.random.default_rng(3)
    X, labels = synthetic(60, 150, 2, seed=3)
    X = (X * 10 ** rng.uniform(-3, 2, 150) + rng.uniform(-30, 30, 150)).astype(np.float32)
    mean, spread = X.mean(axis=0, dtype=float), X.astype(float).std(axis=0)
    held = np.arange(60) % 3 == 0
    options = EliminationOptions(step=step)
    expected = run((X - mean) / spread, labels, options, among=~held, scored=held)
    lensed = GeneMatrix(np.ascontiguousarray(X.T), Lens(mean, 1 / spread, np.sqrt(60)))
    for threads in (1, 3):
        with crew(threads) as hands:
            found = eliminate(lensed, labels, options, among=~held, scored=held, crew=hands)
        assert np.array_equal(found.dropped_in, expected.dropped_in)
        assert found.scores == expected.scores


def test_ties_go_by_gene_id():
    """Of genes that are copies of each other the first in the order of ids goes first, wherever they stand."""
    X, labels = synthetic(40, 6, 2, seed=1)
    X = np.column_stack([X[:, [0, 1, 2]], X[:, [0, 1, 2]], X[:, [0, 1, 2]], np.zeros((40, 2))])
    found = run(X, labels, EliminationOptions(step=1, min_genes=1))
    assert found.dropped_in[[9, 10]].tolist() == [1, 2]  # genes that do not vary go first of all
    for copies in ([0, 3, 6], [1, 4, 7], [2, 5, 8]):
        rounds = [found.dropped_in[gene] or 99 for gene in copies]
        assert rounds == sorted(rounds)


def test_the_gram_matrix_follows_the_genes_left():
    """A long elimination stays exact: what is left at the end is fitted as if it had been alone."""
    X, labels = synthetic(30, 400, 2, seed=8)
    found = run(X, labels, EliminationOptions(step=1, min_genes=3))
    left = np.flatnonzero(found.dropped_in == 0)
    alone = run(X[:, left], labels, EliminationOptions(min_genes=3))
    assert found.sizes[-1] == alone.sizes[-1] == 3
    held = np.arange(30) % 3 == 0
    scored = run(X, labels, EliminationOptions(step=1, min_genes=3), among=~held, scored=held)
    left = np.flatnonzero(scored.dropped_in == 0)
    peer = exact_peer().fit(X[~held][:, left], labels[~held])
    assert scored.scores[-1] == pytest.approx(peer.score(X[held][:, left], labels[held]))
    assert len(scored.scores) == len(scored.sizes) == 398


def test_step_means_what_it_means_to_scikit_learn():
    assert [genes_a_round(step, 1000) for step in (0.05, 0.0001, 1, 30, 1.0)] == [50, 1, 1, 30, 1]


def test_scores():
    predicted, actual = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert score(predicted, actual, "accuracy") == 0.75
    assert score(predicted, actual, "balanced-accuracy") == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    "wrong", [{"step": 0}, {"step": 1.5}, {"step": -1}, {"min_genes": 0}, {"C": 0.0}, {"intercept": 0.0}]
)
def test_options_are_checked(wrong):
    with pytest.raises(BadInput, match="BAD_OPTION"):
        EliminationOptions(**wrong)
