"""The subtyping protocol over a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Patients, Predictions, Store, create_store, schema, write_patients, write_predictions
from mirror_eval.subtype import METRICS, evaluate_subtype
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="module")
def linear(run_store: Store):
    return evaluate_subtype(run_store, "planted", resamples=200)


def test_scores_are_those_of_the_predictions(linear):
    assert linear.classes == ("IDC", "ILC")
    assert len(linear.scores) == 3 * len(METRICS)
    for modality in ("slide", "rna", "both"):
        rows = linear.predictions[linear.predictions["modality"] == modality]
        for k, fold in rows.groupby("fold"):
            truth, guess = fold["label"] == "ILC", fold["prob_ILC"] > 0.5
            assert linear.score(modality, "auroc").folds[k] == pytest.approx(roc_auc_score(truth, fold["prob_ILC"]))
            assert linear.score(modality, "accuracy").folds[k] == pytest.approx(accuracy_score(truth, guess))
            expected = f1_score(truth, guess, average="macro")
            assert linear.score(modality, "macro_f1").folds[k] == pytest.approx(expected)
        found = linear.score(modality, "auroc")
        assert found.mean == pytest.approx(np.mean(found.folds))
        assert found.sd == pytest.approx(np.std(found.folds))
        assert found.low < found.mean < found.high


def test_planted_signal_is_found_and_chance_is_not(run_store: Store, linear):
    assert linear.score("both", "auroc").mean > 0.85
    for control in ("shuffled", "random"):
        null = evaluate_subtype(run_store, "planted", control=control, resamples=20)
        assert 0.3 < null.score("both", "auroc").mean < 0.68
        assert null.control == control


def test_probabilities_are_those_of_a_model_fitted_on_development_patients_alone(run_store: Store, linear):
    from mirror_data.store import read_patients
    from mirror_eval.run_data import load_run

    labels = read_patients(run_store).subtypes()
    row = next(r for r in load_run(run_store, "planted", labels).rows if (r.modality, r.fold) == ("rna", 1))
    strength = next(c.strength for c in linear.counts.folds if (c.modality, c.fold) == ("rna", 1))
    scaler = StandardScaler().fit(row.develop)
    label = [labels[patient] for patient in row.develop_ids]
    model = LogisticRegression(C=2 / strength, tol=1e-10, max_iter=5000).fit(scaler.transform(row.develop), label)
    mine = linear.predictions.query("modality == 'rna' and fold == 1")
    assert tuple(mine["patient_id"]) == row.test_ids
    expected = model.predict_proba(scaler.transform(row.test))
    np.testing.assert_allclose(mine[["prob_IDC", "prob_ILC"]].to_numpy(), expected, atol=1e-6)


def test_every_patient_is_tested_once_a_row(linear):
    assert not linear.predictions.duplicated(["patient_id", "modality"]).any()
    counts = linear.counts
    assert (counts.outcome, counts.no_outcome, counts.one_modality, counts.no_embedding) == (155, 5, 7, 1)
    assert len(linear.predictions) == 3 * (155 - 8)
    for one in counts.folds:
        assert one.fitted + one.tested == 147


def test_seeds_decide_everything(run_store: Store, linear):
    again = evaluate_subtype(run_store, "planted", resamples=200)
    pd.testing.assert_frame_equal(again.predictions, linear.predictions)
    assert [s.low for s in again.scores] == pytest.approx([s.low for s in linear.scores], nan_ok=True)


def test_few_shot_repeats_support_sets(run_store: Store):
    result = evaluate_subtype(run_store, "slides", protocol="few-shot", shots=5, resamples=50)
    draws = result.predictions.groupby(["modality", "fold"])["draw"].nunique()
    assert dict(draws) == {("slide", 0): 20, ("slide", 1): 20}
    found = result.score("slide", "auroc")
    assert found.support_sd is not None
    assert found.support_sd > 0
    fold = result.predictions.query("fold == 0")
    each = [roc_auc_score(rows["label"] == "ILC", rows["prob_ILC"]) for _, rows in fold.groupby("draw")]
    assert found.folds[0] == pytest.approx(np.mean(each))
    assert {one.fitted for one in result.counts.folds} == {10}
    assert all(one.strength is None for one in result.counts.folds)
    assert result.counts.folds_of_split == 4


def test_stored_predictions_are_scored_as_they_are(run_store: Store):
    result = evaluate_subtype(run_store, "told", protocol="stored", resamples=50)
    assert {score.modality for score in result.scores} == {"stored"}
    fold = result.predictions.query("fold == 3")
    expected = roc_auc_score(fold["label"] == "ILC", fold["prob_ILC"])
    assert result.score("stored", "auroc").folds[3] == pytest.approx(expected)


def test_three_classes(tmp_path, run_store: Store):
    from mirror_data.store import read_patients

    table = read_patients(run_store).table.copy()
    table.loc[table.index[::3], "subtype"] = "MDLC"
    store = copied(run_store, tmp_path, table)
    result = evaluate_subtype(store, "planted", resamples=20)
    assert result.classes == ("IDC", "ILC", "MDLC")
    np.testing.assert_allclose(result.predictions.filter(like="prob_").sum(axis=1), 1)
    assert 0.4 < result.score("both", "auroc").mean < 0.9


def copied(store: Store, tmp_path, table: pd.DataFrame) -> Store:
    """The store with another table of patients."""
    import shutil

    from mirror_data.store import open_store

    shutil.copytree(store.url, tmp_path / "copy.zarr")
    copy = open_store(tmp_path / "copy.zarr")
    write_patients(copy, Patients(table), overwrite=True)
    return copy


def test_a_class_absent_from_development_is_refused(tmp_path, run_store: Store):
    from mirror_data.store import read_patients, read_split

    table = read_patients(run_store).table.copy()
    only = read_split(run_store, "four").folds[0].test
    table.loc[only[5:7], "subtype"] = "PD"
    with pytest.raises(BadInput) as raised:
        evaluate_subtype(copied(run_store, tmp_path, table), "planted", resamples=5)
    assert raised.value.code == "NOT_ESTIMABLE"
    assert raised.value.key == "fold 0, slide"


def test_one_subtype_is_refused(tmp_path, run_store: Store):
    from mirror_data.store import read_patients

    table = read_patients(run_store).table.assign(subtype="IDC")
    with pytest.raises(BadInput) as raised:
        evaluate_subtype(copied(run_store, tmp_path, table), "planted")
    assert raised.value.code == "NOT_ESTIMABLE"
    assert "--subtype-column" in (raised.value.hint or "")


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(StoreError) as raised:
        evaluate_subtype(create_store(tmp_path / "empty.zarr"), "planted")
    assert raised.value.code == "MISSING"


def test_unknown_protocol_is_refused(run_store: Store):
    with pytest.raises(BadInput) as raised:
        evaluate_subtype(run_store, "planted", protocol="best-epoch")  # type: ignore[arg-type]
    assert raised.value.code == "BAD_OPTION"


def test_stored_predictions_in_the_wrong_part_are_a_leak(tmp_path, run_store: Store):
    from mirror_data.store import open_store, read_patients, read_predictions

    store = copied(run_store, tmp_path, read_patients(run_store).table)
    table = read_predictions(store, "told", 1, "subtype").table
    parents = store.parents(schema.run("told", 1))

    def write(changed: pd.DataFrame) -> None:
        write_predictions(store, Predictions("told", 1, "subtype", changed), parents=parents, overwrite=True)

    write(table.assign(part="test"))
    with pytest.raises(StoreError) as raised:
        evaluate_subtype(open_store(store.url), "told", protocol="stored")
    assert raised.value.code == "MISMATCH"
    write(pd.concat([table, table[:1]]))
    with pytest.raises(BadInput) as raised_twice:
        evaluate_subtype(open_store(store.url), "told", protocol="stored")
    assert raised_twice.value.code == "DUPLICATE"
    write(table.rename(columns={"prob_ILC": "prob_lobular"}))
    with pytest.raises(StoreError) as raised:
        evaluate_subtype(open_store(store.url), "told", protocol="stored")
    assert raised.value.code == "MISMATCH"
