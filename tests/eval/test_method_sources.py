"""Methods from runs of a store and from tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Store
from mirror_eval.compare import compare
from mirror_eval.compared import METRICS
from mirror_eval.method_sources import methods_of_runs, methods_of_tables, metric_for
from mirror_eval.prediction_tables import write_table
from mirror_eval.subtype import evaluate_subtype
from mirror_eval.survival import evaluate_survival


def test_rows_of_runs_have_the_values_that_their_evaluation_prints(run_store: Store):
    result = evaluate_subtype(run_store, "planted", resamples=0)
    methods = methods_of_runs(run_store, ["planted", "planted:slide", "planted:rna"], "subtype")
    assert [method.name for method in methods] == ["planted", "planted:slide", "planted:rna"]
    found = compare(methods, "auroc", reference="planted", resamples=0)
    for one, row in zip(found.differences, ("slide", "rna"), strict=True):
        assert one.first_mean == pytest.approx(result.score("both", "auroc").mean)
        assert one.second_mean == pytest.approx(result.score(row, "auroc").mean)
    fitted = {str(c.fold): c.fitted for c in result.counts.folds if c.modality == "rna"}
    assert methods[2].fitted == fitted
    assert found.differences[0].fitted == pytest.approx(np.mean(list(fitted.values())))


def test_a_run_with_embeddings_and_one_with_predictions(run_store: Store):
    """Survival, on the patients of both: the run with predictions has them for everybody."""
    heard = []
    methods = methods_of_runs(run_store, ["planted", "told"], "survival", watch=lambda *done: heard.append(done))
    assert heard == [(1, 2), (2, 2)]
    assert [method.source for method in methods] == [
        "linear model on frozen embeddings, both",
        "its own predictions",
    ]
    found = compare(methods, "c_harrell", resamples=0).differences[0]
    assert (found.patients, found.left_out) == (149, 8)  # 157 with an outcome, 8 without both modalities
    stored = evaluate_survival(run_store, "told", protocol="stored", resamples=0)
    assert len(stored.predictions) == 157
    assert found.tested == 149 / 4
    assert methods_of_runs(run_store, ["told:stored"], "survival")[0].fitted == methods[1].fitted
    assert set(methods[1].fitted.values()) == {117.0, 118.0}


def test_runs_that_are_not_there(run_store: Store):
    for runs, how in ((["planted", "nobody"], "auto"), (["told"], "linear"), (["planted:stored"], "auto")):
        with pytest.raises(StoreError) as raised:
            methods_of_runs(run_store, runs, "subtype", how=how)
        assert raised.value.code == "MISSING"
    with pytest.raises(BadInput) as raised:
        methods_of_runs(run_store, ["slides:rna"], "subtype")
    assert raised.value.code == "BAD_OPTION"
    with pytest.raises(BadInput, match="unknown protocol"):
        methods_of_runs(run_store, ["planted"], "subtype", how="few-shot")


def test_folds_that_only_one_run_has_are_left_out(run_store: Store):
    methods = methods_of_runs(run_store, ["planted:slide", "slides"], "subtype")
    found = compare(methods, "auroc", resamples=20).differences[0]
    assert found.folds == ("0", "1")
    assert found.left_out > 70
    assert found.values == pytest.approx([0, 0], abs=0.05)  # the same embeddings, of a few patients more


def test_tables_written_by_an_evaluation_compare_as_the_runs_do(run_store: Store, tmp_path: Path):
    result = evaluate_subtype(run_store, "planted", resamples=0)
    path = write_table(result.predictions, tmp_path / "planted.csv")
    found = compare(methods_of_tables([path], method_column="modality"), "auroc", reference="both", resamples=0)
    runs = methods_of_runs(run_store, ["planted:both", "planted:slide", "planted:rna"], "subtype")
    expected = compare(runs, "auroc", reference="planted:both", resamples=0)
    by_row = {one.second.rpartition(":")[2]: one for one in expected.differences}
    for one in found.differences:
        assert one.values == pytest.approx(by_row[one.second].values)
        assert one.p_test == pytest.approx(by_row[one.second].p_test, rel=0.02)  # trained on: the other folds' patients


def test_files_name_methods_and_columns_part_them(tmp_path: Path):
    rows = [f"{fold},{p},{m},{r},{t},1" for fold in (0, 1) for m in "xy" for p, r, t in
            ((f"A{fold}", 3, 1), (f"B{fold}", 2, 2), (f"C{fold}", 1, 3))]  # fmt: skip
    for name in ("one.v2.csv", "other.csv"):
        (tmp_path / name).write_text("fold,patient_id,modality,risk,time,event\n" + "\n".join(rows))
    paths = [tmp_path / "one.v2.csv", tmp_path / "other.csv"]
    methods = methods_of_tables(paths, by=["modality"])
    assert [(m.name, m.cohort) for m in methods] == [("one.v2", "x"), ("one.v2", "y"), ("other", "x"), ("other", "y")]
    assert methods[0].fitted == {"0": 3.0, "1": 3.0}
    assert set(methods_of_tables(paths, by=["modality"], fitted=50)[0].fitted.values()) == {50.0}
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "other.csv").write_text((tmp_path / "other.csv").read_text())
    assert len({m.name for m in methods_of_tables([paths[1], folder / "other.csv"], by=["modality"])}) == 2
    for how in ({"method_column": "modality"}, {"by": ["fold"]}, {"by": ["modality", "modality"]}):
        with pytest.raises(BadInput) as raised:
            methods_of_tables(paths, **how)
        assert raised.value.code == "BAD_OPTION"
    with pytest.raises(BadInput) as raised:
        methods_of_tables(paths)  # x and y are two predictions for one patient
    assert raised.value.code == "DUPLICATE"


def test_few_shot_predictions_are_refused(run_store: Store, tmp_path: Path):
    result = evaluate_subtype(run_store, "slides", protocol="few-shot", shots=5, resamples=0)
    path = write_table(result.predictions, tmp_path / "few.csv")
    with pytest.raises(BadInput) as raised:
        methods_of_tables([path, path])
    assert raised.value.code == "DUPLICATE"
    assert "few-shot" in str(raised.value)


def test_metric_and_task():
    assert metric_for("survival", None) == ("c_harrell", "survival")
    assert metric_for("subtype", None) == ("auroc", "subtype")
    assert metric_for(None, "macro_f1") == ("macro_f1", "subtype")
    for task, metric in ((None, None), ("survival", "auroc"), (None, "brier")):
        with pytest.raises(BadInput) as raised:
            metric_for(task, metric)
        assert raised.value.code == "BAD_OPTION"
    assert {one.task for one in METRICS.values()} == {"subtype", "survival"}
