"""What is no gene name, and which symbol a name carries."""

from __future__ import annotations

from pathlib import Path

import pytest
from mirror_data.errors import BadInput
from mirror_data.rna.gene_names import check_gene_names, find_symbols, looks_like_gene, own_symbol


@pytest.mark.parametrize(
    "names",
    [
        ["TP53", "MARCH1", "SEPT2", "1060", "HLA-A", "C1orf112", "A1BG|1", "?|100130426", "DEC1", "7SK", "AP-1"],
        ["ENSG00000141510.17", "ENSG00000012048.23", "ENSG00000182378.13", "ENSG00000182378.13_PAR_Y"],
        ["ENST00000456328", "ENST00000450305"],
        ["ENSG00000141510", "TP53"],
    ],
)
def test_names_that_are_fine(names):
    check_gene_names(names)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["TP53", "1-Mar"], "BAD_GENE"),
        (["TP53", "Sep-02"], "BAD_GENE"),
        (["TP53", "2-Sep-2021"], "BAD_GENE"),
        (["TP53", "2021-03-01"], "BAD_GENE"),
        (["TP53", "2021-03-01 00:00:00"], "BAD_GENE"),
        (["TP53", "01/03/2021"], "BAD_GENE"),
        (["TP53", "2.31E+13"], "BAD_GENE"),
        (["TP53", "43160.0"], "BAD_GENE"),
        (["TP53", ""], "BAD_GENE"),
        (["ENSG00000141510.17", "ENSG00000012048"], "BAD_GENE"),
        (["ENSG00000141510.17", "ENSG00000141510.18"], "BAD_GENE"),
        (["TP53", "MYC", "TP53"], "DUPLICATE"),
    ],
)
def test_names_that_are_not(names, code):
    with pytest.raises(BadInput) as caught:
        check_gene_names(names)
    assert caught.value.code == code
    assert caught.value.hint


def test_symbols_that_ids_carry():
    long = "ENST00000456328.2|ENSG00000223972.5|OTTHUMG00000000961.2|OTTHUMT00000362751.1|DDX11L1-202|DDX11L1|1657|x|"
    names = [
        "TP53",
        "TP53|7157",
        "7157|TP53",
        "?|100130426",
        "ENSG00000141510.17",
        "ENSG00000141510|TP53",
        "7157",
        long,
    ]
    assert [own_symbol(name) for name in names] == ["TP53", "TP53", "TP53", "", "", "TP53", "", "DDX11L1"]


def test_genes_are_known_by_their_looks():
    assert [looks_like_gene(n) for n in ("ENSG00000141510", "FOO|12", "GAPDH", "patient1", "TCGA-3C-AALI")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_probemap(tmp_path: Path):
    path = tmp_path / "probemap.tsv"
    path.write_text("id\tgene\tchrom\nENST00000001.4\tTP53\tchr17\nENST00000002.1\tMYC\tchr8\n")
    found = find_symbols(("ENST00000001.4", "ENST00000002", "ENST00000003.1"), path)
    assert found.symbols == ("TP53", "MYC", "")
    assert (found.known, found.source) == (2, "probemap")
    with pytest.raises(BadInput, match="NO_OVERLAP"):
        find_symbols(("other",), path)
    path.write_text("probe name\tsymbol name\na\tb\n")
    with pytest.raises(BadInput, match="MISSING_COLUMN"):
        find_symbols(("a",), path)
    assert find_symbols(("TP53|7157", "?|1")).symbols == ("TP53", "")
