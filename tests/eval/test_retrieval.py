"""Retrieval between the modalities."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Embeddings, Store, open_store, read_embeddings, read_split, write_embeddings
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


def test_a_runs_own_aligned_vectors_are_compared_where_every_fold_has_them(run_store: Store, tmp_path: Path):
    path = tmp_path / "copy.zarr"
    shutil.copytree(run_store.url, path)
    store, rng = open_store(path), np.random.default_rng(3)
    folds = read_split(store, "four").folds
    for fold in range(4):
        slide = read_embeddings(store, "planted", fold, "slide")
        truth = {patient: rng.normal(size=5) for patient in sorted({p for f in folds for p in f.part_of()})}
        for modality, noise in (("slide", 0.0), ("rna", 0.6)):
            ids = read_embeddings(store, "planted", fold, modality).patient_ids
            values = np.stack([7 * truth[p] + 7 * noise * rng.normal(size=5) for p in ids]).astype(np.float32)
            record = Embeddings("planted", fold, modality, ids, values, aligned=True)
            assert not retrieval(store, "planted", k=5, resamples=10).aligned
            write_embeddings(store, record, parents=store.parents("runs/planted/fold_0"))
            again = read_embeddings(store, "planted", fold, modality, aligned=True)
            assert again.aligned
            np.testing.assert_array_equal(again.values, values)
        assert not read_embeddings(store, "planted", fold, "slide").aligned
        np.testing.assert_array_equal(read_embeddings(store, "planted", fold, "slide").values, slide.values)
    result = retrieval(store, "planted", k=5, resamples=50)
    assert result.aligned
    for one, score in zip(result.folds, result.slide_to_rna.folds, strict=True):
        sides = [read_embeddings(store, "planted", one.fold, m, aligned=True) for m in ("slide", "rna")]
        table = [dict(zip(s.patient_ids, s.values.astype(float), strict=True)) for s in sides]
        ids = sorted(set(folds[one.fold].test) & set(table[0]) & set(table[1]))
        assert one.patient_ids == tuple(ids)
        found = 0
        for patient in ids:
            query = table[0][patient]
            order = sorted(
                ids, key=lambda p: -(query @ table[1][p]) / np.linalg.norm(query) / np.linalg.norm(table[1][p])
            )
            found += patient in order[:5]
        assert score == pytest.approx(found / len(ids))
    assert result.slide_to_rna.mean > 0.5 > 3 * result.chance


def test_wrong_k_is_refused(run_store: Store):
    with pytest.raises(BadInput) as raised:
        retrieval(run_store, "planted", k=0)
    assert raised.value.code == "BAD_OPTION"
