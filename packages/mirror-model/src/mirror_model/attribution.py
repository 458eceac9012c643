"""Which genes, or sets of genes, a trained network goes by: integrated gradients from an average patient.

Sundararajan et al. 2017, arXiv 1703.01365. Explained is a supervised method's output (each class's logit above their
mean, or the risk), or for MIRROR and TANGLE how near a patient's expression is to the own slides, whose tiles are held
fast. A patient's numbers add up to the output's difference from that of the average training patient.

Shapes: B and n patients, J outputs, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from mirror_data.errors import BadInput
from mirror_data.progress import progress
from mirror_data.spreadsheet import csv_text
from mirror_data.store import Store, open_store, read_split
from mirror_data.whole import write_whole
from torch import Tensor

from mirror_model.batches import Bags, PatientData, size_groups
from mirror_model.cohort import find_features
from mirror_model.draws import EvenDraw, MeanDraw
from mirror_model.gene_groups import named_gene_sets
from mirror_model.learner import Explained
from mirror_model.preparation import load_expression
from mirror_model.trained import Trained, load_trained, trained_folds

STEPS = 32  # points on the way from the average patient to the patient
PARTS = ("train", "validation", "test")
_TINY, _FINE = 1e-12, 0.01


@dataclass(frozen=True)
class GeneAttribution:
    """What each gene adds to each output of each patient."""

    patient_ids: tuple[str, ...]  # n, sorted
    gene_ids: tuple[str, ...]  # G
    symbols: tuple[str, ...]  # G, the id where a symbol is not known
    outputs: tuple[str, ...]  # J
    values: np.ndarray  # float32 (n, J, G)
    gap: float  # mean miss of the sums over mean change of the output, at worst: the error of the integration

    def genes(self) -> pd.DataFrame:
        """A row a gene and output: gene_id, symbol, and as `_summary`."""
        names = pd.DataFrame({"gene_id": self.gene_ids, "symbol": self.symbols})
        return _summary(names, self.values, self.outputs)

    def sets(self, file: Path) -> pd.DataFrame:
        """A row a gene set of a GMT file and output: gene_set, genes (how many), and as `_summary`.

        A set's part in a patient is the sum over its genes.
        """
        found = named_gene_sets(file, self.symbols)
        names = pd.DataFrame({"gene_set": [one.name for one in found], "genes": [len(one.columns) for one in found]})
        values = np.stack([self.values[:, :, one.columns].sum(2) for one in found], axis=2)  # (n, J, sets)
        return _summary(names, values, self.outputs)


def _summary(names: pd.DataFrame, values: np.ndarray, outputs: Sequence[str]) -> pd.DataFrame:
    """``output``, ``mean`` and ``mean_abs`` over the patients, and their ``patients``; by output, the largest first."""
    parts = []
    for number, output in enumerate(outputs):
        own = values[:, number].astype(float)  # (n, rows)
        means = {"output": output, "mean": own.mean(0), "mean_abs": np.abs(own).mean(0), "patients": len(own)}
        part = names.assign(**means)
        parts.append(part.sort_values("mean_abs", ascending=False, kind="stable"))
    return pd.concat(parts, ignore_index=True)


def integrated_gradients(
    function: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor, steps: int = STEPS
) -> Tensor:
    """Attribution (B, J, G) of ``function`` from (B, G) to (B, J), along the straight way from ``baseline`` (G,).

    By Gauss-Legendre quadrature, exact for functions whose gradient is a polynomial of degree below 2 * steps.
    """
    from captum.attr import IntegratedGradients

    with torch.no_grad():
        outputs = function(inputs[:1].expand_as(inputs)).shape[1]
    method = IntegratedGradients(function)
    at_once = len(inputs)  # one point of the way at a time: ``function`` holds these patients' slides, in this order
    start = baseline.expand_as(inputs)
    found = [
        method.attribute(inputs, start, target=j, n_steps=steps, internal_batch_size=at_once) for j in range(outputs)
    ]
    return torch.stack(found, 1)


def attribute_genes(
    store_url: str, run: str, fold: int, *, part: str = "test", steps: int = STEPS, checkpoints: str | None = None
) -> GeneAttribution:
    """Attribution in the patients of one part of a fold who have slides and expression.

    Raises:
        StoreError: ``MISSING`` or ``MISMATCH``.
        BadInput: ``BAD_OPTION`` for an unknown part or a method that reads no expression; ``NO_OVERLAP``.
    """
    store = open_store(store_url)
    trained_folds(store, run, str(fold))  # refuses one that is not there
    trained = load_trained(store, run, fold, checkpoints)
    data = _patients(store, trained, fold, part)
    config = trained.config
    draw = MeanDraw() if config.data.bag == "mean" else EvenDraw(config.data.embed_tiles)
    device = next(trained.network.parameters()).device
    trained.network.requires_grad_(False)
    parts: list[_Part] = []
    with progress(f"attribute {run} fold {fold}", len(data), "patients") as shown:
        for members in size_groups(data, config.data, 1 if config.one_by_one else config.data.eval_batch_size):
            batch = data.batch(members, draw).to(device)
            assert batch.expression is not None
            explained = trained.learner.explained(trained.network, batch)
            parts.append(_explain(batch.patient_ids, explained, batch.expression, steps))
            shown.advance(len(members))
    table = load_expression(store)
    symbol = dict(zip(table.gene_ids, table.symbols, strict=True))
    values = {patient: row for one in parts for patient, row in zip(one.patient_ids, one.values, strict=True)}
    patients, genes = tuple(sorted(values)), trained.preparation.gene_ids
    missed, change = (
        np.concatenate(found).mean(0) for found in zip(*((p.missed, p.change) for p in parts), strict=True)
    )
    return GeneAttribution(
        patients,
        genes,
        tuple(symbol[gene] or gene for gene in genes),
        parts[0].outputs,
        np.stack([values[patient] for patient in patients]),
        float((missed / np.maximum(change, _TINY)).max()),
    )


def _patients(store: Store, trained: Trained, fold: int, part: str) -> PatientData:
    if part not in PARTS:
        raise BadInput("BAD_OPTION", "no such part of a fold", key="--part", expected=", ".join(PARTS), got=part)
    if not trained.method.reads_rna:
        message, got = "this method reads no expression", trained.identity.method
        raise BadInput("BAD_OPTION", message, file=store.url, key="--run", got=got)
    identity = trained.identity
    bags = Bags(store, find_features(store, identity.tiling, identity.encoder), trained.config.data.token_order, 0)
    ids = getattr(read_split(store, identity.split).folds[fold], part)
    data = PatientData(ids, bags, load_expression(store), trained.preparation, ("slide", "rna"))
    if not len(data):
        raise BadInput("NO_OVERLAP", "no patient of that part has slides and expression", key="--part", got=part)
    return data


@dataclass(frozen=True)
class _Part:
    """Of the patients of one batch."""

    patient_ids: tuple[str, ...]  # B
    outputs: tuple[str, ...]  # J
    values: np.ndarray  # (B, J, G)
    change: np.ndarray  # (B, J) size of the output's difference from the average patient's
    missed: np.ndarray  # (B, J) how far the sums over the genes are from it


def _explain(patient_ids: tuple[str, ...], explained: Explained, expression: Tensor, steps: int) -> _Part:
    average = torch.zeros_like(expression[0])  # standardised values: 0 is the training patients' mean
    found = integrated_gradients(explained.function, expression, average, steps)
    with torch.no_grad():
        change = explained.function(expression) - explained.function(average.expand_as(expression))
        missed = (found.sum(2) - change).abs()
    arrays = (value.float().cpu().numpy() for value in (found, change.abs(), missed))
    return _Part(patient_ids, explained.names, *arrays)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """A table as CSV, whole or not at all; text that a spreadsheet would run as a formula gets an apostrophe before it.

    Raises:
        BadInput: ``UNWRITABLE``.
    """
    write_whole(file, csv_text(table).encode(), "table")


def described(found: GeneAttribution, table: pd.DataFrame, file: Path, most: int = 5) -> list[str]:
    """The largest rows of each output, for a person."""
    label = "gene_set" if "gene_set" in table else "symbol"
    lines = [f"{len(found.patient_ids)} patients, {len(table) // len(found.outputs)} rows an output in {file}"]
    for output, rows in table.groupby("output", sort=False):
        top = (f"{name} {mean:+.3f}" for name, mean in rows[[label, "mean"]].head(most).itertuples(index=False))
        lines.append(f"  {output}: {', '.join(top)}")
    lines.append(
        f"  the sums miss the outputs' change by {found.gap:.2%}" + ("; use more --steps" * (found.gap > _FINE))
    )
    return lines
