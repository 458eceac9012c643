"""Eliminations equal to scikit-learn's at every round, and what scikit-learn leaves to chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_data.errors import BadInput
from mirror_data.rna.elimination import (
    EliminationOptions,
    cross_validate,
    eliminate,
    genes_a_round,
    one_thread,
    score,
    stability,
)
from mirror_data.rna.gene_matrix import GeneMatrix
from sklearn.feature_selection import RFE, RFECV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC


def synthetic(n: int, genes: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, genes) standardised, and labels that a few genes tell."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, genes)) + rng.normal(size=(n, 1))
    labels = np.argmax(X[:, :classes] * 1.5 + rng.normal(size=(n, classes)), axis=1)
    return (X - X.mean(0)) / X.std(0), labels


def exact_peer() -> LinearSVC:
    return LinearSVC(tol=1e-8, max_iter=100_000, dual=True)


def run(X: np.ndarray, labels: np.ndarray, options: EliminationOptions, **more):
    matrix = GeneMatrix(X.T.copy())
    with one_thread():
        return eliminate(matrix, labels, options, **more)


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


def test_cross_validation_is_scikit_learns():
    X, labels = synthetic(80, 40, 3, seed=3)
    inner = StratifiedKFold(4)
    fold_of = np.empty(80, dtype=int)
    for fold, (_, held) in enumerate(inner.split(X, labels)):
        fold_of[held] = fold
    matrix = GeneMatrix(X.T.copy())
    options = EliminationOptions(step=0.1, min_genes=2)
    curve = cross_validate(matrix, labels, fold_of, options, standardise=False)
    peer = RFECV(exact_peer(), step=0.1, min_features_to_select=2, cv=inner).fit(X, labels)
    assert list(curve.sizes) == sorted(peer.cv_results_["n_features"], reverse=True)
    np.testing.assert_allclose(curve.mean[::-1], peer.cv_results_["mean_test_score"])
    np.testing.assert_allclose(curve.sd[::-1], peer.cv_results_["std_test_score"])
    assert curve.best == peer.n_features_
    whole = eliminate(matrix, labels, EliminationOptions(step=0.1, min_genes=2))
    assert np.array_equal(whole.ranking(curve.best), peer.ranking_)


def test_genes_are_standardised_without_the_fold_held_out():
    """As scikit-learn does with the scaler inside the cross-validation."""
    X, labels = synthetic(60, 90, 2, seed=5)
    X[:, 11] = 0
    X[:2, 11] = 5.0  # varies in one fold alone
    fold_of = np.arange(60) % 3
    splits = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(3)]
    curve = cross_validate(GeneMatrix(X.T.copy()), labels, fold_of, EliminationOptions(step=0.1))
    peer = RFECV(
        make_pipeline(StandardScaler(), exact_peer()),
        step=0.1,
        cv=splits,
        importance_getter="named_steps.linearsvc.coef_",
    ).fit(X, labels)
    np.testing.assert_allclose(curve.mean[::-1], peer.cv_results_["mean_test_score"])
    assert curve.best == peer.n_features_


def test_centring_on_those_held_out_would_cost_accuracy():
    """More genes than samples, unequal classes: what was found on TCGA-BRCA, in small."""
    rng = np.random.default_rng(0)
    labels = (np.arange(120) % 6 == 0).astype(int)
    X = rng.normal(size=(120, 600)) + 0.6 * labels[:, None] * (rng.random(600) < 0.05)
    X = (X - X.mean(0)) / X.std(0)
    fold_of = np.arange(120) // 2 % 5
    options = EliminationOptions(step=0.5, min_genes=300)
    inside = cross_validate(GeneMatrix(X.T.copy()), labels, fold_of, options)
    outside = cross_validate(GeneMatrix(X.T.copy()), labels, fold_of, options, standardise=False)
    assert inside.mean[0] > outside.mean[0] + 0.1


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


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_taking_rows_away_loses_none(genes, seed):
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(genes, 3))
    matrix = GeneMatrix(original.copy())
    while matrix.left:
        count = int(rng.integers(1, matrix.left + 1))
        rows = np.sort(rng.choice(matrix.left, count, replace=False))
        expected = set(matrix.order[rows])
        gone = matrix.take_away(rows)
        names = matrix.order[matrix.left : matrix.left + count]
        assert set(names) == expected
        assert list(names) == sorted(names)
        assert np.array_equal(gone, original[names])
        assert np.array_equal(matrix.values, original[matrix.order])
        np.testing.assert_allclose(
            matrix.gram(), original[matrix.order[: matrix.left]].T @ original[matrix.order[: matrix.left]] + 1
        )
    matrix.restore()
    assert sorted(matrix.order) == list(range(genes))


def test_stability_counts_the_resamples_that_keep_a_gene():
    rng = np.random.default_rng(4)
    labels = np.arange(60) % 2
    X = rng.normal(size=(60, 20))
    X[:, 7] += 3 * (2 * labels - 1)
    matrix = GeneMatrix(((X - X.mean(0)) / X.std(0)).T.copy())
    halves = [rng.permutation(60) < 30 for _ in range(8)]
    shares = stability(matrix, labels, halves, 3, EliminationOptions(step=0.1))
    assert shares.dtype == np.float32
    assert shares[7] == 1.0
    assert shares.sum() == pytest.approx(3.0)
    assert set(np.round(shares * 8, 6)) <= set(range(9))


def test_step_means_what_it_means_to_scikit_learn():
    assert [genes_a_round(step, 1000) for step in (0.05, 0.0001, 1, 30, 1.0)] == [50, 1, 1, 30, 1]


def test_scores():
    predicted, actual = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert score(predicted, actual, "accuracy") == 0.75
    assert score(predicted, actual, "balanced-accuracy") == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("wrong", [{"step": 0}, {"step": 1.5}, {"step": -1}, {"min_genes": 0}, {"C": 0.0}])
def test_options_are_checked(wrong):
    with pytest.raises(BadInput, match="BAD_OPTION"):
        EliminationOptions(**wrong)
