"""Valid tables with something changed: their cells, rows and columns, how they are written, or their bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from mirror_data.tables import MISSING

Rows = list[list[str]]
NASTY = (
    *("", " ", "NA", "nan", "inf", "-0", "0", "1", "2", "-1", "1e3", "1e400", "1,5", "1.5.2", "0x10", "1_000", "TRUE"),
    *(
        "Dead",
        "alive",
        "=1+1",
        '"',
        "'",
        "a\nb",
        "a,b",
        "a;b",
        "a\tb",
        "é",
        "\u00a0",
        "\u2028",
        "\x1f",
        "\x7f",
        "²",
        "١",
    ),
    *("P1", "P2", " P1 ", "TP53", "1-Mar", "TCGA-AA-0001-01A", "x" * 300, "../../x", "\ufeff", "#", "--"),
)
BYTES = (
    b"\0",
    b"\xef\xbb\xbf",
    b"\x1a",
    b"\x85",
    b'"',
    b"\r",
    b"\n",
    b"\x0b",
    b"\x1c",
    b"\xff",
    b",",
    b";",
    b"\t",
    b" ",
)


@st.composite
def damaged(draw: st.DrawFn, rows: Rows) -> bytes:
    """A table as bytes: up to three changes of its cells, one way of writing it, up to two changes of its bytes."""
    rows = [list(row) for row in rows]
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=3)):
        if rows and all(rows):
            change(draw, rows)
    data = _written(draw, rows)
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("insert", "cut", "delete", "flip")))
        if kind == "insert":
            data = data[:at] + draw(st.sampled_from(BYTES)) + data[at:]
        elif kind == "cut":
            data = data[:at]
        elif at < len(data):
            data = (
                data[:at]
                + (bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) if kind == "flip" else b"")
                + data[at + 1 :]
            )
    return data


def _written(draw: st.DrawFn, rows: Rows) -> bytes:
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE)))
    if [""] in rows:  # csv has no way to write such a row without quotes
        quoting = csv.QUOTE_MINIMAL
    end = draw(st.sampled_from(("\n", "\n", "\r\n", "\r")))
    separator = draw(st.sampled_from((",", ",", "\t", ";", "|")))
    quoted = {"quoting": quoting, "quotechar": None if quoting == csv.QUOTE_NONE else '"', "escapechar": "\\"}
    csv.writer(text, delimiter=separator, lineterminator=end, **quoted).writerows(rows)
    encoding = draw(st.sampled_from(("utf-8",) * 5 + ("utf-8-sig", "utf-16", "latin-1")))
    return text.getvalue().encode(encoding, errors="replace")


def _row(draw: st.DrawFn, rows: Rows) -> int:
    return draw(st.integers(0, len(rows) - 1))


def _column(draw: st.DrawFn, rows: Rows) -> int:
    return draw(st.integers(0, min(map(len, rows)) - 1))


def _set_cell(draw: st.DrawFn, rows: Rows) -> None:
    rows[_row(draw, rows)][_column(draw, rows)] = draw(st.sampled_from(NASTY))


def _swap_cells(draw: st.DrawFn, rows: Rows) -> None:
    a, b, c, d = _row(draw, rows), _row(draw, rows), _column(draw, rows), _column(draw, rows)
    rows[a][c], rows[b][d] = rows[b][d], rows[a][c]


def _drop_cell(draw: st.DrawFn, rows: Rows) -> None:
    del rows[_row(draw, rows)][_column(draw, rows)]


def _add_cell(draw: st.DrawFn, rows: Rows) -> None:
    rows[_row(draw, rows)].insert(_column(draw, rows), draw(st.sampled_from(NASTY)))


def _drop_row(draw: st.DrawFn, rows: Rows) -> None:
    del rows[_row(draw, rows)]


def _repeat_row(draw: st.DrawFn, rows: Rows) -> None:
    rows.insert(_row(draw, rows), list(rows[_row(draw, rows)]))


def _swap_rows(draw: st.DrawFn, rows: Rows) -> None:
    a, b = _row(draw, rows), _row(draw, rows)
    rows[a], rows[b] = rows[b], rows[a]


def _drop_column(draw: st.DrawFn, rows: Rows) -> None:
    column = _column(draw, rows)
    for row in rows:
        del row[column]


def _repeat_column(draw: st.DrawFn, rows: Rows) -> None:
    a, b = _column(draw, rows), _column(draw, rows)
    for row in rows:
        row.insert(a, row[b])


def _swap_columns(draw: st.DrawFn, rows: Rows) -> None:
    a, b = _column(draw, rows), _column(draw, rows)
    for row in rows:
        row[a], row[b] = row[b], row[a]


CHANGES: tuple[Callable[[st.DrawFn, Rows], None], ...] = (
    *(_set_cell, _set_cell, _swap_cells, _drop_cell, _add_cell, _drop_row, _repeat_row, _swap_rows),
    *(_drop_column, _repeat_column, _swap_columns),
)


def _same_name(found: str, name: str) -> bool:
    """Capitals and punctuation make no other column."""
    plain = [[c for c in text.casefold() if c.isalnum()] for text in (found, name)]
    return found == name or plain[0] == plain[1] != []


@dataclass(frozen=True)
class PlainTable:
    """A table as Python's own csv module reads it: what we read has to agree with it."""

    names: list[str]
    rows: Rows

    def column(self, name: str) -> list[str]:
        """The cells of the first column of this name, however it is spelt, without white space around them."""
        place = next(place for place, found in enumerate(self.names) if _same_name(found, name))
        return [row[place].strip() for row in self.rows]


def read_plainly(data: bytes) -> PlainTable:
    """The table, strictly: UTF-8, rows as wide as the header (or all one wider, where R leaves out a name)."""
    text = data.decode("utf-8-sig")
    first = next(line for line in text.replace("\r", "\n").split("\n") if line.strip())
    separator = max("\t,;", key=first.count)
    read = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names, *rows = [row for row in read if row and not (len(row) == 1 and not row[0].strip())]
    widths = {len(row) for row in rows}
    names = ["", *names] if widths == {len(names) + 1} else names
    assert widths <= {len(names)}, "rows of other widths were read"
    return PlainTable([name.strip() for name in names], rows)


def is_missing(cell: str) -> bool:
    return cell in MISSING
