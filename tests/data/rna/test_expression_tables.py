"""Expression tables into the store: what is kept. Bad tables stand in tests/faults/corpus/expression.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.rna.tables import ExpressionOptions, read_expression_table
from mirror_data.store import Patients, Slide, create_store, open_store, read_expression, write_patients, write_slide

GENES = ["TP53", "GAPDH", "MYC", "ACTB"]
SAMPLES = ["TCGA-AA-0002-01A-11R", "TCGA-AA-0001-01A-11R", "TCGA-AA-0001-11A-11R", "TCGA-AA-0003-01A-11R"]
VALUES = np.array([[0, 1, 3, 7], [100, 200, 300, 400], [1.5, 2.5, 3.5, 4.5], [31, 15, 63, 127]])  # genes x samples


def frame() -> pd.DataFrame:
    return pd.DataFrame(VALUES, index=GENES, columns=SAMPLES)


def read(path: Path, **options):
    return read_expression_table(path, ExpressionOptions(**options))


def check_kept(expression) -> None:
    assert expression.patient_ids == ("TCGA-AA-0001", "TCGA-AA-0002", "TCGA-AA-0003")
    assert expression.sample_ids == ("TCGA-AA-0001-01", "TCGA-AA-0002-01", "TCGA-AA-0003-01")
    assert expression.gene_ids == ("ACTB", "GAPDH", "MYC", "TP53")
    expected = np.log2(VALUES[[3, 1, 2, 0]][:, [1, 0, 3]].T + 1)
    np.testing.assert_allclose(expression.values, expected, rtol=1e-6)
    assert expression.unit == "log2(tpm+1)"


@pytest.mark.parametrize("suffix", ["csv", "tsv.gz", "parquet"])
@pytest.mark.parametrize("orientation", ["genes-rows", "samples-rows"])
@pytest.mark.parametrize("stated", [True, False])
def test_every_form_of_one_table(tmp_path: Path, suffix: str, orientation: str, stated: bool):
    path = tmp_path / f"t.{suffix}"
    table = frame() if orientation == "genes-rows" else frame().T
    if suffix == "parquet":
        pl.DataFrame({"": list(table.index), **{c: table[c].to_numpy() for c in table}}).write_parquet(path)
    else:
        table.to_csv(path, sep="\t" if "tsv" in suffix else ",")
    found = read(path, unit="tpm", orientation=orientation if stated else "auto")
    check_kept(found.expression)
    assert (found.table_genes, found.table_samples, found.orientation) == (4, 4, orientation)
    assert found.dropped_samples == (("normal tissue", 1),)
    assert found.sample_types == (("01", 3),)
    assert found.expression.transform["table_unit"] == "tpm"
    assert found.expression.transform["steps"] == ["log2(x + 1)"]


def test_plain_ids_and_annotation_columns(tmp_path: Path):
    path = tmp_path / "t.tsv"
    path.write_text("Hugo_Symbol\tEntrez_Gene_Id\tP2\tP1\nTP53\t7157\t1\t2\nGAPDH\t2597\t3\t64\n")
    found = read(path)
    assert found.expression.patient_ids == ("P1", "P2")
    assert found.expression.gene_ids == ("GAPDH", "TP53")
    assert found.unit_source == "guessed"
    assert found.expression.unit == "log2(counts+1)"
    np.testing.assert_allclose(found.expression.values, np.log2([[65, 3], [4, 2]]), rtol=1e-6)


def test_a_row_a_slide_becomes_a_row_a_patient(tmp_path: Path):
    path = tmp_path / "t.csv"
    head = ",case_id,slide_id,age,site,TP53_rnaseq,MYC_rnaseq,TP53_cnv\n"
    path.write_text(head + "0,P1,a.svs,50,x,0.5,-1,2\n1,P1,b.svs,50,x,0.5,-1,2\n2,P2,c.svs,60,y,-0.5,1,0\n")
    found = read(path, gene_suffix="_rnaseq", unit="zscore")
    assert found.expression.patient_ids == ("P1", "P2")
    assert found.expression.gene_ids == ("MYC", "TP53")
    assert found.expression.values.tolist() == [[-1, 0.5], [1, -0.5]]
    assert found.dropped_samples == (("another row of the patient, equal", 1),)


def test_genes_with_missing_values_are_dropped_when_told(tmp_path: Path):
    path = tmp_path / "t.csv"
    frame().replace(2.5, np.nan).to_csv(path)
    found = read(path, unit="tpm", missing="drop-genes")
    assert found.expression.gene_ids == ("ACTB", "GAPDH", "TP53")
    assert found.dropped_genes == 1


def test_repeated_samples_when_told(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("gene,P1,P2,P1\nTP53,1,2,3\nGAPDH,40,50,60\n")
    found = read(path, unit="tpm", repeats="first")
    np.testing.assert_allclose(found.expression.values[0], np.log2([41, 2]), rtol=1e-6)
    assert found.dropped_samples == (("a repeat of a sample", 1),)


def test_only_the_cohort_is_read(tmp_path: Path):
    path = tmp_path / "t.csv"
    table = frame()
    table["TCGA-ZZ-0009-01A-11R"] = ["x", "y", "", "1,5"]  # somebody else's cells are never looked at
    table.to_csv(path)
    store = create_store(tmp_path / "s.zarr")
    write_slide(store, Slide("TCGA-AA-0001-01Z-00-DX1", "TCGA-AA-0001"))
    write_patients(store, Patients(pd.DataFrame(index=pd.Index(["TCGA-AA-0003"], name="patient_id"))))
    assert run(cli, ["expression", str(path), "--store", str(tmp_path / "s.zarr"), "--unit", "tpm"]) == 0
    assert read_expression(store).patient_ids == ("TCGA-AA-0001", "TCGA-AA-0003")
    listed = tmp_path / "list.txt"
    listed.write_text("TCGA-AA-0002\n")
    arguments = ["expression", str(path), "--store", str(tmp_path / "s.zarr"), "--unit", "tpm"]
    assert run(cli, [*arguments, "--patients", str(listed)]) == 2  # another record stands there
    assert run(cli, [*arguments, "--patients", str(listed), "--overwrite"]) == 0
    assert read_expression(store).patient_ids == ("TCGA-AA-0002",)
    assert run(cli, [*arguments, "--patients", "all", "--overwrite"]) == 2


def test_the_command_reports_and_may_be_repeated(tmp_path: Path, capsys):
    path = tmp_path / "t.csv"
    frame().to_csv(path)
    arguments = ["expression", str(path), "--store", str(tmp_path / "s.zarr"), "--unit", "tpm", "--json"]
    assert run(cli, arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["patients"], told["genes"], told["unit"]) == (3, 4, "log2(tpm+1)")
    assert told["dropped_samples"] == {"normal tissue": 1}
    before = open_store(tmp_path / "s.zarr").hash("rna")
    assert run(cli, arguments) == 0
    assert open_store(tmp_path / "s.zarr").hash("rna") == before
    check_kept(read_expression(open_store(tmp_path / "s.zarr")))


def test_several_studies_become_one_table(tmp_path: Path, capsys):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("id,MYC,TP53,ACTB\nP2,1,2,3\nP1,4,5,6\n")
    two.write_text("gene,P3\nTP53,0\nGAPDH,9\nMYC,7\n")
    arguments = ["expression", str(one), str(two), "--store", str(tmp_path / "s.zarr")]
    assert run(cli, [*arguments, "--unit", "tpm", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["patients"], told["genes"], told["dropped_genes"]) == (3, 2, 2)
    expression = read_expression(open_store(tmp_path / "s.zarr"))
    assert (expression.patient_ids, expression.gene_ids) == (("P1", "P2", "P3"), ("MYC", "TP53"))
    np.testing.assert_allclose(expression.values, np.log2([[5, 6], [2, 3], [8, 1]]), rtol=1e-6)
    assert [table["table"] for table in expression.transform["tables"]] == ["one.csv", "two.csv"]
    for text_of_two, options, code in (
        ("gene,P1\nTP53,0\nMYC,7\n", ["--unit", "tpm"], "CONFLICT"),
        ("gene,P3\nGAPDH,0\nKRAS,7\n", ["--unit", "tpm"], "NO_OVERLAP"),
        ("gene,P3\nTP53,900\nMYC,700\n", [], "MISMATCH"),
    ):
        two.write_text(text_of_two)
        assert run(cli, [*arguments, *options, "--overwrite"]) == 2
        error = capsys.readouterr().err
        assert [line for line in error.splitlines() if line.startswith(f"{code}: ")], error


def test_real_tables(shared: Path):
    brca = read(shared / "data/tcga/clinical_rna_brca.csv.zip", gene_suffix="_rnaseq")
    assert brca.expression.values.shape == (956, 1558)
    assert (brca.expression.unit, brca.unit_source) == ("zscore", "guessed")
    assert brca.dropped_samples == (("another row of the patient, equal", 66),)
    xena = read(
        shared / "data/rna/xena_log2tpm_coadread.csv.gz", repeats="first", unit="log2tpm+0.001", log2_offset=1.0
    )
    assert xena.expression.values.shape == (317, 1577)
    assert xena.expression.unit == "log2(tpm+1)"
    assert xena.expression.values.min() == 0
