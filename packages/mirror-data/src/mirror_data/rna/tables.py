"""An expression table of anybody's to one `Expression`: one sample a patient, a stated unit, every loss counted.

Shapes: n patients, g genes. Only the wanted samples are ever in memory: the table is parsed in batches of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mirror_data import ids
from mirror_data.errors import BadInput
from mirror_data.opaque import AS_THEY_ARE, Naming
from mirror_data.rna.gene_names import check_gene_names, find_symbols
from mirror_data.rna.layout import Layout, Orientation, find_layout
from mirror_data.rna.samples import TUMOUR_TYPES, Choice, choose_samples
from mirror_data.rna.units import Unit, convert, guess_unit, parse_unit, stored_unit
from mirror_data.rna.values import Faults, to_numbers
from mirror_data.store import Expression
from mirror_data.tables import Table, file_digest, open_table

Watch = Callable[[int], None]
_Dropped = tuple[tuple[str, int], ...]  # reason, count


@dataclass(frozen=True)
class ExpressionOptions:
    """How to read an expression table; see the command ``expression``."""

    unit: str = "auto"
    log2_offset: float | None = None
    orientation: Orientation = "auto"
    id_column: str | None = None
    gene_suffix: str = ""
    sample_types: tuple[str, ...] = TUMOUR_TYPES
    missing: Literal["refuse", "drop-genes"] = "refuse"
    repeats: Literal["refuse", "first"] = "refuse"  # samples whose id stands there twice
    probemap: str | None = None
    naming: Naming = AS_THEY_ARE  # what the store calls patients and samples


@dataclass(frozen=True)
class ExpressionTable:
    """What was read, and what was not."""

    expression: Expression
    table_genes: int
    table_samples: int
    dropped_samples: _Dropped
    dropped_genes: int  # incomplete ones
    sample_types: tuple[tuple[str, int], ...]
    genes_with_symbol: int
    table_unit: str
    unit_source: str  # "stated" or "guessed"
    orientation: str


@dataclass(frozen=True)
class _Matrix:
    values: np.ndarray  # float32 (n, g)
    gene_ids: tuple[str, ...]
    choice: Choice
    repeats: _Dropped
    table_samples: int
    faults: Faults

    @property
    def dropped(self) -> _Dropped:
        return tuple(sorted((*self.choice.dropped, *self.repeats)))


def read_expression_table(
    path: str | Path,
    options: ExpressionOptions,
    *,
    wanted: Collection[str] | None = None,
    watch: Watch = lambda done: None,
) -> ExpressionTable:
    """Read, choose, check and convert.

    Args:
        wanted: patients to keep, everybody if None. They also tell samples from genes.
        watch: hears how many bytes of the file have been read.

    Raises:
        BadInput: ``RAGGED_ROW``, ``DUPLICATE``, ``CONFLICT``, ``BAD_GENE``, ``BAD_VALUE``, ``ENCODING``, ``EMPTY``,
            ``BOMB``, ``TRANSPOSED``, ``NO_OVERLAP``, ``UNIT_UNKNOWN``, ``BAD_OPTION``, ``MISSING_COLUMN``, ...
    """
    stated = None if options.unit == "auto" else parse_unit(options.unit)
    table = open_table(path)
    known = frozenset(wanted or ())
    layout = find_layout(
        table,
        orientation=options.orientation,
        id_column=options.id_column,
        gene_suffix=options.gene_suffix,
        is_known=lambda name: options.naming(ids.patient_id(name)) in known,
    )
    read = _read_genes_rows if layout.genes_are_rows else _read_samples_rows
    matrix = read(table, layout, options, wanted, watch)
    matrix.faults.refuse(path, allow_missing=options.missing == "drop-genes")
    complete = np.asarray(~np.isnan(matrix.values).any(axis=0))  # (g,)
    order = np.array(
        [i for i in sorted(range(len(complete)), key=matrix.gene_ids.__getitem__) if complete[i]], dtype=int
    )
    if not len(order):
        raise BadInput("EMPTY", "no gene has a value for every patient", file=path)
    gene_ids = tuple(matrix.gene_ids[i] for i in order)
    values = np.ascontiguousarray(matrix.values[:, order])
    unit = stated or guess_unit(values, path)
    stored = stored_unit(unit, options.log2_offset)
    clipped = convert(values, unit, stored, path)
    symbols = find_symbols(gene_ids, options.probemap)
    transform = _transform(path, options, unit, stored, stated is not None, matrix, clipped, layout, symbols.source)
    return ExpressionTable(
        Expression(
            matrix.choice.patient_ids,
            matrix.choice.sample_ids,
            gene_ids,
            symbols.symbols,
            values,
            str(stored),
            transform,
        ),
        table_genes=len(matrix.gene_ids),
        table_samples=matrix.table_samples,
        dropped_samples=matrix.dropped,
        dropped_genes=len(matrix.gene_ids) - len(order),
        sample_types=matrix.choice.types,
        genes_with_symbol=symbols.known,
        table_unit=str(unit),
        unit_source="guessed" if stated is None else "stated",
        orientation="genes-rows" if layout.genes_are_rows else "samples-rows",
    )


def _transform(
    path: str | Path,
    options: ExpressionOptions,
    unit: Unit,
    stored: Unit,
    stated: bool,
    matrix: _Matrix,
    clipped: int,
    layout: Layout,
    symbols: str,
) -> dict[str, object]:
    """What was done to the table, for the record."""
    steps = []
    if unit != stored:
        if unit.offset is not None:
            steps.append(f"x = max(0, 2^v - {unit.offset:g})")
        steps.append(f"log2(x + {stored.offset:g})")
    return {
        "table": Path(path).name,
        "table_sha256": file_digest(path),
        "table_unit": str(unit),
        "table_unit_source": "stated" if stated else "guessed",
        "orientation": "genes-rows" if layout.genes_are_rows else "samples-rows",
        "steps": steps,
        "below_zero_set_to_zero": clipped,
        "sample_types": list(options.sample_types),
        "samples_in_table": matrix.table_samples,
        "samples_dropped": dict(matrix.dropped),
        "genes_in_table": len(matrix.gene_ids),
        "missing": options.missing,
        "symbols_from": symbols,
    }


def _nobody(choice: Choice, table: Table, found: int) -> None:
    if choice.places:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in choice.dropped) or "none found"
    raise BadInput(
        "NO_OVERLAP",
        "no sample of the table belongs to the cohort",
        file=table.path,
        got=f"{found} samples: {reasons}",
        hint="check --patients and --sample-types; TCGA barcodes join on 12 characters, other ids as they stand",
    )


def _without_repeats(names: Sequence[str], table: Table, options: ExpressionOptions) -> tuple[list[int], _Dropped]:
    """Places of the first of every sample, and how many others there are."""
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        first.setdefault(name, place)
    repeats = len(names) - len(first)
    if repeats and options.repeats == "refuse":
        hint = "keep one of each, or take the first of each with --repeats first"
        raise BadInput("DUPLICATE", "a sample is repeated", file=table.path, got=f"{repeats} repeats", hint=hint)
    return list(first.values()), (("a repeat of a sample", repeats),) if repeats else ()


def _read_genes_rows(
    table: Table, layout: Layout, options: ExpressionOptions, wanted: Collection[str] | None, watch: Watch
) -> _Matrix:
    once, repeats = _without_repeats(layout.value_names, table, options)
    choice = choose_samples(
        [layout.value_names[place] for place in once],
        wanted=wanted,
        sample_types=options.sample_types,
        naming=options.naming,
    )
    _nobody(choice, table, len(layout.value_names))
    columns = [layout.id_column, *(layout.value_columns[once[place]] for place in choice.places)]
    faults, genes, parts = Faults(), [], []
    for frame in table.batches(columns, numbers=True, watch=watch):
        names = [(name or "").strip() for name in frame.to_series(0).to_list()]
        genes += names
        parts.append(to_numbers(frame[:, 1:], faults, names, genes_are_rows=True).astype(np.float32))
    if not genes:
        raise BadInput("EMPTY", "the table has a header and no rows", file=table.path)
    check_gene_names(genes, table.path)
    values = np.empty((len(choice.places), len(genes)), dtype=np.float32)  # (n, g)
    start = 0
    while parts:
        part = parts.pop(0)
        values[:, start : start + len(part)] = part.T
        start += len(part)
    return _Matrix(values, tuple(genes), choice, repeats, len(layout.value_names), faults)


def _read_samples_rows(
    table: Table, layout: Layout, options: ExpressionOptions, wanted: Collection[str] | None, watch: Watch
) -> _Matrix:
    genes = layout.value_names
    check_gene_names(genes, table.path)
    faults, names, parts, seen = Faults(), [], [], 0
    rejected: list[str] = []
    for frame in table.batches([layout.id_column, *layout.value_columns], numbers=True, watch=watch):
        found = [(name or "").strip() for name in frame.to_series(0).to_list()]
        seen += len(found)
        keep = [
            choose_samples([n], wanted=wanted, sample_types=options.sample_types, naming=options.naming).places == (0,)
            for n in found
        ]
        names += [n for n, k in zip(found, keep, strict=True) if k]
        rejected += [n for n, k in zip(found, keep, strict=True) if not k]
        kept = frame.filter(np.array(keep, dtype=bool))[:, 1:]
        parts.append(to_numbers(kept, faults, genes, genes_are_rows=False).astype(np.float32))
    if not seen:
        raise BadInput("EMPTY", "the table has a header and no rows", file=table.path)
    values = np.concatenate(parts) if parts else np.empty((0, len(genes)), np.float32)
    repeats: _Dropped = ()
    if layout.a_row_a_slide:
        rows = len(names)
        names, values = _collapse(names, values, table)
        repeats = (("another row of the patient, equal", rows - len(names)),) if rows > len(names) else ()
    else:
        once, repeats = _without_repeats(names, table, options)
        names, values = [names[place] for place in once], values[once]
    choice = choose_samples(
        [*names, *rejected], wanted=wanted, sample_types=options.sample_types, naming=options.naming
    )
    _nobody(choice, table, seen)
    return _Matrix(values[list(choice.places)], genes, choice, repeats, seen, faults)


def _collapse(names: list[str], values: np.ndarray, table: Table) -> tuple[list[str], np.ndarray]:
    """One row a sample of a table that has one row a slide; the rows of a sample must be alike."""
    first: dict[str, int] = {}
    differ: set[str] = set()
    for row, name in enumerate(names):
        if not np.array_equal(values[row], values[first.setdefault(name, row)], equal_nan=True):
            differ.add(name)
    if differ:
        raise BadInput(
            "CONFLICT",
            "rows of one patient hold different values",
            file=table.path,
            got=f"{len(differ)} patients",
            hint="keep one row of each, or name the samples with --id-column",
        )
    return list(first), values[list(first.values())]
