"""Names of genes: what is no gene name, and which symbol a gene or transcript stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror_data.errors import BadInput
from mirror_data.tables import open_table, read_strings, words

_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    rf"^(\d{{1,2}}[-/ ]{_MONTH}([-/ ]\d{{2,4}})?|{_MONTH}[-/ ]\d{{1,4}}|"
    r"\d{4}-\d{1,2}-\d{1,2}.*|\d{1,2}/\d{1,2}/\d{2,4})$",
    re.IGNORECASE,
)
_MANGLED = re.compile(r"^[+-]?\d+(\.\d+)?e[+-]?\d+$|^[+-]?\d+\.\d+$", re.IGNORECASE)  # 2310009E13 read as a number
_ENSEMBL = re.compile(r"^(ENS[A-Z]*[GTP]\d{11})(\.\d+)?((?:_PAR_Y)?)(?=$|\|)")
_FAMILIAR = frozenset(
    words(
        "ACTB GAPDH TP53 EGFR MYC PTEN BRCA1 BRCA2 KRAS ERBB2 CDH1 CDKN2A PIK3CA VIM CD8A CD4 MKI67 ESR1 AKT1 RB1 ATM "
        "A1BG A2M BRAF NRAS CCND1 EPCAM KRT5 KRT7 GATA3 B2M TUBB RPLP0 STAT3 JAK2 VEGFA NF1 APC SMAD4 NOTCH1 FOXA1"
    )
)


def is_ensembl(name: str) -> bool:
    """Whether a name starts with an Ensembl gene, transcript or protein id."""
    return _ENSEMBL.match(name) is not None


def looks_like_gene(name: str) -> bool:
    """Whether a name is surely a gene: an Ensembl id, ``SYMBOL|ENTREZ``, or one of a few symbols of every table."""
    return is_ensembl(name) or re.fullmatch(r"[^|]+\|\d+", name) is not None or name.upper() in _FAMILIAR


def check_gene_names(names: Sequence[str], file: object = None) -> None:
    """Refuse names that are none, or that name one gene twice.

    Raises:
        BadInput: ``BAD_GENE`` (empty; a spreadsheet's date or number; Ensembl ids with and without versions, or one id
            in two versions), ``DUPLICATE``.
    """

    def refuse(code: str, message: str, examples: Sequence[str], hint: str) -> None:
        count = len(examples)
        if count:
            shown = ", ".join(map(repr, examples[:3]))
            raise BadInput(code, message, file=file, got=f"{count} such names, like {shown}", hint=hint)

    refuse("BAD_GENE", "a gene has no name", [n for n in names if not n], "remove those rows or columns")
    dates = [n for n in names if _DATE.match(n) or _MANGLED.match(n)]
    hint = "take the table from its source again, and never through a spreadsheet: SEPT2 and MARCH1 become dates there"
    refuse("BAD_GENE", "gene names were turned into dates or numbers by a spreadsheet", dates, hint)
    seen: set[str] = set()
    repeated = [n for n in names if n in seen or seen.add(n)]
    refuse("DUPLICATE", "a gene is repeated", repeated, "use ids that are unique, or join repeated genes first")
    matches = [m for n in names if (m := _ENSEMBL.match(n))]
    bare = [m.group() for m in matches if not m.group(2)]
    if len(bare) != len(matches):
        hint = "take all genes from one Ensembl release"
        refuse("BAD_GENE", "Ensembl ids with and without a version are mixed", bare, hint)
        bases: dict[str, str] = {}
        twice = [m.group() for m in matches if bases.setdefault(m[1] + m[3], m.string) != m.string]
        if "|" not in names[0]:
            refuse("BAD_GENE", "an Ensembl id stands there in two versions", twice, hint)


def own_symbol(name: str) -> str:
    """The symbol an id carries itself, "" if none.

    ``TP53`` is its own; ``TP53|7157`` and ``ENSG..|TP53`` carry one; GENCODE's transcript names hold it in the sixth of
    their fields; numbers, ``?`` and plain Ensembl ids have none.
    """
    parts = name.split("|")
    if len(parts) >= 6 and is_ensembl(parts[0]):
        return parts[5]
    for part in parts:
        if part and part != "?" and not part.isdigit() and not is_ensembl(part) and not part.startswith("OTT"):
            return part
    return ""


@dataclass(frozen=True)
class Symbols:
    """Symbol of each gene id ("" where unknown), and how many have one."""

    symbols: tuple[str, ...]
    known: int
    source: str


def find_symbols(gene_ids: Sequence[str], probemap: str | Path | None = None) -> Symbols:
    """Symbols by a probemap (a table with the columns ``id`` and ``gene``), else from the ids themselves.

    A probemap's id matches with its Ensembl version or, if that finds nothing, without.

    Raises:
        BadInput: ``MISSING_COLUMN`` if the probemap lacks a column, ``NO_OVERLAP`` if it names none of the genes.
    """
    if probemap is None:
        symbols = tuple(map(own_symbol, gene_ids))
        return Symbols(symbols, sum(map(bool, symbols)), "the ids themselves")
    names = {name.lower().lstrip("#"): name for name in open_table(probemap).names}
    key = next((names[n] for n in ("id", "probe", "gene_id", "transcript_id") if n in names), None)
    value = next((names[n] for n in ("gene", "symbol", "gene_name", "gene_symbol") if n in names), None)
    if key is None or value is None:
        expected = "columns id and gene"
        raise BadInput("MISSING_COLUMN", "the probemap lacks a column", file=probemap, expected=expected)
    rows = read_strings(probemap, [key, value]).drop_nulls()
    exact = dict(zip(rows[key], rows[value], strict=True))
    bare = {name.split(".")[0]: symbol for name, symbol in exact.items()}
    symbols = tuple(exact.get(g) or bare.get(g.split(".")[0], "") for g in gene_ids)
    if not any(symbols):
        raise BadInput("NO_OVERLAP", "the probemap names none of the table's genes", file=probemap)
    return Symbols(symbols, sum(map(bool, symbols)), "probemap")
