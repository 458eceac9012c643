"""Where a table keeps its genes, its samples and its ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mirror_data import ids
from mirror_data.errors import BadInput, some
from mirror_data.rna.gene_names import is_ensembl, looks_like_gene
from mirror_data.tables import Table, plain_name, words

Orientation = Literal["auto", "genes-rows", "samples-rows"]

_SAMPLE_COLUMNS = words(
    "patient_id case_id bcr_patient_barcode case_submitter_id submitter_id sample_id sample sampleid barcode "
    "aliquot_id patient patientid patient_barcode"
)
_GENE_COLUMNS = words(
    "gene_id gene_ids geneid transcript_id ensembl_id gene genes gene_symbol symbol symbols hugo_symbol gene_name"
)
_ANNOTATIONS = words(
    "entrez_gene_id entrez description name gene_type biotype gene_biotype chrom chromosome chr start end strand length"
)
_CLINICAL = frozenset(
    words(
        "age gender sex is_female survival_months survival_days censorship oncotree_code os os_time os_months "
        "os_status pfi pfi_time vital_status site stage time_days event subtype"
    )
)
_INDEX = "index_level_0"  # what pandas calls an index without a name in Parquet


@dataclass(frozen=True)
class Layout:
    """A table's plan: the column of row ids, and the columns of values."""

    genes_are_rows: bool
    id_column: int
    value_columns: tuple[int, ...]
    value_names: tuple[str, ...]  # samples where genes are rows, else genes (the suffix taken off)
    a_row_a_slide: bool = False  # samples are rows, and a patient may have several alike
    resolved: str = "stated"  # how the orientation was found


def find_layout(
    table: Table,
    *,
    orientation: Orientation = "auto",
    id_column: str | None = None,
    gene_suffix: str = "",
    is_known: Callable[[str], bool] = lambda name: False,
) -> Layout:
    """Find genes and samples by their ids.

    Args:
        gene_suffix: only columns that end so are genes (``_rnaseq``); implies samples as rows.
        is_known: whether an id is of a patient of the store: tells samples from genes where no id is a TCGA barcode.

    Raises:
        BadInput: ``NOT_A_TABLE`` with one column, ``TRANSPOSED`` if the ids contradict the stated orientation,
            ``ORIENTATION_UNKNOWN`` if they do not tell and none was stated, ``MISSING_COLUMN`` if a named column is not
            there, ``EMPTY`` if no values remain.
    """
    if len(table.names) < 2:
        expected = "columns separated by commas, tabs or semicolons"
        raise BadInput("NOT_A_TABLE", "the table has one column only", file=table.path, expected=expected)
    if gene_suffix:
        if orientation == "genes-rows":
            raise BadInput(
                "BAD_OPTION", "--gene-suffix means that genes are columns", key="--orientation", got=orientation
            )
        return _samples_rows(table, id_column, gene_suffix, "by the gene suffix")
    vote = _vote(table, id_column, is_known)
    if orientation == "auto":
        if vote == 0:
            raise BadInput(
                "ORIENTATION_UNKNOWN",
                "the ids do not tell whether rows are genes or samples",
                file=table.path,
                hint="say --orientation genes-rows or samples-rows",
            )
        return (_genes_rows if vote > 0 else _samples_rows)(table, id_column, "", "by the ids")
    if vote * (1 if orientation == "genes-rows" else -1) < 0:
        other = "samples-rows" if orientation == "genes-rows" else "genes-rows"
        raise BadInput(
            "TRANSPOSED",
            f"the ids say that this table is {other}",
            file=table.path,
            expected=orientation,
            hint=f"use --orientation {other}, or leave it to auto",
        )
    return (_genes_rows if orientation == "genes-rows" else _samples_rows)(table, id_column, "", "stated")


def _vote(table: Table, id_column: str | None, is_known: Callable[[str], bool]) -> int:
    """Above 0: rows are genes; below: rows are samples; 0: the ids do not tell."""

    def is_sample(name: str) -> bool:
        return ids.is_barcode(name) or is_known(name)

    def share(names: Sequence[str], test: Callable[[str], bool]) -> float:
        return sum(map(test, names)) / max(len(names), 1)

    key = _place(table, id_column) if id_column else _gene_id_column(table)
    across = [name for place, name in enumerate(table.names) if place != key]
    down = _row_ids(table, key)
    if not id_column and (named := _named_sample_id(table)) is not None:
        samples = _row_ids(table, named)
        down = samples if any(map(is_sample, samples)) or not any(map(looks_like_gene, down)) else down
    by_sample = share(across, is_sample) - share(down, is_sample)
    by_gene = share(down, looks_like_gene) - share(across, looks_like_gene)
    return int(np.sign(by_sample) + np.sign(by_gene))


def _row_ids(table: Table, column: int) -> list[str]:
    """Ids of the first rows."""
    for frame in table.batches([column]):
        return [name or "" for name in frame.to_series(0).to_list()]
    raise BadInput("EMPTY", "the table has a header and no rows", file=table.path)


def _place(table: Table, name: str) -> int:
    if name not in table.names:
        expected = f"one of {len(table.names)} columns, the first being {table.names[0] or '(without a name)'}"
        raise BadInput("MISSING_COLUMN", "the table has no such column", file=table.path, key=name, expected=expected)
    return table.names.index(name)


def _named_sample_id(table: Table) -> int | None:
    """The column that is named like one of sample or patient ids."""
    places = {plain_name(name): place for place, name in reversed(list(enumerate(table.names)))}
    return next((places[name] for name in _SAMPLE_COLUMNS if name in places), None)


def _gene_id_column(table: Table) -> int:
    """The first column, unless another one alone is named like gene ids (as Parquet files put their index last)."""
    names = [plain_name(name) for name in table.names]
    if names[0] in (*_GENE_COLUMNS, "", "sample", "id"):
        return 0
    return next((names.index(name) for name in (_INDEX, *_GENE_COLUMNS) if name in names), 0)


def _genes_rows(table: Table, id_column: str | None, _suffix: str, resolved: str) -> Layout:
    key = _place(table, id_column) if id_column else _gene_id_column(table)
    skipped = (*_GENE_COLUMNS, *_ANNOTATIONS)
    others = [(p, n) for p, n in enumerate(table.names) if p != key and n and plain_name(n) not in skipped]
    if any(ids.is_barcode(name) for _, name in others):
        others = [(p, n) for p, n in others if ids.is_barcode(n)]
    return _layout(table, True, key, others, resolved)


def _samples_rows(table: Table, id_column: str | None, suffix: str, resolved: str) -> Layout:
    named = _named_sample_id(table)
    index = next((place for place, name in enumerate(table.names) if plain_name(name) == _INDEX), 0)
    key = _place(table, id_column) if id_column else index if named is None else named
    others = [(p, n) for p, n in enumerate(table.names) if p != key and n]
    slides = any(plain_name(name) in ("slide_id", "slide") for _, name in others)
    if suffix:
        others = [(p, n.removesuffix(suffix)) for p, n in others if n.endswith(suffix) and n != suffix]
    elif any(is_ensembl(name) for _, name in others):
        others = [(p, n) for p, n in others if is_ensembl(n)]
    else:
        others = [(p, n) for p, n in others if plain_name(n) not in (*_SAMPLE_COLUMNS, "slide_id", "slide", "index")]
        clinical = [name for _, name in others if plain_name(name) in _CLINICAL]
        if clinical:
            hint = "name the genes' columns by their common ending, as in --gene-suffix _rnaseq"
            got = some(clinical)
            raise BadInput("BAD_COLUMN", "clinical columns stand among the genes", file=table.path, got=got, hint=hint)
    return _layout(table, False, key, others, resolved, slides)


def _layout(
    table: Table, genes_are_rows: bool, key: int, others: list[tuple[int, str]], resolved: str, slides: bool = False
) -> Layout:
    if not others:
        what = "sample" if genes_are_rows else "gene"
        hint = "check --gene-suffix, --orientation and --id-column"
        raise BadInput("EMPTY", f"the table has no {what} columns", file=table.path, hint=hint)
    places, names = zip(*others, strict=True)
    return Layout(genes_are_rows, key, tuple(places), tuple(names), slides, resolved)
