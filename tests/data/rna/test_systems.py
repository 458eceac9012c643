"""Systems solved with an earlier one's help, against NumPy's solver."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.rna.systems import System, less_outer, times


def direct(K: np.ndarray, right: np.ndarray, active: np.ndarray, ridge: float) -> np.ndarray:
    out = np.zeros(len(K))
    inner = K[np.ix_(active, active)] + ridge * np.eye(np.count_nonzero(active))
    out[active] = np.linalg.solve(inner, right[active])
    return out


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize(("genes", "ridge"), [(300, 0.5), (60, 0.5), (300, 1e-6), (20, 50.0)])
def test_along_an_elimination(one_by_one, genes, ridge):
    """Genes go and samples come and leave, a few or many at once; each solution is the system's own."""
    rng = np.random.default_rng(genes)
    n = 70
    X = rng.normal(size=(genes, n))
    K = np.asfortranarray(X.T @ X + 1)
    system = System(ridge, one_by_one)
    active, beta = np.ones(n, dtype=bool), np.zeros(n)
    for round_ in range(genes - 3):
        right = rng.choice([-1.0, 1.0], size=n)
        beta = system.solve(K, right, active, beta)
        full = np.tril(K) + np.tril(K, -1).T
        expected = direct(full, right, active, ridge)
        np.testing.assert_allclose(beta, expected, atol=1e-8 * np.abs(expected).max())
        assert not beta[~active].any()
        less_outer(K, X[round_])
        system.gene_gone(X[round_])
        flips = rng.choice([0, 1, 2, 30], p=[0.5, 0.3, 0.18, 0.02])
        active = active ^ (rng.permutation(n) < flips)


def test_only_the_lower_triangle_is_read():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 12))
    K = np.asfortranarray(X.T @ X)
    half = np.asfortranarray(np.tril(K) + np.triu(np.full(K.shape, np.nan), 1))
    vector = rng.normal(size=12)
    np.testing.assert_allclose(times(half, vector), K @ vector)
    active = np.arange(12) % 3 > 0
    for one_by_one in (True, False):
        for places in (active, np.ones(12, dtype=bool)):
            found = System(0.5, one_by_one).solve(half, vector, places, np.zeros(12))
            np.testing.assert_allclose(found, direct(K, vector, places, 0.5), atol=1e-12)
    assert not System(0.5, True).solve(half, vector, np.zeros(12, dtype=bool), vector).any()


def test_what_cannot_be_solved_is_an_error():
    everyone = np.ones(3, dtype=bool)
    with pytest.raises(BadInput, match="BAD_SCALE"):
        System(1e-9, False).solve(np.asfortranarray(-np.eye(3)), np.ones(3), everyone, np.zeros(3))
    broken = np.asfortranarray(np.eye(3))
    broken[1, 1] = -np.inf
    with pytest.raises(BadInput, match="BAD_VALUE"):
        System(0.5, True).solve(broken, np.ones(3), everyone, np.zeros(3))
