"""What no source may do, whatever comes to be written: run what a file says, trust a name, write a live cell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from mirror_data.spreadsheet import FORMULA, csv_text, unformula

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "packages").glob("*/src/**/*.py"))
RUN_WHAT_THEY_READ = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code"}
ONLY_ITS_ERROR = {"weights.py", "clam.py"}  # name pickle.UnpicklingError, which weights_only raises
CELLS_BY_HAND = {
    "spreadsheet.py": "the one place that does it",
    "contact_sheet.py": "each cell goes through `unformula`",
    "opaque_ids.py": "each cell goes through `unformula`",
    "demo.py": "our own made-up patients",
    "demo_tables.py": "our own made-up expression",
}


@cache
def parsed() -> tuple[tuple[Path, ast.Module], ...]:
    assert len(SOURCES) > 150
    return tuple((source, ast.parse(source.read_text(encoding="utf-8"))) for source in SOURCES)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the name it is made by: ``torch.load``, ``eval``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def told(call: ast.Call, name: str) -> object:
    """A constant keyword of a call, None if it is not given."""
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def test_nothing_is_unpickled() -> None:
    """Between our own processes Python itself pickles; no file is ever read so."""
    for source, tree in parsed():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            taken = {name.partition(".")[0] for name in names} & RUN_WHAT_THEY_READ
            assert not taken or (taken == {"pickle"} and source.name in ONLY_ITS_ERROR), (source, taken)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle":
                assert node.attr == "UnpicklingError", (source, node.lineno)


def test_loaders_are_told_to_run_nothing() -> None:
    seen = 0
    for source, tree in parsed():
        for name, call in calls(tree):
            if name == "torch.load":
                assert told(call, "weights_only") is True, (source, call.lineno)
                seen += 1
            if name in ("np.load", "numpy.load"):
                assert told(call, "allow_pickle") is False, (source, call.lineno)
                seen += 1
            assert told(call, "trust_remote_code") is not True, (source, call.lineno)
            assert name not in ("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"), source
            assert told(call, "shell") is not True, (source, call.lineno)
    assert seen >= 3


def test_pages_escape_what_they_are_given() -> None:
    seen = 0
    for source, tree in parsed():
        for name, call in calls(tree):
            if name.rpartition(".")[2] == "Environment":
                assert told(call, "autoescape") is True, (source, call.lineno)
                seen += 1
    assert seen == 2
    for template in (ROOT / "packages").glob("*/src/**/*.j2"):
        text = template.read_text(encoding="utf-8")
        assert 'http-equiv="Content-Security-Policy"' in text, template
        assert "autoescape" not in text, template


def test_every_table_is_written_by_the_one_that_defuses_formulas() -> None:
    for source, tree in parsed():
        for name, call in calls(tree):
            if name.rpartition(".")[2] in ("to_csv", "to_excel", "write_csv", "writer", "DictWriter"):
                assert source.name in CELLS_BY_HAND, (source, call.lineno)


@pytest.mark.parametrize("start", FORMULA)
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    evil = f"{start}HYPERLINK(1)"
    table = pd.DataFrame({"text": [evil, "plain"], "kind": pd.Categorical([evil, "plain"]), evil: [-1.5, 2]})
    header, first, second = csv_text(table).split("\n")[:3]
    assert (header.count(f"'{evil}"), first.count(f"'{evil}"), second) == (1, 2, "plain,plain,2.0")
    assert unformula(evil) == f"'{evil}"
    assert unformula(-1.5) == -1.5
    assert "-1.5" in csv_text(table)
    assert "'-1.5" not in csv_text(table)
    assert list(table.columns) == ["text", "kind", evil]
