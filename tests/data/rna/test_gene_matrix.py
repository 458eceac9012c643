"""Products, weights and scores of a gene matrix against NumPy on the whole."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.rna import gene_matrix
from mirror_data.rna.crew import crew
from mirror_data.rna.gene_matrix import GeneMatrix, Lens
from mirror_data.rna.standardise import standardise


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_matrix, "_STRIP", 7)
    monkeypatch.setattr(gene_matrix, "_BLOCK", 20)


def example(kind: type, seed: int = 0) -> tuple[GeneMatrix, np.ndarray]:
    """101 genes of 40 samples, some of them with means far from 0 for their spread; and how they are to be seen."""
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(101, 40)) * 10 ** rng.uniform(-3, 3, (101, 1)) + rng.normal(size=(101, 1)) * 9).astype(
        kind
    )
    values[17] = 3.0
    ready = standardise(values.T, None)
    return GeneMatrix.of(ready), ready.values


PLACES = (np.arange(40), np.r_[0:11, 25:40], np.arange(0, 40, 2))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_products_and_weights(kind, threads):
    matrix, seen = example(kind)
    rng = np.random.default_rng(1)
    beta = rng.normal(size=(3, 40))
    with crew(threads) as hands:
        for genes in (np.arange(101), np.sort(rng.permutation(101)[:55]), np.array([17])):
            for places in PLACES:
                expected = seen[genes][:, places].T @ seen[genes][:, places]
                np.testing.assert_allclose(matrix.gram(genes, places, hands), expected, atol=1e-10)
                np.testing.assert_allclose(matrix.gram(genes, places, hands, rough=True), expected, atol=0.02)
                np.testing.assert_allclose(matrix.rows(genes, places), seen[genes][:, places], atol=1e-12)
            weights = seen[genes] @ beta.T
            np.testing.assert_allclose(matrix.weights(genes, beta, hands), weights, atol=1e-11)
            read = matrix.read(genes, beta, hands)
            np.testing.assert_allclose(read.weights, weights, atol=1e-11)
            np.testing.assert_allclose(read.scores, weights.T @ seen[genes], atol=1e-9)
        whole = matrix.whole(PLACES[1], hands)
        np.testing.assert_allclose(whole, matrix.gram(np.arange(101), PLACES[1]), atol=1e-10)
    assert matrix.weights(np.zeros(0, dtype=int), beta).shape == (0, 3)


def test_nothing_is_written_and_nothing_returned_is_overwritten():
    matrix, _ = example(np.float32)
    before = matrix.values.copy()
    first = matrix.rows(np.arange(5), PLACES[0])
    kept = first.copy()
    matrix.rows(np.arange(50, 55), PLACES[0])
    matrix.gram(np.arange(101), PLACES[2])
    matrix.standardised_on(PLACES[1])
    assert np.array_equal(first, kept)
    assert np.array_equal(matrix.values, before)


@pytest.mark.parametrize("places", PLACES)
def test_standardised_on_some(places):
    matrix, _ = example(np.float64)
    values = matrix.values.copy()
    values[5] = 2.0
    values[5, 0] = 9.0  # varies in one sample alone
    inner = np.setdiff1d(places, [0])
    matrix = GeneMatrix(values, Lens(matrix.mean, matrix.scale, matrix.longest))
    there = matrix.standardised_on(inner)
    rows = there.rows(np.arange(101), inner)
    flat = np.isin(np.arange(101), [5, 17])
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-11)
    np.testing.assert_allclose(rows.std(axis=1), np.where(flat, 0, 1), atol=1e-11)
    assert there.longest == pytest.approx(np.sqrt(len(inner)))
    assert not there.weights(np.array([5, 17]), np.ones((1, 40))).any()


def test_as_they_are():
    values = np.random.default_rng(2).normal(size=(30, 12))
    matrix = GeneMatrix(values)
    assert matrix.longest == pytest.approx(np.linalg.norm(values, axis=1).max())
    np.testing.assert_allclose(matrix.gram(np.arange(30), np.arange(12)), values.T @ values)
