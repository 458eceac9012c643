"""The exact machine against scikit-learn's, and its optimality conditions on anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_data.errors import BadInput
from mirror_data.rna.svm import RESIDUAL, decide, fit, signs
from sklearn.svm import LinearSVC


def gram(X: np.ndarray) -> np.ndarray:
    return X @ X.T + 1


def problem(n: int, p: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    labels = np.argmax(X[:, :classes] + rng.normal(size=(n, classes)), axis=1)
    return X, labels


@pytest.mark.parametrize(("n", "p", "classes"), [(80, 12, 2), (60, 200, 2), (90, 20, 4), (50, 300, 3)])
@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_weights_are_those_of_liblinear(n, p, classes, C):
    X, labels = problem(n, p, classes, seed=n)
    found = fit(gram(X), signs(labels), C)
    peer = LinearSVC(C=C, tol=1e-10, max_iter=1_000_000, dual=True).fit(X, labels)
    assert found.residual < RESIDUAL
    np.testing.assert_allclose(found.beta @ X, peer.coef_, atol=1e-7 * np.abs(peer.coef_).max())
    np.testing.assert_allclose(found.beta.sum(axis=1), peer.intercept_, atol=1e-7)
    assert np.array_equal(decide(found.scores), peer.predict(X))


@given(
    st.integers(2, 30),
    st.integers(1, 40),
    st.floats(-2, 1),
    st.floats(-2, 2),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_every_fit_is_optimal(n, p, log_scale, log_C, repeated, left_out, seed):
    """b_i = 2 C y_i max(0, 1 - y_i f_i) with f from the weights themselves; wherever one begins, the same optimum."""
    rng = np.random.default_rng(seed)
    X, C = rng.normal(size=(n, p)) * 10**log_scale, 10**log_C
    if repeated:
        X[n // 2 :] = X[: n - n // 2]  # equal samples, whose labels may contradict each other
    y = rng.choice([-1.0, 1.0], size=(1, n))
    if left_out:
        y[0, rng.random(n) < 0.3] = 0
    found = fit(gram(X), y, C)
    weights, intercept = found.beta[0] @ X, found.beta[0].sum()
    f = X @ weights + intercept
    scale = 1 + np.abs(X).max() ** 2 * np.abs(found.beta).sum()
    np.testing.assert_allclose(found.scores[0], f, atol=1e-13 * scale)
    np.testing.assert_allclose(found.beta[0], 2 * C * y[0] * np.maximum(0, 1 - y[0] * f), atol=2 * C * 1e-9)
    assert not found.beta[0][y[0] == 0].any()
    again = fit(gram(X), y, C, warm=(rng.random((1, n)) < 0.5) & (y != 0))
    np.testing.assert_allclose(again.scores, found.scores, atol=1e-8 * np.maximum(1, np.abs(found.scores)).max())


def test_samples_left_out_change_nothing_but_are_scored():
    X, labels = problem(60, 10, 3, seed=5)
    among = np.arange(60) < 40
    found = fit(gram(X), signs(labels, among))
    alone = fit(gram(X[:40]), signs(labels[:40]))
    np.testing.assert_allclose(found.beta[:, :40], alone.beta, atol=1e-12)
    peer = LinearSVC(tol=1e-10, max_iter=1_000_000, dual=True).fit(X[:40], labels[:40])
    np.testing.assert_allclose(found.scores[:, 40:].T, peer.decision_function(X[40:]), atol=1e-6)


def test_a_warm_start_saves_work():
    X, labels = problem(200, 50, 2, seed=6)
    cold = fit(gram(X), signs(labels))
    warm = fit(gram(X), signs(labels), warm=cold.active)
    assert warm.solves == 1 < cold.solves
    np.testing.assert_allclose(warm.beta, cold.beta, atol=1e-12)


def test_what_double_precision_cannot_solve_is_an_error_not_a_hang():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(37, 44)) * 1e6
    X[18:] = X[:19]
    with pytest.raises(BadInput, match="BAD_SCALE"):
        fit(gram(X), rng.choice([-1.0, 1.0], size=(1, 37)), 1e6)
    with pytest.raises(BadInput, match="BAD_VALUE"):
        fit(np.full((3, 3), np.nan), np.array([[1.0, -1.0, 1.0]]))


def test_targets():
    labels = np.array([0, 1, 1, 0])
    assert signs(labels).tolist() == [[-1, 1, 1, -1]]
    assert signs(labels, np.array([True, True, False, True])).tolist() == [[-1, 1, 0, -1]]
    assert signs(np.array([0, 1, 2])).tolist() == [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
