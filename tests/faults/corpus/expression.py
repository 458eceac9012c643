"""Bad tables of expression, and good ones that look bad."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Sequence

import polars as pl

from tests.faults.corpus.cases import TABLE_SECONDS, Bench, Case

HEAD = "gene,TCGA-AA-0001-01,TCGA-AA-0002-01"


def text(*rows: str, end: str = "\n") -> bytes:
    return (end.join(rows) + end).encode()


def zipped(*members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"table_{number}.csv", member)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"gene": ["TP53", "MYC"], "P1": [1.0, 2.0]}).write_parquet(buffer)
    return buffer.getvalue()


def _case(
    name: str, data: bytes, code: str, told: Sequence[str] = (), options: Sequence[str] = (), listed: str | None = None
) -> Case:
    def words(bench: Bench) -> list[object]:
        patients = [] if listed is None else ["--patients", bench.file("list.txt", listed)]
        table = bench.file("t.csv", data)
        return ["mirror-data", "expression", table, "--store", bench.store, *options, *patients]

    named = ("t.csv",) if code and not options and listed is None else ()
    return Case(f"expression {name}", words, code, (*named, *told), exit=2 if code else 0, seconds=TABLE_SECONDS)


ROWS = ("TP53,1,2", "MYC,3,4")
CASES = (
    _case("short row", text(HEAD, "TP53,1,2", "MYC,1", "ACTB,1,2"), "RAGGED_ROW", ["line 3", "3 cells", "2 cells"]),
    _case("extra cell", text(HEAD, "TP53,1,2", "MYC,1,2,3", "ACTB,1,2"), "RAGGED_ROW", ["line 3", "4 cells"]),
    _case("repeated gene", text(HEAD, "TP53,1,2", "TP53,1,2"), "DUPLICATE", ["TP53"]),
    _case("repeated sample", text(f"{HEAD},TCGA-AA-0001-01", "TP53,1,2,3", "MYC,1,2,3"), "DUPLICATE", ["--repeats"]),
    _case("repeated sample down", text("id,TP53,ACTB", *["TCGA-AA-0001-01,1,2"] * 2), "DUPLICATE", ["1 repeats"]),
    _case("repeated gene across", text("id,TP53,TP53", "TCGA-AA-0001-01,1,2"), "DUPLICATE", ["TP53"]),
    _case(
        "slides that differ",
        text("case_id,slide_id,TP53_rnaseq", "P1,a,1", "P1,b,2"),
        "CONFLICT",
        ["1 patients"],
        ["--gene-suffix", "_rnaseq"],
    ),
    _case("dates", text(HEAD, "TP53,1,2", "1-Mar,1,2", "2-Sep,1,2"), "BAD_GENE", ["2 such", "'2-Sep'", "spreadsheet"]),
    _case("dates the other way round", text(HEAD, "TP53,1,2", "Mar-01,1,2"), "BAD_GENE", ["'Mar-01'"]),
    _case("a gene read as a number", text(HEAD, "TP53,1,2", "2.31E+13,1,2"), "BAD_GENE", ["2.31E+13"]),
    _case("mixed versions", text(HEAD, "ENSG00000141510.17,1,2", "ENSG00000012048,1,2"), "BAD_GENE", ["Ensembl"]),
    _case("a gene called NA", text(HEAD, "NA,1,2", "TP53,1,2"), "BAD_GENE", ["no name"]),
    _case("nan", text(HEAD, "TP53,1,NaN", "MYC,1,2"), "BAD_VALUE", ["1 missing or NaN", "--missing drop-genes"]),
    _case("blank", text(HEAD, "TP53,1,", "MYC,1,2"), "BAD_VALUE", ["first in TP53"]),
    _case("infinite", text(HEAD, "TP53,1,inf", "MYC,1,2"), "BAD_VALUE", ["1 infinite"]),
    _case("infinite for a float32", text(HEAD, "TP53,1e39,2", "MYC,1,2"), "BAD_VALUE", ["1 infinite", "first in TP53"]),
    _case(
        "infinite though missing is allowed",
        text(HEAD, "TP53,1,inf", "MYC,1,2"),
        "BAD_VALUE",
        ["1 infinite"],
        ["--missing", "drop-genes"],
    ),
    _case("negative", text(HEAD, "TP53,1,-2", "MYC,1,2"), "BAD_VALUE", ["--unit zscore"], ["--unit", "tpm"]),
    _case("negative counts", text(HEAD, "TP53,1,-2", "MYC,1,2"), "BAD_VALUE", ["counts"], ["--unit", "counts"]),
    _case("negative zero", text(HEAD, "TP53,-0.0,2", "MYC,3,4"), ""),
    _case("not logarithms", text(HEAD, "TP53,100,2", "MYC,3,4"), "BAD_VALUE", ["above 30"], ["--unit", "log2tpm+1"]),
    _case("text", text(HEAD, "TP53,1,low", "MYC,1,2"), "BAD_VALUE", ["1 text"]),
    _case("a spreadsheet's error", text(HEAD, "TP53,1,#DIV/0!", "MYC,1,2"), "BAD_VALUE", ["1 text"]),
    _case("thousands", text(HEAD, 'TP53,"1,000",2', "MYC,3,4"), "BAD_VALUE", ["decimal comma"]),
    _case(
        "decimal comma", text(HEAD.replace(",", ";"), "TP53;1,5;2,5", "MYC;1,0;2,0"), "BAD_VALUE", ["4 written with"]
    ),
    _case("decimal comma in quotes", text(HEAD, 'TP53,"1,5","2,5"', 'MYC,"1,0","2,0"'), "BAD_VALUE", ["decimal point"]),
    _case("utf-16", "\n".join([HEAD, "TP53,1,2"]).encode("utf-16"), "ENCODING", ["UTF-16", "UTF-8"]),
    _case("latin-1", "\n".join([HEAD, "é,1,2"]).encode("latin-1"), "ENCODING", ["UTF-8"]),
    _case("nul", text(HEAD, "TP53,1,\x002"), "ENCODING", ["NUL"]),
    _case("header only", text(HEAD), "EMPTY", ["no rows"]),
    _case("nothing", b"", "EMPTY"),
    _case("bomb", gzip.compress(text(HEAD, "TP53,1," + "0" * (1 << 23)), 9), "BOMB", ["300 times"]),
    _case("half a gzip", gzip.compress(text(HEAD, *ROWS * 500))[:60], "TRUNCATED", ["download it again"]),
    _case("zip of two", zipped(text(HEAD, *ROWS), text(HEAD, *ROWS)), "NOT_A_TABLE", ["2 members"]),
    _case("half a zip", zipped(text(HEAD, *ROWS))[:-10], "NOT_A_TABLE", ["unpacked"]),
    _case("bzip2", bz2.compress(text(HEAD, *ROWS)), "ENCODING"),
    _case("R's own file", gzip.compress(b"X\n\0\0\0\3" + bytes(100)), "ENCODING", ["binary file"]),
    _case("half a parquet", parquet()[: len(parquet()) // 2], "NOT_A_TABLE", ["damaged or cut"]),
    _case("web page", b"<!DOCTYPE html><html>please log in</html>", "NOT_A_TABLE", ["web page"]),
    _case("one column", text("gene TCGA-AA-0001-01", "TP53 1", "MYC 2"), "NOT_A_TABLE", ["commas, tabs or semicolons"]),
    _case("a cell without an end", text(HEAD, f'"{"x" * 200_000}",1,2', "MYC,3,4"), "NOT_A_TABLE", ["131072"]),
    _case("a quote without an end", text(HEAD, '"TP53,1,2', "MYC,3,4"), "NOT_A_TABLE", ["line 2", "quote"]),
    _case("a line break in a cell", text(HEAD, '"TP\n53",1,2', "MYC,3,4"), "NOT_A_TABLE", ["line 2", "line break"]),
    _case("separator at every end", text(HEAD, "TP53,1,2,", "MYC,3,4,"), "RAGGED_ROW", ["line 2", "4 cells"]),
    _case("blank rows at the end", text(HEAD, *ROWS, ",,", ",,"), "BAD_GENE", ["2 such", "remove those rows"]),
    _case("blank columns at the end", text(f"{HEAD},,", "TP53,1,2,,", "MYC,3,4,,"), ""),
    _case("Excel's csv", b"\xef\xbb\xbf" + text(HEAD.replace(",", ";"), "TP53;1;2", "MYC;3;4", end="\r\n"), ""),
    _case(
        "barcodes of three lengths",
        text("gene,TCGA-AA-0001,TCGA-AA-0001-01A,TCGA-AA-0001-01A-11R-A084-07", "TP53,1,2,3", "ACTB,1,3,4"),
        "",
    ),
    _case(
        "genes as columns",
        text("id,TP53,ACTB", "TCGA-AA-0001-01,1,2", "TCGA-AA-0002-01,1,2"),
        "TRANSPOSED",
        ["--orientation samples-rows"],
        ["--orientation", "genes-rows"],
    ),
    _case(
        "samples as columns",
        text(HEAD, "TP53,1,2", "ACTB,3,4"),
        "TRANSPOSED",
        ["--orientation genes-rows"],
        ["--orientation", "samples-rows"],
    ),
    _case("nobody can tell", text("id,one,two", "x,1,2", "y,3,4"), "ORIENTATION_UNKNOWN", ["--orientation"]),
    _case("clinical columns", text("case_id,age,TP53", "TCGA-AA-0001,50,1"), "BAD_COLUMN", ["age", "--gene-suffix"]),
    _case("no such column", text(HEAD, *ROWS), "MISSING_COLUMN", ["gone"], ["--id-column", "gone"]),
    _case("no such suffix", text("case_id,TP53_cnv", "P1,1"), "EMPTY", ["--gene-suffix"], ["--gene-suffix", "_rnaseq"]),
    _case("normal tissue alone", text("gene,TCGA-AA-0001-11", "TP53,1"), "NO_OVERLAP", ["normal tissue"]),
    _case("of other patients", text(HEAD, *ROWS), "NO_OVERLAP", ["2 samples", "12 characters"], listed="P1\nP2\n"),
    _case("an empty list of patients", text(HEAD, *ROWS), "EMPTY", ["list.txt"], listed=""),
    _case("unknown unit", text(HEAD, *ROWS), "BAD_OPTION", ["--unit", "tpms"], ["--unit", "tpms"]),
    _case("a logarithm of zero", text(HEAD, *ROWS), "BAD_OPTION", ["--unit"], ["--unit", "log2tpm+0"]),
    _case("an offset of NaN", text(HEAD, *ROWS), "BAD_OPTION", ["--log2-offset"], ["--log2-offset", "nan"]),
    _case("an offset of 0", text(HEAD, *ROWS), "BAD_OPTION", ["--log2-offset"], ["--log2-offset", "0"]),
    _case("no unit fits", text(HEAD, "TP53,-500,2", "MYC,900,-800"), "UNIT_UNKNOWN", ["--unit"]),
    Case(
        "expression absent",
        lambda bench: ["mirror-data", "expression", bench.folder / "t.csv", "--store", bench.store],
        "NOT_FOUND",
        ("t.csv", "check the path"),
    ),
    Case(
        "expression of a folder",
        lambda bench: ["mirror-data", "expression", bench.folder, "--store", bench.store],
        "NOT_A_TABLE",
        ("this is a folder",),
    ),
)
