"""Genes in groups, so that each group can be a token of the RNA encoder.

Shapes: n training patients, g genes, M groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mirror_data.errors import BadInput
from mirror_data.tables import check_file


def correlation_groups(values: np.ndarray, groups: int) -> list[np.ndarray]:
    """Cut genes into groups of nearly equal size that vary together in the training patients.

    Divisive clustering: the genes are ordered by their loading on their block's leading principal component and
    halved, again and again, until a block is one group. Opposite signs end in different halves.

    Args:
        values: (n, g) standardised expression of the training patients.
        groups: M, at most g.

    Returns:
        For each group the sorted columns of its genes.
    """
    genes = values.shape[1]
    if not 1 <= groups <= genes:
        raise BadInput("BAD_OPTION", "more gene groups than genes", key="model.rna_groups", expected=genes, got=groups)
    sizes = [genes // groups + (k < genes % groups) for k in range(groups)]
    found: list[np.ndarray] = []

    def cut(columns: np.ndarray, first: int, last: int) -> None:
        if last - first == 1:
            found.append(np.sort(columns))
            return
        loading = _leading(values[:, columns].astype(np.float64))
        ordered = columns[np.lexsort((columns, loading))]
        middle = (first + last) // 2
        left = sum(sizes[first:middle])
        cut(ordered[:left], first, middle)
        cut(ordered[left:], middle, last)

    cut(np.arange(genes), 0, groups)
    return found


def _leading(block: np.ndarray) -> np.ndarray:
    """Loadings (g,) of the first principal component of (n, g), signed so that their largest is positive."""
    block = block - block.mean(0)
    gram = block @ block.T if block.shape[0] <= block.shape[1] else block.T @ block
    _, vectors = np.linalg.eigh(gram)
    loading = vectors[:, -1] if block.shape[0] > block.shape[1] else block.T @ vectors[:, -1]
    return loading * np.sign(loading[np.argmax(np.abs(loading))] or 1.0)


@dataclass(frozen=True)
class GeneSet:
    """A named set of genes, as far as the cohort has them."""

    name: str
    columns: np.ndarray  # int64, sorted, at least one


def named_gene_sets(file: Path, symbols: Sequence[str]) -> list[GeneSet]:
    """Sets of a GMT file (name, description, symbols; tab separated) as columns, in the file's order.

    A gene may stand in several sets; a set without a gene of the cohort is left out.

    Raises:
        BadInput: ``NO_OVERLAP`` if no set holds one of the genes, ``ENCODING``, or as `mirror_data.tables.check_file`.
    """
    check_file(file)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        message, hint = "the gene sets are not UTF-8 text", "a GMT file is wanted: name, description, symbols"
        raise BadInput("ENCODING", message, file=file, hint=hint) from None
    column = {symbol: k for k, symbol in enumerate(symbols) if symbol}
    cells = [line.split("\t") for line in lines]
    sets = [(row[0], sorted({column[name] for name in row[2:] if name in column})) for row in cells]
    found = [GeneSet(name, np.array(columns)) for name, columns in sets if columns]
    if not found:
        raise BadInput("NO_OVERLAP", "no gene set holds a gene of this cohort", file=file, expected="gene symbols")
    return found


def read_gene_sets(file: Path, symbols: Sequence[str], groups: int) -> list[np.ndarray]:
    """`named_gene_sets` as groups of columns; genes in no set are shared out to ``groups`` further groups.

    These are cut in the genes' own order, so that no gene is lost.
    """
    found = [one.columns for one in named_gene_sets(file, symbols)]
    rest = np.setdiff1d(np.arange(len(symbols)), np.concatenate(found))
    return found + [part for part in np.array_split(rest, min(groups, max(1, len(rest)))) if len(part)]


def group_table(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Groups as one table: int64 (M, largest), columns of the genes, -1 where a group is smaller."""
    table = np.full((len(groups), max(map(len, groups))), -1, dtype=np.int64)
    for row, columns in enumerate(groups):
        table[row, : len(columns)] = columns
    return table
