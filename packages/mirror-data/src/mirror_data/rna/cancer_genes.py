"""The curated cancer genes that are kept whatever the elimination says. The list is the user's; none is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirror_data.errors import BadInput
from mirror_data.tables import file_digest, read_column

_HEADINGS = ("gene_symbol", "symbol", "hugo_symbol", "gene", "gene_name", "hgnc_symbol")


@dataclass(frozen=True)
class CancerGenes:
    """Which genes of an expression table a list names."""

    listed: np.ndarray  # bool (g,)
    symbols: int  # symbols in the list
    unmatched: tuple[str, ...]  # those the table does not have, sorted
    sha256: str


def match_cancer_genes(path: str | Path, symbols: Sequence[str]) -> CancerGenes:
    """Match a list with the genes' symbols; a gene of several symbols ("A,B") matches by any, in any case.

    Args:
        path: the COSMIC export (column "Gene Symbol") or any table with such a column, or one symbol a line.
        symbols: of the g genes of the table, "" where unknown.

    Raises:
        BadInput: ``NO_OVERLAP`` if no gene is named; as `mirror_data.tables.read_column`.
    """
    wanted = {name.upper(): name for name in read_column(path, _HEADINGS)}
    own = [{part.strip().upper() for part in symbol.split(",") if part.strip()} for symbol in symbols]
    listed = np.array([not names.isdisjoint(wanted) for names in own], dtype=bool)
    if not listed.any():
        raise BadInput(
            "NO_OVERLAP",
            "the cancer gene list names none of the table's genes",
            file=path,
            got=f"{len(wanted)} symbols in the list, {sum(map(bool, symbols))} genes with a symbol",
            hint="read the expression again with --probemap, so that its genes have symbols",
        )
    present = set().union(*own)
    missing = tuple(sorted(name for key, name in wanted.items() if key not in present))
    return CancerGenes(listed, len(wanted), missing, file_digest(path))
