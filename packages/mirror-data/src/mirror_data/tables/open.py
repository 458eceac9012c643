"""Open a table: its column names, then the columns one asks for in batches of rows.

Nothing is held but the batch: of a matrix of 198,620 rows and 10,535 columns only the wanted columns are ever parsed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import polars as pl

from mirror_data.errors import BadInput
from mirror_data.tables.bytes import Watch, check_file, line_blocks, magic
from mirror_data.tables.names import plain_name

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "--", "'--", ".")
_SEPARATORS = (b"\t", b",", b";")
_SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace())  # what Python strips; Polars leaves some of it
_PARQUET_ROWS = 20_000
_DAMAGE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)  # of Parquet; a panic is no Exception


class Table(Protocol):
    """A table with a header. Columns are named ``c0``, ``c1``, ... by place, for names may be repeated."""

    path: Path
    names: tuple[str, ...]
    size: int  # bytes of the file, what `watch` counts up to

    def batches(
        self, columns: Sequence[int], *, numbers: bool = False, watch: Watch = lambda done: None
    ) -> Iterator[pl.DataFrame]:
        """The chosen columns in their order; all as strings, or from the second on as numbers.

        With ``numbers``, cells of `MISSING` are null. A batch that holds a cell that is no number comes as strings, for
        the caller to say what is wrong with it.
        """
        ...


def open_table(path: str | Path) -> Table:
    """Open CSV, TSV (also .gz or .zip) or Parquet; the bytes decide, not the suffix.

    Raises:
        BadInput: ``NOT_FOUND``, ``UNREADABLE``, ``NOT_A_TABLE``, ``EMPTY``, ``ENCODING``, ``BOMB``, ``TRUNCATED``.
    """
    path = Path(path)
    check_file(path)
    return _Parquet(path) if magic(path) == b"PAR1" else _Text(path)


def read_strings(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A table that fits in memory, every cell a string (null where `MISSING`), columns by name.

    Args:
        columns: those wanted (each must be there); all if None.

    Raises:
        BadInput: as `open_table`; ``RAGGED_ROW``; ``DUPLICATE`` if a wanted name stands twice; ``EMPTY`` without rows.
    """
    table = open_table(path)
    wanted = list(table.names if columns is None else columns)
    for name in wanted:
        if table.names.count(name) > 1:
            raise BadInput("DUPLICATE", "a column name is repeated", file=table.path, key=name or "(no name)")
    places = [table.names.index(name) for name in wanted]
    frames = list(table.batches(places))
    if not frames:
        raise BadInput("EMPTY", "the table has a header and no rows", file=table.path)
    frame = pl.concat(frames).rename({f"c{place}": name for place, name in zip(places, wanted, strict=True)})
    stripped = [pl.col(name).str.strip_chars(_SPACE) for name in wanted]
    blank = [pl.when(column.is_in(MISSING)).then(None).otherwise(column).name.keep() for column in stripped]
    return frame.with_columns(blank)


def read_column(path: str | Path, headings: Sequence[str]) -> list[str]:
    """The cells of one column: that of the first heading found, or every line of a file that has one column.

    Args:
        headings: plain names (see `plain_name`), best first. A plain list may stand under one of them or under none.

    Raises:
        BadInput: as `read_strings`; ``MISSING_COLUMN`` if there are several columns and none is named so.
    """
    table = open_table(path)
    spelt = {plain_name(name): name for name in reversed(table.names)}
    heading = next((spelt[name] for name in headings if name in spelt), None)
    if heading is not None:
        return read_strings(path, [heading])[heading].drop_nulls().to_list()
    if len(table.names) > 1:
        message = f"none of the columns is named {headings[0]} or the like"
        raise BadInput("MISSING_COLUMN", message, file=path, got=f"{len(table.names)} other columns")
    rows = [cell.strip() for frame in table.batches([0]) for cell in frame.to_series(0).to_list() if cell]
    return [cell for cell in (table.names[0], *rows) if cell not in MISSING]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, for provenance.

    Raises:
        BadInput: as `mirror_data.tables.check_file`.
    """
    check_file(Path(path))
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Text:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        block = next(line_blocks(path), [])
        if not block:
            raise BadInput("EMPTY", "the file holds no text", file=path)
        self.separator = max(_SEPARATORS, key=block[0].count)
        names = tuple(name.strip() for name in self._cells(block[0], 1))
        rows = [self._cells(line, number) for number, line in enumerate(block[1:3], 2)]
        if len(rows) == 2 and {len(row) for row in rows} == {len(names) + 1} and any(row[-1].strip() for row in rows):
            names = ("", *names)  # R writes no name above the row names; a separator at every line's end is no R
        self.names = names

    def batches(
        self, columns: Sequence[int], *, numbers: bool = False, watch: Watch = lambda done: None
    ) -> Iterator[pl.DataFrame]:
        first = 1
        for lines in line_blocks(self.path, watch):
            body = lines[1:] if first == 1 else lines
            self._check_widths(body, first + (first == 1))
            first += len(lines)
            if body:
                yield self._parse(body, columns, numbers)

    def _check_widths(self, lines: list[bytes], first: int) -> None:
        """Every line must have as many cells as the header (an empty line was dropped before)."""
        expected = len(self.names) - 1
        for number, line in enumerate(lines, first):
            if line.count(self.separator) == expected and b'"' not in line:
                continue
            if (found := len(self._cells(line, number))) != expected + 1:
                raise BadInput(
                    "RAGGED_ROW",
                    "a row has another number of cells than the header",
                    file=self.path,
                    key=f"line {number}",
                    expected=f"{expected + 1} cells",
                    got=f"{found} cells",
                    hint="a decimal comma, a stray separator or a cut line; export the table again",
                )

    def _parse(self, lines: list[bytes], columns: Sequence[int], numbers: bool) -> pl.DataFrame:
        text = io.BytesIO(b"\n".join(lines))
        chosen = set(columns[1:]) if numbers else set()
        kinds: dict[str, type[pl.DataType]] = {
            f"c{place}": pl.Float64 if place in chosen else pl.String for place in range(len(self.names))
        }
        try:
            frame = pl.read_csv(
                text,
                has_header=False,
                separator=self.separator.decode(),
                columns=sorted(columns),
                schema=kinds,
                null_values=list(MISSING) if numbers else None,
                empty_string_is_null=numbers,
            )
        except pl.exceptions.PolarsError:
            if not numbers:
                raise BadInput("NOT_A_TABLE", "the table's quoting is broken", file=self.path) from None
            return self._parse(lines, columns, False)
        if frame.height != len(lines):  # a quoted cell went on over the end of its line
            raise BadInput("NOT_A_TABLE", "the table's quoting is broken", file=self.path)
        return frame.select(f"c{place}" for place in columns)

    def _cells(self, line: bytes, number: int) -> list[str]:
        try:
            return next(csv.reader([line.decode(errors="replace")], delimiter=self.separator.decode(), strict=True))
        except csv.Error as error:
            message, hint = f"a line is no row of cells: {error}", "a stray quote or a line break within a cell"
            key = f"line {number}"
            raise BadInput("NOT_A_TABLE", message, file=self.path, key=key, hint=hint) from None


class _Parquet:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with _reading(path):
            schema = pl.read_parquet_schema(path)
            self.rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        self.names = tuple(schema)

    def batches(
        self, columns: Sequence[int], *, numbers: bool = False, watch: Watch = lambda done: None
    ) -> Iterator[pl.DataFrame]:
        names = [self.names[place] for place in columns]
        for start in range(0, self.rows, _PARQUET_ROWS):
            with _reading(self.path):
                part = pl.scan_parquet(self.path).select(names).slice(start, _PARQUET_ROWS).collect()
            frame = part.rename({name: f"c{place}" for name, place in zip(names, columns, strict=True)})
            yield _as_numbers(frame) if numbers else frame.cast(pl.String)
            watch(int(self.size * min(1.0, (start + part.height) / max(self.rows, 1))))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Read Parquet; what Polars cannot read is the file's fault, and Rust's own account of it goes unsaid."""
    with _muted():
        try:
            yield
        except _DAMAGE:
            raise BadInput("NOT_A_TABLE", "the Parquet file is damaged or cut", file=path) from None


@contextmanager
def _muted() -> Iterator[None]:
    """Standard error of this process, Rust's threads included, leads nowhere meanwhile."""
    try:
        kept = os.dup(2)
    except OSError:  # it was closed before we began: nothing to hide
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _as_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Values as numbers where every column is numeric; otherwise all of them as strings."""
    key, values = frame.columns[0], frame.columns[1:]
    kind = pl.Float64 if all(frame.schema[name].is_numeric() for name in values) else pl.String
    return frame.with_columns(pl.col(key).cast(pl.String), *(pl.col(name).cast(kind) for name in values))
