"""Expression tables into the store: one, or several studies joined on the genes they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mirror_data.cohort.members import add_counts, members, wanted_patients
from mirror_data.errors import BadInput
from mirror_data.progress import progress
from mirror_data.rna.tables import ExpressionOptions, ExpressionTable, read_expression_table
from mirror_data.store import Expression, Store, write_expression
from mirror_data.tables import check_file


def add_expression(
    store: Store,
    paths: Sequence[str | Path],
    options: ExpressionOptions,
    *,
    patients: str = "auto",
    overwrite: bool = False,
) -> ExpressionTable:
    """Read tables for the cohort's patients and commit them as the store's expression, with progress.

    Args:
        patients: see `mirror_data.cohort.members.wanted_patients`.

    Raises:
        BadInput: as `read_expression_table` and `join_expression`. StoreError: ``EXISTS``.
    """
    known = members(store)
    options = replace(options, naming=store.naming)
    wanted = wanted_patients(patients, known.slides | known.clinical, store.naming)
    for path in paths:
        check_file(Path(path))
    found = []
    for path in paths:
        total = max(1, Path(path).stat().st_size >> 20)
        with progress(f"reading {Path(path).name}", total, "MB") as bar:
            done = 0

            def watch(read: int) -> None:
                nonlocal done
                if read >> 20 > done:
                    bar.advance((read >> 20) - done)
                    done = read >> 20

            found.append(read_expression_table(path, options, wanted=wanted.patients, watch=watch))
    joined = join_expression(found)
    write_expression(store, joined.expression, overwrite=overwrite)
    return joined


def join_expression(found: Sequence[ExpressionTable]) -> ExpressionTable:
    """Several studies as one: all patients, the genes that every table has.

    Raises:
        BadInput: ``MISMATCH`` for different units, ``CONFLICT`` if a patient stands in two tables, ``NO_OVERLAP`` if no
            gene is shared.
    """
    if len(found) == 1:
        return found[0]
    units = sorted({one.expression.unit for one in found})
    if len(units) > 1:
        hint = "state --unit and --log2-offset so that all become one, or add tables of one kind"
        raise BadInput("MISMATCH", "the tables are in different units", got=", ".join(units), hint=hint)
    seen = Counter(patient for one in found for patient in one.expression.patient_ids)
    twice = sum(count > 1 for count in seen.values())
    if twice:
        raise BadInput("CONFLICT", "patients stand in two of the tables", got=f"{twice} patients")
    shared = set(found[0].expression.gene_ids).intersection(*(one.expression.gene_ids for one in found[1:]))
    if not shared:
        raise BadInput("NO_OVERLAP", "no gene stands in every table", hint="use tables with the same kind of gene ids")
    genes = tuple(sorted(shared))
    rows = sorted(
        (patient, k, row) for k, one in enumerate(found) for row, patient in enumerate(one.expression.patient_ids)
    )
    columns = [_places(one.expression.gene_ids, genes) for one in found]
    values = np.empty((len(rows), len(genes)), dtype=np.float32)  # (n, g)
    for place, (_, k, row) in enumerate(rows):
        values[place] = found[k].expression.values[row, columns[k]]
    first = found[0].expression
    expression = Expression(
        patient_ids=tuple(patient for patient, _, _ in rows),
        sample_ids=tuple(found[k].expression.sample_ids[row] for _, k, row in rows),
        gene_ids=genes,
        symbols=tuple(first.symbols[i] for i in columns[0]),
        values=values,
        unit=units[0],
        transform={"tables": [dict(one.expression.transform) for one in found], "genes": "shared by all tables"},
    )
    every = {gene for one in found for gene in one.expression.gene_ids}
    return ExpressionTable(
        expression,
        table_genes=len(every),
        table_samples=sum(one.table_samples for one in found),
        dropped_samples=add_counts(one.dropped_samples for one in found),
        dropped_genes=len(every) - len(genes),
        sample_types=add_counts(one.sample_types for one in found),
        genes_with_symbol=sum(map(bool, expression.symbols)),
        table_unit=" and ".join(sorted({one.table_unit for one in found})),
        unit_source=found[0].unit_source,
        orientation=" and ".join(sorted({one.orientation for one in found})),
    )


def _places(have: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    place = {gene: i for i, gene in enumerate(have)}
    return np.array([place[gene] for gene in wanted])
