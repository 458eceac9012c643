"""The command audit: table, JSON, files, exit statuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from mirror_data.cli.app import run
from mirror_eval.cli.main import cli

FOLDS = {"splits_0.csv": "train,val\nTCGA-AA-0001,TCGA-AA-0002\nTCGA-BB-0003,TCGA-AA-0001\n"}
CLEAN = {"splits_0.csv": "train,val\nTCGA-AA-0001,TCGA-CC-0002\nTCGA-BB-0003,\n"}


@pytest.fixture
def told(capsys):
    """Run a command line: exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run(cli, ["audit", *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(status), out, err

    return call


@pytest.fixture
def folder(tmp_path: Path):
    """Write fold files; returns their folder."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_a_leak_is_shown_and_ends_with_3(told, folder):
    status, text, _ = told("--folds", folder(FOLDS))
    assert status == 3
    lines = text.splitlines()
    assert "LEAK in 1 of 4 checks" in lines[0]
    assert lines[3].split(maxsplit=4)[-1] == "LEAK     patients in two parts of a fold: 1 of 3 in fold 0"
    assert "what to do" in lines
    assert "TCGA-" not in text


def test_clean_folds_end_with_0(told, folder):
    status, text, _ = told("--folds", folder(CLEAN))
    assert status == 0
    assert text.splitlines()[0].endswith("no leak found in 4 checks; 4 ok")
    assert "what to do" not in text


def test_json_counts_and_names_only_where_asked(told, folder):
    status, text, _ = told("--folds", folder(FOLDS), "--json")
    assert status == 3
    found = json.loads(text)
    assert found["clean"] is False
    assert found["counts"] == {"leak": 1, "warning": 2, "not checked": 0, "not recorded": 0, "ok": 2}
    leak = found["findings"][0]
    assert (leak["kind"], leak["severity"], leak["count"], leak["of"]) == ("patients", "leak", 1, 3)
    assert leak["where"] == {"split": leak["where"]["split"], "run": "", "fold": 0}
    assert "TCGA-" not in text
    _, named, _ = told("--folds", folder(FOLDS), "--json", "--show-ids")
    assert json.loads(named)["findings"][0]["ids"] == ["TCGA-AA-0001"]


def test_files(told, folder, tmp_path: Path):
    paths = tmp_path / "audit.csv", tmp_path / "audit.json"
    for path in paths:
        status, _, note = told("--folds", folder(FOLDS), "--out", path)
        assert status == 3
        assert "5 findings in" in note
    with paths[0].open() as file:
        rows = list(csv.DictReader(file))
    told_as_json = json.loads(paths[1].read_text())["findings"]
    assert [row["severity"] for row in rows] == [found["severity"] for found in told_as_json]
    assert (rows[0]["fold"], rows[0]["count"], rows[0]["of"]) == ("0", "1", "3")


def test_strict_sites(told, folder):
    status, text, _ = told("--folds", folder(FOLDS), "--strict-sites")
    assert status == 3
    assert "LEAK in 2 of 4 checks" in text
    assert "sites on both sides: 1 of 2 in fold 0" in text


def test_a_run_of_a_store(told, run_store):
    status, text, _ = told("--store", run_store.url, "--run", "planted")
    assert status == 0
    assert "run planted (split four)" in text
    assert "run told" not in text
    assert "trained and tested on the same split" in text
    lines = {line.strip()[:27].strip(): line for line in text.splitlines()}
    assert "not checked" in lines["scaler of the genes"]
    assert "not recorded" in lines["duplicate slides"]


def test_predictions(told, folder, tmp_path: Path):
    table = tmp_path / "p.csv"
    table.write_text("method,fold,patient_id\nx,0,TCGA-AA-0002\ny,0,TCGA-BB-0003\n")
    status, text, _ = told("--predictions", table, "--by", "method", "--folds", folder(CLEAN))
    assert status == 3
    assert "patients tested who train or validate in" in text
    assert told("--predictions", table)[0] == 0


def test_published_folds_by_command(told, shared: Path):
    status, text, _ = told("--folds", shared / "data/splits/tcga_rcc_with_leaks")
    assert status == 3
    assert "patients in two parts of a fold: 15, 10, 3, 10, 13 of 898 in folds 0, 1, 2, 3, 4" in text
    for name in ("tcga_brca", "tcga_nsclc"):
        assert told("--folds", shared / "data/splits" / name)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "BAD_OPTION"),
        (["--store", "STORE", "--folds", "FOLDER"], "BAD_OPTION"),
        (["--folds", "FOLDER", "--run", "planted"], "BAD_OPTION"),
        (["--folds", "FOLDER", "--deep"], "BAD_OPTION"),
        (["--folds", "FOLDER", "--by", "exp"], "BAD_OPTION"),
        (["--folds", "FOLDER", "--out", "OUT.html"], "BAD_OPTION"),
        (["--folds", "FOLDER", "--out", "FOLDER/none/out.csv"], "NOT_FOUND"),
        (["--folds", "FOLDER/none.csv"], "NOT_FOUND"),
        (["--folds", "FOLDER/text.csv"], "MISSING_COLUMN"),
        (["--predictions", "FOLDER/text.csv"], "BAD_COLUMN"),
        (["--predictions", "FOLDER/splits_0.csv", "--by", "exp"], "BAD_COLUMN"),
        (["--store", "FOLDER"], "NOT_A_STORE"),
        (["--store", "STORE", "--run", "none"], "MISSING"),
        (["--store", "STORE", "--split", "none"], "MISSING"),
    ],
)
def test_bad_input(told, folder, run_store, arguments, code):
    where = folder({**CLEAN, "text.csv": "a,b\n1,2\n"})
    before = sorted(where.iterdir())
    filled = [word.replace("FOLDER", str(where)).replace("STORE", run_store.url) for word in arguments]
    status, out, err = told(*filled)
    assert status == 2
    assert err.startswith(f"{code}:")
    assert "Traceback" not in err + out
    assert sorted(where.iterdir()) == before
