"""Genes dropped by bounds and float32 against all weights computed exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_data.rna import least
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.least import Least


def by_all(values: np.ndarray, alive: np.ndarray, beta: np.ndarray, count: int) -> np.ndarray:
    genes = np.flatnonzero(alive)
    sizes = np.linalg.norm(values[genes] @ beta.T, axis=1)
    noise = 1e-13 * np.linalg.norm(values, axis=1).max() * np.linalg.norm(beta)
    border = np.sort(sizes)[count - 1]
    below, equal = genes[sizes < border - noise], genes[np.abs(sizes - border) <= noise]
    return np.sort(np.concatenate([below, equal[: count - len(below)]]))


@given(
    st.integers(80, 400),
    st.integers(1, 3),
    st.sampled_from([1, 2, 30]),
    st.floats(-9, 0),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_the_same_genes_as_by_all_weights(genes, c, count, log_change, copies, told, seed):
    """Whatever the coefficients do from round to round: stay, drift, or jump."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(genes, 20)) * 10 ** rng.uniform(-1, 1, (genes, 1))
    if copies:
        values[genes // 2 :] = values[: genes - genes // 2]
    matrix, alive = GeneMatrix(values), np.ones(genes, dtype=bool)
    finder = Least(matrix, alive)
    beta = rng.normal(size=(c, 20))
    for round_ in range(min(40, genes // count - 1)):
        change = rng.choice([0.0, 10**log_change, 3.0])
        beta = beta + change * rng.normal(size=(c, 20))
        if told and round_ % 7 == 3:
            left = np.flatnonzero(alive)
            finder.know(left, matrix.weights(left, beta), beta)
        found = finder.find(beta, count)
        assert np.array_equal(found, by_all(values, alive, beta, count))
        alive[found] = False


@pytest.mark.parametrize("share", [1, 8])
def test_few_genes_are_read(share, monkeypatch: pytest.MonkeyPatch):
    """Along a slow drift, at most a reading of all in the beginning and then a gene or two a round."""
    rng = np.random.default_rng(0)
    matrix = GeneMatrix(rng.normal(size=(4000, 30)))
    monkeypatch.setattr(least, "_POOLED", share)
    alive = np.ones(4000, dtype=bool)
    finder = Least(matrix, alive)
    asked: list[int] = []
    weights = matrix.weights
    monkeypatch.setattr(matrix, "weights", lambda genes, *more: asked.append(len(genes)) or weights(genes, *more))
    beta = rng.normal(size=(2, 30))
    for _ in range(60):
        alive[finder.find(beta, 1)] = False
        beta = beta + 1e-7 * rng.normal(size=beta.shape)
    assert asked[0] == 4000
    assert sum(asked[1:]) < 120
