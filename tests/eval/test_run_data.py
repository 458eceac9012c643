"""Which patients and features of a run are fitted on and tested on."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Store, read_embeddings, read_patients, read_split
from mirror_eval.run_data import committed_folds, load_predictions, load_run


def rows_of(data):
    return {(row.modality, row.fold): row for row in data.rows}


def test_paired_rows_hold_the_same_patients_of_the_right_parts(run_store: Store):
    known = set(read_patients(run_store).subtypes())
    data = load_run(run_store, "planted", known)
    rows = rows_of(data)
    assert [*dict.fromkeys(row.modality for row in data.rows)] == ["slide", "rna", "both"]
    for k, fold in enumerate(read_split(run_store, "four").folds):
        lacking = {f"P{i:03d}" for i in range(10, 18)}
        for modality in ("slide", "rna", "both"):
            row = rows[modality, k]
            assert row.test_ids == tuple(sorted(set(fold.test) & known - lacking))
            assert row.develop_ids == tuple(sorted((set(fold.train) | set(fold.validation)) & known - lacking))
    assert (data.outcome, data.no_outcome, data.one_modality, data.no_embedding) == (155, 5, 7, 1)


def test_features_belong_to_their_patients(run_store: Store):
    data = load_run(run_store, "planted", set(read_patients(run_store).subtypes()))
    row = rows_of(data)["both", 2]
    slide, rna = (read_embeddings(run_store, "planted", 2, modality) for modality in ("slide", "rna"))
    for patient, features in zip(row.test_ids, row.test, strict=True):
        expected = [e.values[e.patient_ids.index(patient)] for e in (slide, rna)]
        np.testing.assert_array_equal(features, np.concatenate(expected).astype(float))


def test_all_rows_hold_whoever_has_what_they_need(run_store: Store):
    known = set(read_patients(run_store).subtypes())
    data = load_run(run_store, "planted", known, "all")
    tested = {m: {p for row in data.rows if row.modality == m for p in row.test_ids} for m in ("slide", "rna", "both")}
    assert {f"P{i:03d}" for i in range(10, 14)} & tested["slide"] == set()
    assert len(tested["slide"]) == 155 - 5
    assert len(tested["rna"]) == 155 - 4
    assert tested["both"] == tested["slide"] & tested["rna"]


def test_null_controls_break_the_link_and_keep_the_patients(run_store: Store):
    row = rows_of(load_run(run_store, "planted", set(read_patients(run_store).subtypes())))["rna", 0]
    shuffled, noise = row.under("shuffled", 0), row.under("random", 0)
    assert row.under("none", 0) is row
    np.testing.assert_array_equal(np.sort(shuffled.develop, axis=0), np.sort(row.develop, axis=0))
    assert (shuffled.develop != row.develop).any()
    np.testing.assert_array_equal(shuffled.test, row.test)
    assert noise.develop.shape == row.develop.shape
    assert noise.test_ids == row.test_ids
    assert abs(np.corrcoef(noise.test[:, 0], row.test[:, 0])[0, 1]) < 0.6


def test_missing_runs_and_embeddings_say_what_to_do(run_store: Store):
    with pytest.raises(StoreError) as raised:
        load_run(run_store, "nobody", {"P001"})
    assert raised.value.code == "MISSING"
    assert "planted, slides, told" in (raised.value.hint or "")
    with pytest.raises(StoreError) as raised:
        load_run(run_store, "told", {"P001"})
    assert raised.value.code == "MISSING"
    assert "mirror-model embed" in (raised.value.hint or "")
    with pytest.raises(StoreError) as raised:
        load_predictions(run_store, "planted", "subtype", {"P001"})
    assert "few-shot" in (raised.value.hint or "")


def test_ids_that_do_not_join_are_counted_not_shown(run_store: Store):
    with pytest.raises(BadInput) as raised:
        load_run(run_store, "planted", {"Q1", "Q2"})
    assert raised.value.code == "NO_OVERLAP"
    assert "159 patients embedded" in (raised.value.got or "")
    assert "Q1" not in str(raised.value)


def test_a_fold_without_test_patients_is_refused(run_store: Store):
    ids = read_split(run_store, "four").folds[0].test
    with pytest.raises(BadInput) as raised:
        load_run(run_store, "planted", set(ids) - {f"P{i:03d}" for i in range(10, 18)})
    assert raised.value.code == "NOT_ESTIMABLE"


def test_stored_predictions_of_the_test_part(run_store: Store):
    known = set(read_patients(run_store).subtypes())
    stored = load_predictions(run_store, "told", "subtype", known)
    folds = committed_folds(run_store, "told")[1]
    assert (stored.outcome, stored.no_outcome, stored.no_prediction) == (155, 5, 0)
    for k, fold in enumerate(folds):
        assert tuple(stored.test[k]["patient_id"]) == tuple(sorted(set(fold.test) & known))
        assert set(stored.develop[k]["patient_id"]) == set(stored.develop_ids[k])
