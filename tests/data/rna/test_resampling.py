"""Cross-validation as scikit-learn's RFECV does it, and stability selection."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.rna.crew import crew
from mirror_data.rna.elimination import EliminationOptions, eliminate
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.resampling import stability, validate
from sklearn.feature_selection import RFECV
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


def test_cross_validation_is_scikit_learns():
    X, labels = synthetic(80, 40, 3, seed=3)
    inner = StratifiedKFold(4)
    fold_of = np.empty(80, dtype=int)
    for fold, (_, held) in enumerate(inner.split(X, labels)):
        fold_of[held] = fold
    matrix = GeneMatrix(X.T)
    options = EliminationOptions(step=0.1, min_genes=2)
    found = validate(matrix, labels, fold_of, options, standardise=False)
    curve = found.curve
    peer = RFECV(exact_peer(), step=0.1, min_features_to_select=2, cv=inner).fit(X, labels)
    assert list(curve.sizes) == sorted(peer.cv_results_["n_features"], reverse=True)
    np.testing.assert_allclose(curve.mean[::-1], peer.cv_results_["mean_test_score"])
    np.testing.assert_allclose(curve.sd[::-1], peer.cv_results_["std_test_score"])
    assert curve.best == peer.n_features_
    assert np.array_equal(found.everybody.ranking(curve.best), peer.ranking_)
    alone = eliminate(matrix, labels, options)
    assert np.array_equal(found.everybody.dropped_in, alone.dropped_in)


def test_genes_are_standardised_without_the_fold_held_out():
    """As scikit-learn does with the scaler inside the cross-validation."""
    X, labels = synthetic(60, 90, 2, seed=5)
    X[:, 11] = 0
    X[:2, 11] = 5.0  # varies in one fold alone
    fold_of = np.arange(60) % 3
    splits = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(3)]
    curve = validate(GeneMatrix(X.T), labels, fold_of, EliminationOptions(step=0.1)).curve
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
    inside = validate(GeneMatrix(X.T), labels, fold_of, options).curve
    outside = validate(GeneMatrix(X.T), labels, fold_of, options, standardise=False).curve
    assert inside.mean[0] > outside.mean[0] + 0.1


@pytest.mark.parametrize("step", [1, 0.1])
def test_threads_change_no_bit_and_progress_rises(step):
    X, labels = synthetic(50, 120, 2, seed=6)
    fold_of = np.arange(50) % 4
    halves = [np.arange(50) % 2 == k for k in (0, 1)]
    results = []
    for threads in (1, 3):
        matrix, told = GeneMatrix(X.T.astype(np.float32)), []
        with crew(threads) as hands:
            how = EliminationOptions(step=step)
            found = validate(matrix, labels, fold_of, how, crew=hands, watch=told.append)
            shares = stability(matrix, labels, halves, 5, how, crew=hands)
        assert told == sorted(told)
        assert told[-1] == pytest.approx(1 - 1 / 120)  # one gene is left of each elimination
        results.append((found, shares))
    (one, one_shares), (other, other_shares) = results
    assert np.array_equal(one.everybody.dropped_in, other.everybody.dropped_in)
    assert one.everybody.residual == other.everybody.residual
    assert np.array_equal(one.curve.mean, other.curve.mean)
    assert np.array_equal(one_shares, other_shares)


def test_stability_counts_the_resamples_that_keep_a_gene():
    rng = np.random.default_rng(4)
    labels = np.arange(60) % 2
    X = rng.normal(size=(60, 20))
    X[:, 7] += 3 * (2 * labels - 1)
    matrix = GeneMatrix(((X - X.mean(0)) / X.std(0)).T)
    halves = [rng.permutation(60) < 30 for _ in range(8)]
    shares = stability(matrix, labels, halves, 3, EliminationOptions(step=0.1))
    assert shares.dtype == np.float32
    assert shares[7] == 1.0
    assert shares.sum() == pytest.approx(3.0)
    assert set(np.round(shares * 8, 6)) <= set(range(9))
