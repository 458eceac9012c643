"""The audit: a clean cohort is clean, each kind of leak planted in it is found, and nothing unknown is called ok."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import (
    Fold,
    Patients,
    Split,
    Store,
    open_store,
    read_expression,
    read_features,
    read_patients,
    schema,
    write_patients,
    write_run,
    write_split,
)
from mirror_eval.leakage import Audit, Finding, audit_folds, audit_predictions, audit_run, audit_store
from mirror_eval.leakage.people import spelt_alike

from tests.eval import audit_store as made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "clean.zarr"
    made.clean_store(path)
    return path


@pytest.fixture
def store(written: Path, tmp_path: Path) -> Store:
    """A clean cohort of one's own."""
    shutil.copytree(written, tmp_path / "cohort.zarr")
    return open_store(tmp_path / "cohort.zarr")


def of_kind(audit: Audit, kind: str) -> list[Finding]:
    return [found for found in audit.findings if found.kind == kind]


def test_a_clean_cohort_is_clean(store: Store):
    audit = audit_store(store, strict_sites=True)
    assert audit.clean
    assert audit.warnings == ()
    states = {check.kind: check.severity for check in audit.checks() if check.where.run == "told"}
    unproven = {"scaler": "not checked", "labels": "not checked", "training": "not recorded", "encoder": "not recorded"}
    assert states == {**dict.fromkeys(("split", "genes", "tiles", "predictions", "stale"), "ok"), **unproven}
    of_split = {check.kind: check.severity for check in audit.checks() if not check.where.run}
    kinds = ("patients", "aliases", "unknown", "slides", "expression", "sites", "scale", "repeats", "genes")
    assert of_split == dict.fromkeys(kinds, "ok")


def plant_patients(store: Store) -> None:
    rows = [(0, "train", p) for p in made.TRAIN] + [(0, "validation", p) for p in made.VALIDATION]
    rows += [(0, "test", p) for p in (*made.TEST, *made.TRAIN[:2], made.VALIDATION[0])]
    made.write_leaking_split(store, "torn", rows)


def plant_slide_of_another(store: Store) -> None:
    made.add_slide(store, f"{made.TRAIN[0]}-DX2", made.TEST[0], np.full((3, 4), 0.5))


def plant_barcode_of_another(store: Store) -> None:
    made.add_slide(store, "TCGA-AA-0001-01Z-00-DX1", made.TRAIN[0], np.full((3, 4), 0.5))
    made.add_slide(store, "TCGA-AA-0001-01Z-00-DX2", made.TEST[0], np.full((3, 4), 0.25))


def plant_sample_of_another(store: Store) -> None:
    samples = list(read_expression(store).sample_ids)
    samples[20] = f"{made.PATIENTS[3]}-01B"
    made.change_expression(store, sample_ids=tuple(samples))


def plant_equal_bags(store: Store) -> None:
    bag = read_features(store, f"{made.TRAIN[0]}-DX1", "grid", "toy").values
    made.add_slide(store, "COPY-1", made.TEST[0], bag)


def plant_one_file(store: Store) -> None:
    source = {"name": "a.svs", "size_bytes": 1, "quickhash": "f" * 64}
    made.add_slide(store, "FILE-1", made.TRAIN[0], np.full((3, 4), 0.5), source)
    made.add_slide(store, "FILE-2", made.TEST[0], np.full((2, 4), 0.25), source | {"name": "b.svs"})


def plant_equal_rows(store: Store) -> None:
    values = read_expression(store).values.copy()
    values[20] = values[3]
    made.change_expression(store, values=values)


def plant_genes(store: Store) -> None:
    made.add_genes(store, 0, (*made.TRAIN, *made.TEST[:3]))
    made.add_run(store, 0)


def plant_genes_without_run(store: Store) -> None:
    store.delete("runs/told/fold_1")
    made.add_genes(store, 1, (*made.TEST, made.VALIDATION[1]))


def plant_another_split(store: Store) -> None:
    """The run was trained on a split of that name which stands here no more."""
    folds = (Fold(made.TEST, made.VALIDATION, made.TRAIN), made.FOLDS[1])
    write_split(store, Split("main", folds), parents=store.parents(schema.PATIENTS), overwrite=True)


def plant_two_splits(store: Store) -> None:
    write_split(store, Split("other", made.FOLDS, seed=1), parents=store.parents(schema.PATIENTS))
    made.add_run(store, 1, split="other")


def plant_false_name(store: Store) -> None:
    """A run that was trained on one split and says another."""
    write_split(store, Split("other", made.FOLDS, seed=1), parents=store.parents(schema.PATIENTS))
    run = made.Run("false", 0, "linear", "main", made.CONFIG, "0" * 64)
    write_run(store, run, parents=store.parents(schema.RNA, "splits/other"))


def plant_too_many(store: Store) -> None:
    made.add_run(store, 0, metrics={"patients": float(len(made.TRAIN) + 2)})


def plant_predictions(store: Store) -> None:
    parts = made.FOLDS[0].part_of()
    parts |= dict.fromkeys(made.TRAIN[:4], "test")
    made.add_predictions(store, 0, parts)


PLANTED: list[tuple[Callable[[Store], None], str, int | None, tuple[str, ...]]] = [
    (plant_patients, "patients", 3, (*made.TRAIN[:2], made.VALIDATION[0])),
    (plant_slide_of_another, "aliases", 2, (made.TRAIN[0], made.TEST[0])),
    (plant_barcode_of_another, "aliases", 2, (made.TRAIN[0], made.TEST[0])),
    (plant_sample_of_another, "aliases", 2, (made.PATIENTS[3], made.PATIENTS[20])),
    (plant_equal_bags, "slides", 2, (made.TRAIN[0], made.TEST[0])),
    (plant_one_file, "slides", 2, (made.TRAIN[0], made.TEST[0])),
    (plant_equal_rows, "expression", 2, (made.PATIENTS[3], made.PATIENTS[20])),
    (plant_genes, "genes", 3, made.TEST[:3]),
    (plant_genes_without_run, "genes", 1, (made.VALIDATION[1],)),
    (plant_another_split, "split", None, ()),
    (plant_two_splits, "split", None, ()),
    (plant_false_name, "split", None, ()),
    (plant_too_many, "training", 14, ()),
    (plant_predictions, "predictions", 4, made.TRAIN[:4]),
]


@pytest.mark.parametrize(("plant", "kind", "count", "who"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_leak_is_found_and_named(store: Store, plant, kind, count, who):
    plant(store)
    audit = audit_store(store, show_ids=True)
    assert not audit.clean
    leaks = [found for found in audit.leaks if found.kind == kind]
    assert leaks
    assert leaks[0].count == count
    assert set(leaks[0].ids) == set(who)
    assert leaks[0].do
    others = {found.kind for found in audit.leaks} - {kind}  # of another split, everything else tells as well
    assert others == ({"genes", "predictions", "training"} if plant is plant_another_split else set())
    assert all(found.ids == () for found in audit_store(store).findings)


def test_sites_are_a_warning_and_a_leak_where_asked(store: Store):
    table = read_patients(store).table.copy()
    table.loc[made.TEST[0], "site"] = "north"
    table.loc[made.TEST[1], "site"] = None
    write_patients(store, Patients(table), overwrite=True)
    first = [found for found in of_kind(audit_store(store), "sites") if found.where.fold == 0]
    assert [(found.severity, found.count, found.of) for found in first] == [
        ("warning", 1, 7),  # test patients whose site is known
        ("warning", 1, 3),  # sites
        ("not recorded", 1, 24),
    ]
    strict = audit_store(store, strict_sites=True)
    assert {found.kind for found in strict.leaks} == {"sites"}


def test_sites_are_read_from_barcodes_where_no_column_tells():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "splits_0.csv"
        file.write_text("train,val\nTCGA-AA-0001,TCGA-AA-0009\nTCGA-BB-0002,TCGA-CC-0003\n")
        sites = of_kind(audit_folds([file]), "sites")
        assert [(found.count, found.of) for found in sites] == [(1, 2), (1, 3)]
        file.write_text("train,val\np1,q1\np2,q2\n")
        assert [found.severity for found in of_kind(audit_folds([file]), "sites")] == ["not recorded"]


def test_what_is_replaced_is_stale_and_no_longer_called_ok(store: Store):
    values = read_expression(store).values + 1
    made.write_expression(store, replace(read_expression(store), values=values), overwrite=True)
    audit = audit_run(store, "told")
    assert audit.clean
    stale = of_kind(audit, "stale")
    assert {found.severity for found in stale} == {"warning"}
    assert "rna" in stale[0].what
    made.add_genes(store, 0, made.TEST)
    genes = of_kind(audit_run(store, "told"), "genes")
    assert genes[0].severity == "not checked"  # the run read an earlier selection: this one tells nothing about it


def test_a_replaced_table_of_patients_is_told(store: Store):
    table = read_patients(store).table.assign(age=50.0)
    write_patients(store, Patients(table), overwrite=True)
    audit = audit_store(store)
    assert audit.clean
    assert {found.where.run for found in of_kind(audit, "stale") if found.severity == "warning"} == {"", "told"}


def test_what_a_run_does_not_record_is_not_called_ok(run_store: Store):
    states = {found.kind: found.severity for found in audit_run(run_store, "slides").findings if found.where.run}
    assert states == {
        "split": "not recorded",
        "training": "not recorded",
        "genes": "not recorded",
        "tiles": "not recorded",
        "scaler": "not checked",
        "labels": "not checked",
        "stale": "not recorded",
    }


def test_patients_unknown_to_the_store_are_counted(store: Store):
    write_split(store, Split("wide", (Fold(("NEW-1", *made.TRAIN), (), (*made.TEST, "ZZZ-9")),)))
    unknown = of_kind(audit_store(store, split="wide"), "unknown")
    assert [(found.severity, found.count, found.of) for found in unknown] == [("warning", 2, 22)]


def test_copies_within_a_part_and_of_one_patient_are_warnings(store: Store):
    bag = read_features(store, f"{made.TRAIN[0]}-DX1", "grid", "toy").values
    made.add_slide(store, "COPY-1", made.TRAIN[0], bag)
    slides = of_kind(audit_store(store, split="main"), "slides")
    assert [(found.severity, found.count) for found in slides if found.severity != "ok"] == [("warning", 1)]
    made.add_slide(store, "COPY-2", made.TRAIN[1], bag)
    slides = of_kind(audit_store(store, split="main"), "slides")
    assert ("warning", 2, 0) in [(found.severity, found.count, found.where.fold) for found in slides]
    assert all(found.severity != "leak" for found in slides)


def test_empty_bags_are_no_copies(store: Store):
    for number, patient in enumerate((made.TRAIN[0], made.TEST[0])):
        made.add_slide(store, f"EMPTY-{number}", patient, np.empty((0, 4)))
    assert audit_store(store).clean


def test_z_scores_are_told(store: Store):
    made.change_expression(store, unit="zscore")
    audit = audit_store(store)
    assert audit.clean
    assert [found.severity for found in of_kind(audit, "scale")] == ["warning"]


def test_ids_that_are_spelt_alike():
    alike = spelt_alike(["A-1", "a1", "A 1", "B-1", "\u00e9", "e\u0301", "--", "++"])
    assert set(map(frozenset, alike)) == {frozenset(("A-1", "a1", "A 1")), frozenset(("\u00e9", "e\u0301"))}


def test_one_run_and_one_split(store: Store):
    plant_patients(store)
    assert audit_run(store, "told").clean
    assert audit_store(store, split="main").clean
    assert not audit_store(store, split="torn").clean
    assert {found.where.split for found in audit_run(store, "told").findings} == {"main"}


@pytest.mark.parametrize(
    ("how", "code"), [({"run": "no"}, "runs/no"), ({"split": "no"}, "splits/no")], ids=["run", "split"]
)
def test_what_is_not_there_is_missed_by_name(store: Store, how, code):
    with pytest.raises(StoreError, match="MISSING") as caught:
        audit_store(store, **how)
    assert caught.value.key == code
    assert "told" in caught.value.expected or "main" in caught.value.expected


@given(
    sizes=st.tuples(*[st.integers(0, 12)] * 3),
    planted=st.lists(st.sampled_from(["train val", "train test", "val test", "train val test"]), max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_exactly_the_planted_patients_are_found(sizes, planted):
    """Random folds with k patients in two or three parts: k are found, and none where none was planted."""
    parts = {"train": [], "val": [], "test": []}
    for name, size in zip(parts, sizes, strict=True):
        parts[name] = [f"TCGA-AA-{name[:2].upper()}{k:02d}" for k in range(size + 1)]
    for k, places in enumerate(planted):
        for name in places.split():
            parts[name].append(f"TCGA-BB-{k:04d}-01Z-00-{name}")  # another slide of that patient
    with tempfile.TemporaryDirectory() as folder:
        table = pd.DataFrame({name: pd.Series(ids, dtype=object) for name, ids in parts.items()})
        table.to_csv(Path(folder) / "splits_0.csv")
        audit = audit_folds([folder], show_ids=True)
    assert sum(found.count or 0 for found in of_kind(audit, "patients")) == len(planted)
    assert audit.clean == (not planted)
    found = {patient for leak in audit.leaks for patient in leak.ids}
    assert found == {f"TCGA-BB-{k:04d}" for k in range(len(planted))}


def test_published_folds_with_leaks(shared: Path):
    audit = audit_folds([shared / "data/splits/tcga_rcc_with_leaks"])
    patients = of_kind(audit, "patients")
    assert [(found.severity, found.count, found.where.fold) for found in patients] == [
        ("leak", 15, 0),
        ("leak", 10, 1),
        ("leak", 3, 2),
        ("leak", 10, 3),
        ("leak", 13, 4),
    ]
    assert {found.kind for found in audit.leaks} == {"patients"}
    assert "15, 10, 3, 10, 13 of 898 in folds 0, 1, 2, 3, 4" in audit.checks()[0].told


@pytest.mark.parametrize("name", ["tcga_brca", "tcga_nsclc"])
def test_published_folds_without(shared: Path, name: str):
    audit = audit_folds([shared / "data/splits" / name])
    assert audit.clean
    assert [found.severity for found in of_kind(audit, "patients")] == ["ok"] * 5
    assert [found.severity for found in of_kind(audit, "repeats")] == ["ok"]


def predictions(path: Path, text: str) -> Path:
    file = path / "p.csv"
    file.write_text(text)
    return file


def test_slides_of_one_patient_tested_in_two_folds_leak(tmp_path: Path):
    rows = "fold,slide_id\n0,TCGA-AA-0001-01Z-00-DX1\n0,TCGA-AA-0002-01Z-00-DX1\n1,TCGA-AA-0001-01Z-00-DX2\n"
    leaks = audit_predictions(predictions(tmp_path, rows), show_ids=True).leaks
    assert [(found.kind, found.count, found.of, found.ids) for found in leaks] == [
        ("patients", 1, 2, ("TCGA-AA-0001",))
    ]
    together = rows + "1,TCGA-AA-0001-01Z-00-DX1\n0,TCGA-AA-0001-01Z-00-DX2\n"  # repeated, but always both slides
    assert audit_predictions(predictions(tmp_path, together)).clean


def test_repeated_rows_and_folds_are_warnings(tmp_path: Path):
    rows = "fold,patient_id,risk\n0,a,1\n0,a,2\n0,b,1\n1,b,1\n1,c,1\n"
    audit = audit_predictions(predictions(tmp_path, rows), show_ids=True)
    assert audit.clean
    assert [(found.count, found.ids) for found in audit.warnings] == [(1, ("a",)), (1, ("b",))]
    assert {found.kind for found in audit.findings if found.severity == "not recorded"} == {"training"}
    support_sets = "fold,patient_id,modality,draw\n0,a,slide,0\n0,a,slide,1\n0,a,rna,0\n"
    assert audit_predictions(predictions(tmp_path, support_sets)).warnings == ()


def test_a_column_of_parts_is_checked(tmp_path: Path):
    rows = "method,fold,patient_id,part\nx,0,a,train\nx,0,a,test\nx,0,b,val\ny,0,a,train\ny,0,b,Test\n"
    audit = audit_predictions(predictions(tmp_path, rows), by=["method"], show_ids=True)
    assert [(found.kind, found.where.split, found.ids) for found in audit.leaks] == [("patients", "x", ("a",))]
    with pytest.raises(BadInput, match="BAD_VALUE"):
        audit_predictions(predictions(tmp_path, "patient_id,part\na,dev\n"))


def test_predictions_against_published_folds(tmp_path: Path):
    (tmp_path / "splits_0.csv").write_text("train,val\na,c\nb,d\n")
    (tmp_path / "splits_1.csv").write_text("train,val\nc,a\nd,b\n")
    right = predictions(tmp_path, "fold,id\n0,c\n0,d\n1,a\n")
    assert audit_predictions(right, folds=[tmp_path]).clean
    swapped = predictions(tmp_path, "fold,id\n1,c\n1,e\n2,a\n")
    audit = audit_predictions(swapped, folds=[tmp_path], show_ids=True)
    assert [(found.kind, found.where.fold, found.ids) for found in audit.leaks] == [("predictions", 1, ("c",))]
    assert [found.ids for found in audit.warnings] == [("e",)]
    assert [found.where.fold for found in audit.findings if found.severity == "not checked"] == [2]


def test_published_predictions_test_everybody_once(shared: Path):
    table = shared / "data/mcat_patient_predictions.csv.gz"
    audit = audit_predictions(table, by=["exp", "cohort"])
    assert audit.clean
    assert audit.warnings == ()
    assert len({found.where.split for found in audit.findings}) == 55
    together = audit_predictions(table)
    assert [found.kind for found in together.warnings] == ["repeats"]
