"""Retrieval between the modalities."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Store
from mirror_eval.retrieval import fit_ridge_map, hits, recall_at_k, retrieval


def test_recall_by_hand():
    similarity = np.array([[0.9, 0.1, 0.0], [0.8, 0.7, 0.1], [0.5, 0.8, 0.3]])
    np.testing.assert_array_equal(hits(similarity, 1), [1, 0, 0])
    np.testing.assert_array_equal(hits(similarity, 2), [1, 1, 0])
    assert recall_at_k(similarity, 3) == 1.0
    np.testing.assert_array_equal(hits(similarity.T, 1), [1, 0, 1])
    assert recall_at_k(similarity.T, 1) == pytest.approx(2 / 3)


def test_equal_similarities_do_not_count_as_found():
    assert recall_at_k(np.zeros((5, 5)), 4) == 0.0
    assert recall_at_k(np.zeros((5, 5)), 5) == 1.0


def test_a_linear_relation_is_recovered():
    rng = np.random.default_rng(0)
    slide = rng.normal(size=(300, 12))
    rna = slide @ rng.normal(size=(12, 30)) + 0.1 * rng.normal(size=(300, 30)) + 5.0
    fitted = fit_ridge_map(slide[:200], rna[:200], 1, 12, 0)
    similarity = fitted.similarity(slide[200:], rna[200:])
    assert recall_at_k(similarity, 1) > 0.95
    assert np.abs(similarity).max() <= 1 + 1e-9
    noise = fit_ridge_map(rng.normal(size=(200, 12)), rna[:200], 10, 12, 0).similarity(slide[200:], rna[200:])
    assert recall_at_k(noise, 10) < 0.3


def test_target_components_are_white():
    rng = np.random.default_rng(1)
    rna = rng.normal(size=(80, 20)) * np.linspace(0.1, 5, 20)
    fitted = fit_ridge_map(rng.normal(size=(80, 3)), rna, 5, 6, 0)
    white = fitted.rna.apply(rna) @ fitted.whitener
    np.testing.assert_allclose(white.T @ white / 80, np.eye(6), atol=1e-9)


def test_a_run(run_store: Store):
    result = retrieval(run_store, "planted", k=5, resamples=100)
    sizes = [len(one.patient_ids) for one in result.folds]
    assert sum(sizes) == 160 - 8
    assert result.chance == pytest.approx(np.mean([5 / n for n in sizes]))
    for one, forth, back in zip(result.folds, result.slide_to_rna.folds, result.rna_to_slide.folds, strict=True):
        assert forth == pytest.approx(recall_at_k(one.similarity, 5))
        assert back == pytest.approx(recall_at_k(one.similarity.T, 5))
    assert result.slide_to_rna.low <= result.slide_to_rna.mean <= result.slide_to_rna.high


def test_wrong_k_is_refused(run_store: Store):
    with pytest.raises(BadInput) as raised:
        retrieval(run_store, "planted", k=0)
    assert raised.value.code == "BAD_OPTION"
