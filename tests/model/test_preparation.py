from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Expression, Store, read_genes, write_genes
from mirror_model.cohort import read_folds
from mirror_model.config import DataConfig
from mirror_model.preparation import Preparation, choose_genes, fit_preparation, load_expression, principal_axes

IDS = tuple(f"P{k}" for k in range(8))
TRAIN = IDS[:6]


def table(values: np.ndarray) -> Expression:
    genes = tuple(f"G{k}" for k in range(values.shape[1]))
    return Expression(IDS, IDS, genes, genes, values.astype(np.float32), "zscore")


def fit(values: np.ndarray, **data: object) -> Preparation:
    expression = table(values)
    return fit_preparation(expression, TRAIN, expression.gene_ids, DataConfig(**data))


def test_training_patients_get_mean_zero_and_sd_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, (8, 4))
    fitted = fit(values, rna_quantile=0)
    out = fitted.expression(table(values))[:6]
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-5)


def test_other_patients_change_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(8, 4))
    changed = values.copy()
    changed[6:] += 100
    one, two = fit(values).tensors(), fit(changed).tensors()
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_outliers_are_cut_and_constant_genes_are_silent() -> None:
    values = np.random.default_rng(0).normal(size=(8, 3))
    values[0, 0], values[7, 0], values[:6, 1] = 4e4, -4e4, 2.0
    fitted = fit(values, rna_quantile=0.2, rna_clip=1.5)
    out = fitted.expression(table(values))
    assert np.abs(out).max() <= 1.5
    assert (out[:, 1] == 0).all()
    assert fitted.high[0] < 4e4


def test_principal_axes_are_those_of_the_training_patients() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 3)) @ rng.normal(size=(3, 20))  # rank 3
    fitted = fit(values, rna_quantile=0)
    axes = principal_axes(fitted, table(values), TRAIN)
    assert axes.shape == (3, 20)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-5)
    seen = fitted.expression(table(values))[:6].astype(np.float64)
    covariance = np.cov(seen.T, bias=True)
    spread = ((seen - seen.mean(0)) @ axes.T).var(0)
    np.testing.assert_allclose(spread, np.linalg.eigvalsh(covariance)[::-1][:3], rtol=1e-4)
    assert (axes[np.arange(3), np.abs(axes).argmax(1)] > 0).all()
    values[6:] += 100
    np.testing.assert_array_equal(principal_axes(fitted, table(values), TRAIN), axes)
    constant = np.ones((8, 4))
    assert len(principal_axes(fit(constant), table(constant), TRAIN)) == 0


def test_it_survives_a_checkpoint() -> None:
    values = np.random.default_rng(0).normal(size=(8, 4))
    fitted = fit(values)
    again = Preparation.from_tensors(fitted.gene_ids, fitted.clip, fitted.tensors())
    np.testing.assert_array_equal(again.expression(table(values)), fitted.expression(table(values)))


def test_two_training_patients_are_needed() -> None:
    expression = table(np.zeros((8, 2)))
    with pytest.raises(BadInput, match="NO_OVERLAP"):
        fit_preparation(expression, ("Q1", "P0"), expression.gene_ids, DataConfig())


def test_genes_of_a_selection_in_the_tables_order(store: Store) -> None:
    expression, fold = load_expression(store), read_folds(store, "main")[0]
    assert choose_genes(store, expression, None, 0, fold) == expression.gene_ids
    assert choose_genes(store, expression, "top", 0, fold) == expression.gene_ids[:20]
    with pytest.raises(StoreError) as missing:
        choose_genes(store, expression, "absent", 0, fold)
    assert missing.value.code == "MISSING"


def test_genes_selected_on_other_patients_are_refused(store: Store) -> None:
    folds, expression = read_folds(store, "main"), load_expression(store)
    selection = read_genes(store, "top", 0)
    leaking = dataclasses.replace(selection, name="leak", fitted_on=(*folds[0].train, folds[0].test[0]))
    write_genes(store, leaking, parents={})
    with pytest.raises(BadInput) as leak:
        choose_genes(store, expression, "leak", 0, folds[0])
    assert leak.value.code == "PATIENT_LEAK"
    assert folds[0].test[0] not in str(leak.value)
