"""Tables as people have them: any packing, and everything that is no table."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import polars as pl
import pytest
from mirror_data.errors import BadInput
from mirror_data.tables import file_digest, open_table, plain_name, read_column, read_strings

ROWS = [("a", "1", "x"), ("b", "2.5", "é y"), ("c", "", "z")]


def csv_bytes(separator: str = ",", end: str = "\n") -> bytes:
    lines = [separator.join(row) for row in (("id", "value", "word"), *ROWS)]
    return (end.join(lines) + end).encode()


def zipped(data: bytes, members: int = 1) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            archive.writestr(f"./table_{number}.csv.zip", data)  # a published file names its member so
    return buffer.getvalue()


PACKINGS = {  # named, for a gzip header holds the time and two workers must collect the same tests
    "commas": csv_bytes(),
    "tabs": csv_bytes("\t"),
    "semicolons": csv_bytes(";"),
    "crlf": csv_bytes(end="\r\n"),
    "cr": csv_bytes(end="\r"),
    "byte order mark": b"\xef\xbb\xbf" + csv_bytes(),
    "no last line end": csv_bytes().rstrip(b"\n"),
    "blank lines": csv_bytes() + b"\n\n",
    "gzip": gzip.compress(csv_bytes("\t")),
    "two gzip members": gzip.compress(csv_bytes()[:20]) + gzip.compress(csv_bytes()[20:]),
    "zip": zipped(csv_bytes()),
    "quotes": csv_bytes().replace(b"x", b'"x"'),
}


@pytest.mark.parametrize("data", PACKINGS.values(), ids=PACKINGS)
def test_every_packing_gives_one_table(tmp_path: Path, data: bytes):
    path = tmp_path / "table.anything"
    path.write_bytes(data)
    assert open_table(path).names == ("id", "value", "word")
    frame = read_strings(path)
    assert frame["id"].to_list() == ["a", "b", "c"]
    assert frame["value"].to_list() == ["1", "2.5", None]
    assert frame["word"].to_list() == ["x", "é y", "z"]
    assert read_strings(path, ["word", "id"]).columns == ["word", "id"]


def test_parquet_and_numbers(tmp_path: Path):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"id": ["a", "b"], "value": [1.5, None], "n": [1, 2]}).write_parquet(path)
    assert read_strings(path)["value"].to_list() == ["1.5", None]
    (batch,) = open_table(path).batches([0, 2, 1], numbers=True)
    assert batch.columns == ["c0", "c2", "c1"]
    assert batch.dtypes == [pl.String, pl.Float64, pl.Float64]
    assert batch["c2"].to_list() == [1.0, 2.0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match="NOT_A_TABLE"):
        open_table(path)


def test_what_polars_says_of_damaged_parquet_is_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Some damage makes its Rust code panic, which writes the whole stack to standard error."""
    path = tmp_path / "table.parquet"
    pl.DataFrame({"id": ["a", "b"], "value": [1.5, None], "n": [1, 2]}).write_parquet(path)
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole) - 700, len(whole) - 8):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            read_strings(path)
        except BadInput as error:
            refused += error.code == "NOT_A_TABLE"
    assert refused > 100
    told = capfd.readouterr().err
    assert told == ""
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"


def test_numbers_come_as_strings_where_a_cell_is_none(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("id,a,b\nx,1,NA\ny,2,3\n")
    (batch,) = open_table(path).batches([0, 1, 2], numbers=True)
    assert batch["c2"].to_list() == [None, 3.0]
    path.write_text("id,a,b\nx,1,two\ny,2,3\n")
    (batch,) = open_table(path).batches([0, 1, 2], numbers=True)
    assert batch["c2"].to_list() == ["two", "3"]


def test_a_header_without_a_name_above_the_row_names(tmp_path: Path):
    """As R's write.table has it."""
    path = tmp_path / "t.tsv"
    path.write_text("A\tB\ng1\t1\t2\ng2\t3\t4\n")
    assert open_table(path).names == ("", "A", "B")
    assert next(iter(open_table(path).batches([0, 2], numbers=True)))["c2"].to_list() == [2.0, 4.0]


def test_rows_over_several_blocks_and_progress(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mirror_data.tables.bytes.CHUNK_BYTES", 64)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"id,v\n" + b"".join(b"r%d,%d\n" % (i, i) for i in range(500))))
    seen: list[int] = []
    frames = list(open_table(path).batches([0, 1], numbers=True, watch=seen.append))
    assert len(frames) > 10
    assert pl.concat(frames)["c1"].to_list() == list(range(500))
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size


BAD = {
    "missing": (None, "NOT_FOUND"),
    "empty": (b"", "EMPTY"),
    "blank": (b"\n\n \n", "EMPTY"),
    "utf-16": ("id,v\na,1\n".encode("utf-16"), "ENCODING"),
    "utf-16 without a mark": ("id,v\na,1\n".encode("utf-16-le"), "ENCODING"),
    "nul": (b"id,v\na,\x001\n", "ENCODING"),
    "latin-1": ("id,v\né,1\n".encode("latin-1"), "ENCODING"),
    "cut gzip": (gzip.compress(csv_bytes() * 1000)[:-30], "TRUNCATED"),
    "damaged gzip": (gzip.compress(b"id,v\na,1\n")[:12] + b"\xff" * 20, "TRUNCATED"),
    "bomb": (gzip.compress(b"id,v\na," + b"0" * (1 << 23) + b"\n", 9), "BOMB"),
    "zip bomb": (zipped(b"id,v\na," + b"0" * (1 << 23) + b"\n"), "BOMB"),
    "two members": (zipped(csv_bytes(), 2), "NOT_A_TABLE"),
    "cut zip": (zipped(csv_bytes())[:-10], "NOT_A_TABLE"),
    "web page": (b"<!DOCTYPE html><html></html>", "NOT_A_TABLE"),
    "short row": (b"id,v,w\na,1\nb,2,3\n", "RAGGED_ROW"),
    "extra cell": (b"id,v\na,1\nb,2,3\nc,4\n", "RAGGED_ROW"),
    "comma in a quoted cell": (b'id,v\n"a,b",1\n"c,d",2,3\n', "RAGGED_ROW"),
    "header only": (b"id,v\n", "EMPTY"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_table(tmp_path: Path, case: str):
    data, code = BAD[case]
    path = tmp_path / "t.csv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read_strings(path)
    assert caught.value.code == code
    assert caught.value.file == str(path)


def test_a_spreadsheet_and_a_folder(tmp_path: Path):
    path = tmp_path / "t.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(BadInput, match="NOT_A_TABLE") as caught:
        open_table(path)
    assert "spreadsheet" in caught.value.message
    with pytest.raises(BadInput, match="NOT_A_TABLE"):
        open_table(tmp_path)


def test_ragged_rows_are_told_by_line(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("id,v\n" + "a,1\n" * 5000 + "b\n")
    with pytest.raises(BadInput) as caught:
        read_strings(path)
    assert (caught.value.key, caught.value.expected, caught.value.got) == ("line 5002", "2 cells", "1 cells")


def test_lists(tmp_path: Path):
    path = tmp_path / "list"
    path.write_text("TP53\nMYC\n\nNRAS\n")
    assert read_column(path, ["gene_symbol"]) == ["TP53", "MYC", "NRAS"]
    path.write_text("Gene Symbol\nTP53\nMYC\n")
    assert read_column(path, ["gene_symbol"]) == ["TP53", "MYC"]
    path.write_text("Rank,Gene Symbol,Tier\n1,TP53,1\n2,,1\n3,MYC,2\n")
    assert read_column(path, ["gene_symbol"]) == ["TP53", "MYC"]
    path.write_text("only\n")
    assert read_column(path, ["gene_symbol"]) == ["only"]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="MISSING_COLUMN"):
        read_column(path, ["gene_symbol"])
    path.write_text("symbol,symbol\n1,2\n")
    with pytest.raises(BadInput, match="DUPLICATE"):
        read_column(path, ["symbol"])


def test_small_things(tmp_path: Path):
    assert plain_name(" OS.time (days)") == "os_time_days"
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
