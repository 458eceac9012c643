"""The same products and the same genes through torch; on a GPU where there is one, else on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.rna import course
from mirror_data.rna.crew import crew
from mirror_data.rna.elimination import EliminationOptions
from mirror_data.rna.gene_matrix import GeneMatrix
from mirror_data.rna.resampling import validate
from mirror_data.rna.standardise import standardise

torch = pytest.importorskip("torch")
torch_matrix = pytest.importorskip("mirror_data.rna.torch_matrix")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def cohort(genes: int = 150, n: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    values = rng.normal(size=(n, genes)) * 10 ** rng.uniform(-2, 2, genes) + rng.normal(size=genes) * 5
    values[:, :9] += labels[:, None] * values[:, :9].std(axis=0)
    values[:, 20] = 4.0
    return values.astype(np.float32), labels


@pytest.mark.parametrize("device", DEVICES)
def test_products_are_those_of_numpy(device, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch_matrix, "_BLOCK", 40)
    ready = standardise(cohort()[0], None)
    ours, theirs = torch_matrix.TorchGeneMatrix.on(ready, device), GeneMatrix.of(ready)
    assert ours.longest == theirs.longest
    rng = np.random.default_rng(1)
    beta, some, inner = rng.normal(size=(2, 48)), np.sort(rng.permutation(150)[:95]), np.r_[0:20, 31:48]
    for one, other in ((ours, theirs), (ours.standardised_on(inner), theirs.standardised_on(inner))):
        np.testing.assert_allclose(one.gram(some, inner), other.gram(some, inner), atol=1e-10)
        np.testing.assert_allclose(one.gram(some, inner, rough=True), other.gram(some, inner), atol=0.01)
        np.testing.assert_allclose(one.whole(inner), other.whole(inner), atol=1e-10)
        np.testing.assert_allclose(one.rows(some, inner, np.float32), other.rows(some, inner, np.float32), rtol=1e-6)
        read, expected = one.read(some, beta), other.read(some, beta)
        np.testing.assert_allclose(read.weights, expected.weights, atol=1e-10)
        np.testing.assert_allclose(read.scores, expected.scores, atol=1e-9)
        assert one.weights(some[:0], beta).shape == (0, 2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("step", "rough"), [(0.1, False), (0.1, True), (1, False)])
def test_the_same_genes_are_chosen(device, step, rough, monkeypatch: pytest.MonkeyPatch):
    if rough:
        monkeypatch.setattr(course, "_FEW_ROUNDS", 0)
        monkeypatch.setattr(course, "_ROUGH", 1)
    values, labels = cohort()
    ready = standardise(values, None)
    fold_of = np.arange(48) // 2 % 3
    found = []
    for matrix in (torch_matrix.TorchGeneMatrix.on(ready, device), GeneMatrix.of(ready)):
        with crew(2) as hands:
            found.append(validate(matrix, labels, fold_of, EliminationOptions(step=step), crew=hands))
    one, other = found
    assert np.array_equal(one.everybody.dropped_in, other.everybody.dropped_in)
    assert np.array_equal(one.curve.mean, other.curve.mean)
    assert max(one.curve.residual, one.everybody.residual) < 1e-11


def test_a_device_that_is_none():
    with pytest.raises(BadInput, match="BAD_OPTION"):
        torch_matrix.TorchGeneMatrix.on(standardise(cohort()[0], None), "abacus")
