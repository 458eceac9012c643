"""Section: which genes were kept, and how they differ between subtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from mirror_data.store import Expression, GeneSelection

from mirror_eval.figures.maps import gene_panel
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Section, Table, count, csv_text, number
from mirror_eval.report.evidence import Evidence, Missing

GENES_SHOWN = 40
GENES_LISTED = 25


def genes(evidence: Evidence) -> Section:
    """Heatmap of the kept genes that part the subtypes most, and a table of them."""
    selection, expression = evidence.genes, evidence.expression
    if isinstance(selection, Missing):
        return Section("genes", "Selected genes", "", (Absent("Selected genes", selection.reason),))
    chosen = int((selection.ranking == 1).sum())
    listed_ones = len(selection.kept) - len(
        {g for g, r in zip(selection.gene_ids, selection.ranking, strict=True) if r == 1} & set(selection.kept)
    )
    lead = (
        f"Of {count(len(selection.gene_ids), 'gene')}, fold {selection.fold} keeps {len(selection.kept):,}: {chosen:,} "
        f"by recursive elimination and {listed_ones:,} more from the cancer-gene list. "
        f"{_fitted_on(evidence, selection)}"
    )
    blocks: list[Block] = []
    if isinstance(expression, Missing):
        blocks.append(Absent("Heatmap of genes", expression.reason))
    elif len(set(evidence.subtype_of.values())) < 2:
        blocks.append(Absent("Heatmap of genes", "Fewer than two subtypes are known, so no gene can part them."))
    else:
        blocks += _heatmap(evidence, selection, expression)
    return Section("genes", "Selected genes", lead, tuple(blocks))


def _fitted_on(evidence: Evidence, selection: GeneSelection) -> str:
    """Whether the selection saw anyone but training patients of the run's fold, checked here."""
    fitted = f"It was fitted on {count(len(selection.fitted_on), 'patient')}"
    outside = len(set(selection.fitted_on) - set(evidence.fold.train))
    if outside:
        return f"Beware: {fitted.lower()}, of whom {outside:,} are not training patients of this fold."
    return f"{fitted}, all of them training patients of this fold: no validation or test patient had a say."


def separation(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """F statistic of one-way analysis of variance of each gene: values (n, g), labels (n,); returns (g,)."""
    names = np.unique(labels)
    means = np.stack([values[labels == name].mean(axis=0) for name in names])  # (K, g)
    sizes = np.array([(labels == name).sum() for name in names])
    between = (sizes[:, None] * (means - values.mean(axis=0)) ** 2).sum(axis=0) / max(len(names) - 1, 1)
    within = sum(((values[labels == name] - means[k]) ** 2).sum(axis=0) for k, name in enumerate(names))
    return between / np.maximum(within / max(len(values) - len(names), 1), 1e-12)


def _heatmap(evidence: Evidence, selection: GeneSelection, expression: Expression) -> list[Block]:
    subtype, fitted = evidence.subtype_of, set(selection.fitted_on)
    column = {gene: k for k, gene in enumerate(expression.gene_ids)}
    kept = [gene for gene in selection.kept if gene in column]
    patients = [(subtype[p], p, row) for row, p in enumerate(expression.patient_ids) if p in subtype]
    train = [(label, row) for label, p, row in patients if p in fitted]
    if not kept or len({label for label, _ in train}) < 2:
        return [Absent("Heatmap of genes", "The expression holds no kept gene of two subtypes' training patients.")]
    values = expression.values[:, [column[gene] for gene in kept]].astype(float)  # (patients, kept)
    fitted_rows = values[[row for _, row in train]]
    f = separation(fitted_rows, np.array([label for label, _ in train]))
    best = sorted(range(len(kept)), key=lambda k: (-f[k], kept[k]))[:GENES_SHOWN]
    mean, sd = fitted_rows.mean(axis=0), fitted_rows.std(axis=0)
    shown = (values - mean) / np.where(sd > 0, sd, 1.0)
    patients.sort()
    matrix = shown[[row for _, _, row in patients]][:, best].T  # (genes, patients)
    order = _by_pattern(matrix)
    best, matrix = [best[k] for k in order], matrix[order]
    labels = np.array([label for label, _, _ in patients])
    sizes = [(str(name), int((labels == name).sum())) for name in np.unique(labels)]
    names = [expression.symbols[column[kept[k]]] or kept[k] for k in best]
    cancer = {gene for gene, flag in zip(selection.gene_ids, selection.cancer, strict=True) if flag}
    alt = f"Expression of {len(best)} selected genes in {len(patients)} patients, ordered by subtype."
    panel = gene_panel("genes", np.clip(matrix, -2.5, 2.5), names, sizes, [kept[k] in cancer for k in best], alt)
    table = pd.DataFrame(matrix, columns=[p for _, p, _ in patients])
    table.insert(0, "gene", names)
    caption = (
        f"The {len(best)} kept genes that part the subtypes most clearly in the training patients of fold "
        f"{selection.fold}, in every patient with RNA "
        "(standardised by the training patients' mean and deviation). * on the cancer-gene list."
    )
    return [Figure("gene-heatmap", caption, (panel,), csv=csv_text(table)), _table(selection, kept, f, expression)]


def _by_pattern(matrix: np.ndarray) -> np.ndarray:
    """Order of the rows (genes) along their first principal component, so that genes that go together stand "
    "together."""
    left, _, _ = np.linalg.svd(matrix - matrix.mean(axis=1, keepdims=True), full_matrices=False)
    first = left[:, 0] * (np.sign(left[np.argmax(np.abs(left[:, 0])), 0]) or 1.0)
    return np.argsort(-first, kind="stable")


def _table(selection: GeneSelection, kept: list[str], f: np.ndarray, expression: Expression) -> Table:
    place = {gene: k for k, gene in enumerate(selection.gene_ids)}
    symbol = dict(zip(expression.gene_ids, expression.symbols, strict=True))
    stability = selection.stability
    frame = pd.DataFrame(
        {
            "gene": kept,
            "symbol": [symbol[gene] for gene in kept],
            "separation_f": f,
            "chosen_by_elimination": [bool(selection.ranking[place[gene]] == 1) for gene in kept],
            "on_cancer_list": [bool(selection.cancer[place[gene]]) for gene in kept],
            "stability": [float(stability[place[gene]]) if stability is not None else np.nan for gene in kept],
        }
    ).sort_values(["separation_f", "gene"], ascending=[False, True])
    rows = tuple(_row(record) for record in frame.head(GENES_LISTED).to_dict("records"))
    columns = ("gene", "separation F", "chosen by elimination", "on cancer list", "stability")
    note = (
        "Stability: in what share of resamples of the training patients the gene was kept."
        if stability is not None
        else ""
    )
    if stability is None:
        columns, rows = columns[:-1], tuple(row[:-1] for row in rows)
    return Table(
        "gene-table",
        f"The first {len(rows)} of {len(kept):,} kept genes; the CSV has them all.",
        columns,
        rows,
        note=note,
        csv=csv_text(frame),
    )


def _row(gene: Mapping[Any, Any]) -> tuple[Cell, ...]:
    separation, stability = float(gene["separation_f"]), float(gene["stability"])
    return (
        Cell(str(gene["symbol"] or gene["gene"])),
        Cell(number(separation, 1), sort=separation),
        Cell("yes" if gene["chosen_by_elimination"] else "no"),
        Cell("yes" if gene["on_cancer_list"] else "no"),
        Cell(number(stability, 2), sort=-1.0 if stability != stability else stability),
    )
