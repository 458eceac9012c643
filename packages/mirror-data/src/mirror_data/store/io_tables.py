"""Expression, patients, splits and gene selections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mirror_data.store import commit as rule
from mirror_data.store import schema
from mirror_data.store.base import (
    Parents,
    Store,
    from_element,
    open_record,
    read_array,
    read_element,
    text_element,
    to_element,
    write_element,
    write_record,
)
from mirror_data.store.records import Expression, Fold, GeneSelection, Patients, Split


def write_expression(
    store: Store, expression: Expression, *, parents: Parents | None = None, overwrite: bool = False
) -> str:
    """Commit the expression as an AnnData element, so that ``anndata.read_zarr(cohort.zarr/rna)`` opens it."""
    import anndata

    obs = pd.DataFrame({"sample_id": list(expression.sample_ids)}, index=list(expression.patient_ids))
    obs.index.name = "patient_id"
    var = pd.DataFrame({"symbol": list(expression.symbols)}, index=list(expression.gene_ids))
    var.index.name = "gene_id"
    matrix = anndata.AnnData(X=expression.values, obs=obs.astype(object), var=var.astype(object))
    attributes = {"unit": expression.unit, "transform": dict(expression.transform), "rows": len(obs)}

    def fill(group: Any) -> None:
        write_element(group, "/", matrix)

    tree, made = rule.build_tree(fill)
    store.make()
    return rule.commit(
        store.files,
        schema.RNA,
        "expression",
        tree,
        arrays={"X": rule.array_digest(expression.values)},
        attributes={**made, **attributes},
        parents=parents or {},
        overwrite=overwrite,
    )


def read_expression(store: Store) -> Expression:
    document, group = open_record(store, schema.RNA, "expression")
    obs, var = read_element(group, "obs"), read_element(group, "var")
    return Expression(
        patient_ids=tuple(map(str, obs.index)),
        sample_ids=tuple(map(str, obs["sample_id"])),
        gene_ids=tuple(map(str, var.index)),
        symbols=tuple(map(str, var["symbol"])),
        values=read_array(store, document, group, "X"),
        unit=document.attributes["unit"],
        transform=document.attributes["transform"],
    )


def read_expression_patients(store: Store) -> tuple[str, ...]:
    """Ids of the patients with expression, without reading the values."""
    document = store.document(schema.RNA)
    obs = read_element(rule.read_tree(store.files, document, part="obs/"), "obs")
    return tuple(map(str, obs.index))


def write_patients(store: Store, patients: Patients, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    return write_record(
        store,
        schema.PATIENTS,
        "patients",
        elements={"table": to_element(patients.table)},
        attributes={"rows": len(patients.table), "provenance": dict(patients.provenance)},
        parents=parents,
        overwrite=overwrite,
    )


def read_patients(store: Store) -> Patients:
    document, group = open_record(store, schema.PATIENTS, "patients")
    table = from_element(read_element(group, "table"))
    table.index.name = "patient_id"
    return Patients(table, document.attributes["provenance"])


def write_split(store: Store, split: Split, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    rows = [(k, part, patient) for k, fold in enumerate(split.folds) for patient, part in fold.part_of().items()]
    table = pd.DataFrame(rows, columns=["fold", "part", "patient_id"])
    attributes = {
        "name": split.name,
        "rows": len(table),
        "folds": len(split.folds),
        "drawn": dict(split.drawn),
        "seed": split.seed,
    }
    elements = {"table": to_element(table)}
    path = schema.split(split.name)
    return write_record(
        store, path, "split", elements=elements, attributes=attributes, parents=parents, overwrite=overwrite
    )


def read_split(store: Store, name: str) -> Split:
    document, group = open_record(store, schema.split(name), "split")
    table = from_element(read_element(group, "table"))
    folds = []
    for k in range(document.attributes["folds"]):
        rows = table[table["fold"] == k]
        folds.append(
            Fold(*(tuple(sorted(rows["patient_id"][rows["part"] == p])) for p in ("train", "validation", "test")))
        )
    attributes = document.attributes
    return Split(attributes["name"], tuple(folds), attributes["drawn"], attributes["seed"])


def write_genes(store: Store, genes: GeneSelection, *, parents: Parents, overwrite: bool = False) -> str:
    arrays = {"ranking": genes.ranking, "cancer": genes.cancer}
    if genes.stability is not None:
        arrays["stability"] = genes.stability
    kept = set(genes.kept)
    arrays["kept"] = np.array([g in kept for g in genes.gene_ids], dtype=np.uint8)
    elements = {
        "gene_ids": text_element(genes.gene_ids),
        "fitted_on": text_element(genes.fitted_on),
        "curve": to_element(genes.curve),
    }
    attributes = {
        "name": genes.name,
        "fold": genes.fold,
        "rows": len(genes.kept),
        "parameters": dict(genes.parameters),
    }
    path = schema.genes(genes.name, genes.fold)
    return write_record(
        store,
        path,
        "genes",
        arrays=arrays,
        elements=elements,
        attributes=attributes,
        parents=parents,
        overwrite=overwrite,
    )


def read_genes(store: Store, name: str, fold: int) -> GeneSelection:
    document, group = open_record(store, schema.genes(name, fold), "genes")
    gene_ids = tuple(map(str, read_element(group, "gene_ids")))
    arrays = {key: read_array(store, document, group, key) for key in document.arrays}
    curve = read_element(group, "curve")
    curve.index = pd.RangeIndex(len(curve))
    return GeneSelection(
        name=document.attributes["name"],
        fold=document.attributes["fold"],
        kept=tuple(sorted(g for g, k in zip(gene_ids, arrays["kept"], strict=True) if k)),
        gene_ids=gene_ids,
        ranking=arrays["ranking"],
        cancer=arrays["cancer"],
        stability=arrays.get("stability"),
        curve=curve,
        fitted_on=tuple(map(str, read_element(group, "fitted_on"))),
        parameters=document.attributes["parameters"],
    )
