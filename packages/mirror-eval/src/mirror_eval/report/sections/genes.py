"""Section: which genes were kept, and how they differ between subtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from mirror_data.store import Expression, GeneSelection

from mirror_eval.figures.genes import gene_panel, selection_panel, spread_panel
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Section, Table, count, csv_text, number
from mirror_eval.report.evidence import Evidence, Missing

GENES_SHOWN = 40
GENES_LISTED = 25
GENES_SPREAD = 10


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
        blocks.append(_spread(evidence, selection, expression))
    blocks += _curve(selection)
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


def _spread(evidence: Evidence, selection: GeneSelection, expression: Expression) -> Block:
    """The kept cancer genes that vary most between the training patients, by subtype."""
    fitted = np.isin(np.array(expression.patient_ids), selection.fitted_on)
    column = {gene: k for k, gene in enumerate(expression.gene_ids)}
    listed = {gene for gene, flag in zip(selection.gene_ids, selection.cancer, strict=True) if flag}
    genes = [gene for gene in selection.kept if gene in listed and gene in column]
    if not genes or not fitted.any():
        return Absent("Most variable cancer genes", "No gene was kept from a list of cancer genes.")
    values = expression.values[:, [column[gene] for gene in genes]].astype(float)  # (patients, genes)
    variance = values[fitted].var(axis=0)
    most = sorted(range(len(genes)), key=lambda k: (-variance[k], genes[k]))[:GENES_SPREAD]
    known = [row for row, patient in enumerate(expression.patient_ids) if patient in evidence.subtype_of]
    labels = [evidence.subtype_of[expression.patient_ids[row]] for row in known]
    names = [expression.symbols[column[genes[k]]] or genes[k] for k in most]
    shown = values[known][:, most].T  # (genes, patients)
    alt = f"Expression of {len(most)} cancer genes in {len(known)} patients, by subtype."
    panel = spread_panel("gene-spread", shown, names, labels, sorted(set(labels)), expression.unit, alt)
    caption = (
        f"The {len(most)} kept genes of the cancer-gene list whose expression varies most between the training "
        f"patients of fold {selection.fold}. Boxes: quartiles and median of all patients with RNA; whiskers reach 1.5 "
        "times the quartiles' distance."
    )
    table = pd.DataFrame(shown.T, columns=names).assign(subtype=labels)
    table.insert(0, "patient_id", [expression.patient_ids[row] for row in known])
    return Figure("gene-spread", caption, (panel,), csv=csv_text(table))


def _curve(selection: GeneSelection) -> list[Block]:
    """Score by number of genes inside the training part; nothing if the elimination was not cross-validated."""
    curve, chosen = selection.curve, int((selection.ranking == 1).sum())
    if not {"genes", "score", "sd"} <= set(curve) or chosen not in set(curve["genes"].astype(int)):
        return []
    sizes, score, sd = (curve[name].to_numpy(dtype=float) for name in ("genes", "score", "sd"))
    what = str(selection.parameters.get("scoring", "score"))
    alt = f"Cross-validated {what} by number of genes; {chosen} genes were chosen."
    panel = selection_panel("gene-curve", sizes, score, sd, chosen, what, alt)
    caption = (
        "Recursive elimination, cross-validated within the training patients; the band is one standard deviation over "
        "the inner folds. This score chose the number of genes, so it is not an estimate for new patients."
    )
    return [Figure("gene-curve", caption, (panel,), csv=csv_text(curve))]


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
