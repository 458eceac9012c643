"""What is fitted on the training patients before the network sees anything, and goes with it into the checkpoint.

Shapes: n patients, g genes of the table, G genes used, P tile features, M gene groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from mirror_data.errors import BadInput, StoreError, some
from mirror_data.store import Expression, Fold, Store, read_expression, read_genes, schema

from mirror_model.config import DataConfig
from mirror_model.gene_groups import correlation_groups, group_table, read_gene_sets

_TILE_SD_FLOOR = 1e-6
_RANK = 1e-6  # a component smaller than this, or than this share of the first, is rounding


@dataclass(frozen=True)
class Preparation:
    """From stored values to the network's inputs."""

    gene_ids: tuple[str, ...]  # G, in the order of the network's input
    low: np.ndarray  # float32 (G,) values below are raised to it
    high: np.ndarray  # float32 (G,) values above are lowered to it
    mean: np.ndarray  # float32 (G,)
    scale: np.ndarray  # float32 (G,) 1 / sd; 0 for a gene that is constant in the training patients
    clip: float  # largest size of a standardised value
    groups: np.ndarray | None = None  # int64 (M, W), see gene_groups
    tile_mean: np.ndarray | None = None  # float32 (P,)
    tile_scale: np.ndarray | None = None  # float32 (P,) 1 / sd

    def expression(self, table: Expression) -> np.ndarray:
        """Standardised expression (n, G) of every row of ``table``."""
        values = table.values[:, _columns(table, self.gene_ids)].astype(np.float32)
        values = (np.clip(values, self.low, self.high) - self.mean) * self.scale
        return np.clip(values, -self.clip, self.clip)

    def tensors(self) -> dict[str, np.ndarray]:
        """Its arrays, by name, as a checkpoint keeps them."""
        names = ("low", "high", "mean", "scale", "groups", "tile_mean", "tile_scale")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @classmethod
    def from_tensors(cls, gene_ids: Sequence[str], clip: float, tensors: Mapping[str, np.ndarray]) -> Preparation:
        return cls(tuple(gene_ids), clip=clip, **tensors)


def fit_preparation(
    table: Expression,
    train_ids: Sequence[str],
    gene_ids: Sequence[str],
    data: DataConfig,
    gene_groups: int | None = None,
    tiles: np.ndarray | None = None,
) -> Preparation:
    """Fit everything on the training patients alone.

    Args:
        table: expression of all patients; only rows of ``train_ids`` are looked at.
        gene_ids: the genes to use, in the order of the network's input.
        gene_groups: M, where the genes are to be grouped.
        tiles: float64 (2, P), mean and sd of the training patients' tile features, where these are to be standardised.

    Raises:
        BadInput: ``NO_OVERLAP`` if fewer than two training patients have expression.
    """
    wanted = set(train_ids)
    rows = np.flatnonzero([patient in wanted for patient in table.patient_ids])
    if len(rows) < 2:
        message = "fewer than two training patients have expression"
        raise BadInput("NO_OVERLAP", message, key=schema.RNA, expected="patient ids of the split", got=len(rows))
    columns = _columns(table, gene_ids)
    values = table.values[np.ix_(rows, columns)].astype(np.float64)  # (n, G)
    quantiles = np.quantile(values, [data.rna_quantile, 1 - data.rna_quantile], axis=0)
    low, high = quantiles.astype(np.float32)
    values = np.clip(values, low, high)
    mean, sd = values.mean(0), values.std(0)
    scale = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 1e-8 * np.maximum(1, np.abs(mean)))
    fitted = Preparation(tuple(gene_ids), low, high, mean.astype("f4"), scale.astype("f4"), data.rna_clip)
    groups = None
    if gene_groups is not None:
        groups = _groups(fitted, table, rows, data, gene_groups)
    return _with_tiles(replace(fitted, groups=groups), tiles)


def fit_tiles_alone(data: DataConfig, tiles: np.ndarray | None = None) -> Preparation:
    """For a method that reads no expression; ``tiles`` as for `fit_preparation`."""
    none = np.zeros(0, dtype=np.float32)
    return _with_tiles(Preparation((), none, none, none, none, data.rna_clip), tiles)


def _with_tiles(fitted: Preparation, tiles: np.ndarray | None) -> Preparation:
    if tiles is None:
        return fitted
    scale = (1 / np.maximum(tiles[1], _TILE_SD_FLOOR)).astype("f4")
    return replace(fitted, tile_mean=tiles[0].astype("f4"), tile_scale=scale)


def _groups(fitted: Preparation, table: Expression, rows: np.ndarray, data: DataConfig, number: int) -> np.ndarray:
    if data.gene_sets is None:
        return group_table(correlation_groups(fitted.expression(table)[rows], number))
    symbol = dict(zip(table.gene_ids, table.symbols, strict=True))
    names = [symbol[gene] or gene for gene in fitted.gene_ids]
    return group_table(read_gene_sets(Path(data.gene_sets), names, number))


def principal_axes(fitted: Preparation, table: Expression, train_ids: Sequence[str]) -> np.ndarray:
    """Principal axes (R, G) of the training patients' standardised expression, those of most variance first.

    R is the rank. Each axis points to the side of its largest weight, so that it does not hang on the solver.
    """
    wanted = set(train_ids)
    rows = [patient in wanted for patient in table.patient_ids]
    values = torch.from_numpy(fitted.expression(table)[rows]).double()  # (n, G)
    _, size, axes = torch.linalg.svd(values - values.mean(0), full_matrices=False)  # with the threads of the training
    axes = axes[size > max(_RANK * float(size[0]), _RANK)]
    side = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return (axes * side).float().numpy()


def _columns(table: Expression, gene_ids: Sequence[str]) -> np.ndarray:
    """Columns of the genes in a table.

    Raises:
        StoreError: ``MISMATCH`` if a gene is not there.
    """
    column = {gene: k for k, gene in enumerate(table.gene_ids)}
    missing = [gene for gene in gene_ids if gene not in column]
    if missing:
        message = f"{len(missing)} genes are not in the store's expression"
        raise StoreError("MISMATCH", message, key=schema.RNA, expected=some(missing), hint="select genes again")
    return np.array([column[gene] for gene in gene_ids], dtype=np.int64)


def choose_genes(store: Store, table: Expression, genes: str | None, number: int, fold: Fold) -> tuple[str, ...]:
    """The genes a fold uses: those its selection kept, or every gene; in the table's order.

    Raises:
        StoreError: ``MISSING`` if the selection was not made for this fold.
        BadInput: ``PATIENT_LEAK`` if it was fitted on patients outside the fold's training part.
    """
    if genes is None:
        return table.gene_ids
    if not store.has(schema.genes(genes, number)):
        there = some(store.keys("genes"), 20) or "none"
        hint = "select genes with `mirror-data genes`"
        message, key = "no such gene selection", schema.genes(genes, number)
        raise StoreError("MISSING", message, file=store.url, key=key, expected=f"one of: {there}", hint=hint)
    selection = read_genes(store, genes, number)
    outside = set(selection.fitted_on) - set(fold.train)
    if outside:
        message = f"the genes were selected on {len(outside)} patients outside the fold's training part"
        raise BadInput("PATIENT_LEAK", message, file=store.url, key=genes, hint="select genes on this split")
    kept = set(selection.kept)
    _columns(table, selection.kept)
    return tuple(gene for gene in table.gene_ids if gene in kept)


def no_expression() -> Expression:
    """The table of a method that reads none: no patient, no gene."""
    return Expression((), (), (), (), np.zeros((0, 0), dtype=np.float32), "none")


def load_expression(store: Store) -> Expression:
    """The store's expression.

    Raises:
        StoreError: ``MISSING``.
    """
    if not store.has(schema.RNA):
        hint = "write it with `mirror-data expression`"
        raise StoreError("MISSING", "the store holds no expression", file=store.url, key=schema.RNA, hint=hint)
    return read_expression(store)
