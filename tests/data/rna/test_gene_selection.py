"""Selection per outer fold in a store: no leak, the cancer list, reuse, and wrong inputs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.errors import BadInput
from mirror_data.rna.cancer_genes import match_cancer_genes
from mirror_data.rna.elimination import EliminationOptions
from mirror_data.rna.selection import SelectionOptions, select_genes
from mirror_data.store import (
    Expression,
    Fold,
    Patients,
    Split,
    check,
    create_store,
    open_store,
    read_genes,
    schema,
    write_expression,
    write_patients,
    write_split,
)

N, G = 60, 40


def cohort(seed: int = 0) -> tuple[Expression, Patients, Split]:
    """60 patients of two subtypes, which genes 3 and 7 tell; the last three patients have no label or no expression."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"P{i:02d}" for i in range(N))
    kind = np.arange(N) % 2
    values = rng.normal(size=(N, G))
    values[:, [3, 7]] += 4 * kind[:, None]
    genes = tuple(f"G{i:02d}" for i in range(G))
    expression = Expression(ids[:-1], ids[:-1], genes, genes, values[:-1].astype(np.float32), "log2(tpm+1)")
    subtype = [None if i >= N - 3 else "AB"[k] for i, k in enumerate(kind)]
    table = pd.DataFrame({"subtype": subtype, "age": 50.0}, index=pd.Index(ids, name="patient_id", dtype=object))
    folds = tuple(
        Fold(
            tuple(p for i, p in enumerate(ids) if i % 3 != k and i % 10),
            tuple(p for i, p in enumerate(ids) if i % 3 != k and not i % 10),
            tuple(p for i, p in enumerate(ids) if i % 3 == k),
        )
        for k in range(3)
    )
    return expression, Patients(table), Split("main", folds, {"how": "drawn"}, 0)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    expression, patients, split = cohort()
    store = create_store(tmp_path / "s.zarr")
    write_expression(store, expression)
    write_patients(store, patients)
    write_split(store, split, parents=store.parents(schema.PATIENTS))
    return tmp_path / "s.zarr"


OPTIONS = SelectionOptions("g", elimination=EliminationOptions(step=0.1), folds=3, resamples=4)


def test_the_genes_that_tell_are_found():
    expression, patients, split = cohort()
    told: list[float] = []
    found = select_genes(expression, patients, split.folds[0].train, 0, OPTIONS, told.append)
    genes = found.genes
    assert {"G03", "G07"} & set(genes.kept)
    assert genes.ranking.dtype == np.int32
    assert genes.fitted_on == tuple(p for p in split.folds[0].train if p not in ("P57", "P58", "P59"))
    assert list(genes.curve.columns) == ["genes", "score", "sd"]
    assert genes.curve["genes"].tolist() == [*range(40, 0, -4), 1]
    best = genes.parameters["eliminated_to"]
    assert (genes.ranking == 1).sum() == best == len(genes.kept)
    assert genes.curve.set_index("genes")["score"].max() == genes.curve.set_index("genes")["score"][best] > 0.9
    assert genes.stability is not None
    assert genes.stability[[3, 7]].max() == 1.0
    assert found.residual < 1e-9
    assert told == sorted(told)
    assert 0.9 < told[-1] <= 1.0


def test_nobody_outside_the_training_part_is_looked_at():
    expression, patients, split = cohort()
    train = split.folds[1].train
    first = select_genes(expression, patients, train, 1, OPTIONS).genes
    others = [row for row, patient in enumerate(expression.patient_ids) if patient not in train]
    values = expression.values.copy()
    values[others] = 1e6 * np.random.default_rng(1).normal(size=(len(others), G))
    table = patients.table.copy()
    table.loc[[p for p in table.index if p not in train], "subtype"] = "B"
    second = select_genes(replace(expression, values=values), Patients(table), train, 1, OPTIONS).genes
    assert first.kept == second.kept
    assert np.array_equal(first.ranking, second.ranking)
    pd.testing.assert_frame_equal(first.curve, second.curve)
    assert dict(first.parameters) == dict(second.parameters)


def test_z_scores_are_clipped_and_logarithms_are_not():
    expression, patients, split = cohort()
    values = expression.values.copy()
    values[:, 5] = 0
    values[0, 5] = 3e4
    for unit, clip, clipped in (("zscore", 10.0, 1), ("log2(tpm+1)", None, 0)):
        changed = replace(expression, values=values, unit=unit)
        train = ("P00", *split.folds[1].train)  # P00 is the one with the outlier
        genes = select_genes(changed, patients, tuple(sorted(train)), 1, OPTIONS).genes
        assert (genes.parameters["clip"], genes.parameters["clipped_cells"]) == (clip, clipped)


def test_cancer_genes_are_kept_whatever_the_elimination_says(tmp_path: Path):
    path = tmp_path / "census.csv"
    path.write_text('Gene Symbol,Name,Tier\ng11,"a, b",1\nG12,x,2\nNOT1,y,1\nNOT2,y,1\n')
    expression, patients, split = cohort()
    options = replace(OPTIONS, cancer_genes=str(path))
    genes = select_genes(expression, patients, split.folds[0].train, 0, options).genes
    assert {"G11", "G12"} <= set(genes.kept)
    by_elimination = {gene for gene, rank in zip(genes.gene_ids, genes.ranking, strict=True) if rank == 1}
    assert set(genes.kept) == by_elimination | {"G11", "G12"} != by_elimination
    assert np.flatnonzero(genes.cancer).tolist() == [11, 12]
    assert genes.parameters["cancer_symbols"] == 4
    assert genes.parameters["cancer_symbols_unmatched"] == ["NOT1", "NOT2"]
    matched = match_cancer_genes(path, ["", "X,G12", "G1"])
    assert matched.listed.tolist() == [False, True, False]
    assert matched.unmatched == ("NOT1", "NOT2", "g11")
    with pytest.raises(BadInput, match="NO_OVERLAP"):
        match_cancer_genes(path, ["A", "B"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"target": "age"}, "BAD_OPTION"),
        ({"target": "gone"}, "BAD_OPTION"),
        ({"folds": 1}, "BAD_OPTION"),
        ({"folds": 25}, "TOO_FEW"),
    ],
)
def test_wrong_options(change, code):
    expression, patients, split = cohort()
    with pytest.raises(BadInput) as caught:
        select_genes(expression, patients, split.folds[0].train, 0, replace(OPTIONS, **change))
    assert caught.value.code == code


def test_patients_that_do_not_join_and_one_class():
    expression, patients, split = cohort()
    with pytest.raises(BadInput, match="NO_OVERLAP"):
        select_genes(expression, patients, ("X1", "X2"), 0, OPTIONS)
    one = Patients(patients.table.assign(subtype="A"))
    with pytest.raises(BadInput, match="TOO_FEW"):
        select_genes(expression, one, split.folds[0].train, 0, OPTIONS)


def arguments(store_path: Path, *more: str) -> list[str]:
    head = ["genes", "--store", str(store_path), "--split", "main", "--name", "g", "--folds", "3", "--step", "0.1"]
    return [*head, *more]


def test_the_command(store_path: Path, tmp_path: Path, capsys):
    (tmp_path / "list.txt").write_text("G20\nNOT1\n")
    table = tmp_path / "genes.csv"
    more = ["--cancer-genes", str(tmp_path / "list.txt"), "--stability", "2", "--table", str(table)]
    assert run(cli, arguments(store_path, *more, "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert [fold["fold"] for fold in told["folds"]] == [0, 1, 2]
    assert all(fold["unmatched"] == 1 and fold["cancer"] == 1 and not fold["reused"] for fold in told["folds"])
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["gene", "symbol", "fold", "rank", "kept", "stability", "cancer_gene"]
    assert len(rows) == 3 * G
    assert {row["gene"] for row in rows if row["cancer_gene"] == "1"} == {"G20"}
    store = open_store(store_path)
    assert check(store).findings == ()
    for fold in range(3):
        kept = {row["gene"] for row in rows if row["fold"] == str(fold) and row["kept"] == "1"}
        assert kept == set(read_genes(store, "g", fold).kept)
    before = [store.hash(schema.genes("g", fold)) for fold in range(3)]
    assert run(cli, arguments(store_path, *more, "--json")) == 0
    assert all(fold["reused"] for fold in json.loads(capsys.readouterr().out)["folds"])
    assert run(cli, arguments(store_path, "--seed", "1")) == 2  # another selection of this name
    assert "EXISTS" in capsys.readouterr().err
    assert run(cli, arguments(store_path, *more, "--overwrite", "--json")) == 0
    assert [store.hash(schema.genes("g", fold)) for fold in range(3)] == before


def test_the_machine_is_chosen_by_options(store_path: Path, capsys):
    assert run(cli, arguments(store_path, "--c", "0.1", "--intercept", "30")) == 0
    parameters = read_genes(open_store(store_path), "g", 0).parameters
    assert (parameters["C"], parameters["intercept"]) == (0.1, 30.0)
    for wrong in (["--intercept", "0"], ["--name", "h", "--device", "abacus"]):
        assert run(cli, arguments(store_path, *wrong)) == 2
        assert "BAD_OPTION" in capsys.readouterr().err


@pytest.mark.long
def test_results_do_not_depend_on_the_workers(store_path: Path):
    assert run(cli, arguments(store_path, "--workers", "1")) == 0
    store = open_store(store_path)
    alone = [store.hash(schema.genes("g", fold)) for fold in range(3)]
    assert run(cli, arguments(store_path, "--workers", "2", "--overwrite")) == 0
    assert [store.hash(schema.genes("g", fold)) for fold in range(3)] == alone


def test_what_the_store_lacks(tmp_path: Path, store_path: Path, capsys):
    assert run(cli, arguments(tmp_path / "none.zarr")) == 2
    assert "NOT_A_STORE" in capsys.readouterr().err
    create_store(tmp_path / "empty.zarr")
    assert run(cli, arguments(tmp_path / "empty.zarr")) == 2
    assert "MISSING" in capsys.readouterr().err
    assert run(cli, arguments(store_path, "--target", "age")) == 2
    error = capsys.readouterr().err
    assert "every fold: BAD_OPTION" in error
    assert run(cli, arguments(store_path, "--cancer-genes", str(tmp_path / "gone.csv"))) == 2
    assert "NOT_FOUND" in capsys.readouterr().err


@pytest.mark.long
def test_lung_subtypes_from_published_tables(shared: Path):
    """A hundred LUAD and a hundred LUSC patients: a handful of genes tells them apart on patients never seen."""
    from mirror_data.rna.tables import ExpressionOptions, read_expression_table

    parts = [
        read_expression_table(
            shared / f"data/tcga/clinical_rna_{name}.csv.zip", ExpressionOptions(gene_suffix="_rnaseq")
        ).expression
        for name in ("luad", "lusc")
    ]
    genes = tuple(sorted(set(parts[0].gene_ids) & set(parts[1].gene_ids)))
    values = np.concatenate([p.values[:100, [p.gene_ids.index(g) for g in genes]] for p in parts])
    ids = tuple(p for part in parts for p in part.patient_ids[:100])
    expression = Expression(ids, ids, genes, genes, values, "zscore")
    table = pd.DataFrame({"subtype": ["LUAD"] * 100 + ["LUSC"] * 100}, index=pd.Index(ids, name="patient_id"))
    train = tuple(sorted(p for i, p in enumerate(ids) if i % 4))
    found = select_genes(expression, Patients(table.sort_index()), train, 0, SelectionOptions("g"))
    assert found.genes.curve["score"].max() > 0.9
