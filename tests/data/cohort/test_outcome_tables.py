"""Clinical tables into the store: what is read from where. Bad tables stand in tests/faults/corpus/clinical.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.cohort.add import read_outcomes
from mirror_data.cohort.columns import OutcomeOptions
from mirror_data.store import Slide, create_store, open_store, read_patients, write_slide


def read(path: Path, text: str, wanted=None, **options):
    path.write_text(text)
    return read_outcomes([path], OutcomeOptions(**options), wanted=wanted)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clinical.csv"


MONTH = 365.25 / 12


@pytest.mark.parametrize(
    ("text", "options", "days", "events"),
    [
        ("patient_id,time_days,event\nB,10,1\nA,20,0\n", {}, [20, 10], [0, 1]),
        ("case_id,survival_months,censorship\nB,10,0\nA,20,1\n", {}, [20 * MONTH, 10 * MONTH], [0, 1]),
        (
            "PATIENT_ID\tOS_MONTHS\tOS_STATUS\nB\t10\t1:DECEASED\nA\t20\t0:LIVING\n",
            {},
            [20 * MONTH, 10 * MONTH],
            [0, 1],
        ),
        ("bcr_patient_barcode,OS,OS.time\nB,1.0,10.0\nA,0.0,20.0\n", {}, [20, 10], [0, 1]),
        ("sample,OS.time,OS,PFI.time,PFI\nB,9,0,10,1\nA,8,1,20,0\n", {"endpoint": "PFI"}, [20, 10], [0, 1]),
        ("patient,time,status\nB,1,Dead\nA,2,alive\n", {"time_unit": "years"}, [730.5, 365.25], [0, 1]),
        (
            "who,t (days),gone\nB,10,yes\nA,20,no\n",
            {"patient_column": "who", "time_column": "t (days)", "event_column": "gone"},
            [20, 10],
            [0, 1],
        ),
        (
            "case_id,survival_months,censored\nB,10,0\nA,20,1\n",
            {"censorship_column": "censored", "time_unit": "days"},
            [20, 10],
            [0, 1],
        ),
        ("case_id,survival_months,censorship,vital_status\nB,1,0,Dead\nA,2,1,Alive\n", {}, [2 * MONTH, MONTH], [0, 1]),
    ],
)
def test_columns_are_found(path: Path, text: str, options: dict, days: list, events: list):
    table = read(path, text, **options).patients.table
    assert list(table.index) == ["A", "B"]
    np.testing.assert_allclose(table["time_days"], days)
    assert table["event"].tolist() == events


def test_rows_of_a_patient_join_and_the_missing_is_counted(path: Path):
    text = """case_id,slide_id,OS.time,OS,oncotree_code,age,stage,Site
TCGA-3C-0001,a,100,1,IDC,50,I,x
TCGA-3C-0001-01A,b,100,1,IDC,50,,x
TCGA-A2-0002,c,0,0,ILC,60.5,II,y
TCGA-A2-0003,d,[Not Available],0,MBC,NA,II,y
TCGA-A2-0004,e,300,0,,70,III,y
,f,300,0,ILC,70,III,y
TCGA-ZZ-0005,g,300,0,ILC,70,III,y
"""
    wanted = {"TCGA-3C-0001", "TCGA-A2-0002", "TCGA-A2-0003", "TCGA-A2-0004"}
    found = read(path, text, wanted, subtypes=("IDC", "ILC"))
    table = found.patients.table
    assert list(table.index) == sorted(wanted)
    assert table["time_days"].tolist()[:1] == [100]
    assert table["time_days"].isna().tolist() == table["event"].isna().tolist() == [False, True, True, False]
    assert table["subtype"].tolist() == ["IDC", "ILC", None, None]
    assert table["site"].tolist() == ["3C", "A2", "A2", "A2"]  # the barcode's, not the column's
    assert table["stage"].tolist() == ["I", "II", "II", "III"]
    assert table["age"].dtype == float
    assert np.isnan(table["age"].iloc[2])
    assert dict(found.dropped) == {"row without a patient id": 1, "patient not in the cohort": 1}
    assert dict(found.without_outcome) == {"time is 0": 1, "time or event missing": 1}
    assert dict(found.without_subtype) == {"missing": 1, "another subtype": 1}


def test_covariates_and_sites_of_other_cohorts(path: Path):
    text = "patient_id,hospital,site,grade,time_days,event\nB,h1,s1,2,10,1\nA,h2,s2,high,20,0\n"
    table = read(path, text, covariates=("clinic=hospital", "grade")).patients.table
    assert table["clinic"].tolist() == ["h2", "h1"]
    assert table["grade"].tolist() == ["high", "2"]  # not all are numbers, so none is
    assert table["site"].tolist() == ["s2", "s1"]
    only = read(path, "patient_id,subtype\nB,x\nA,y\n").patients
    assert list(only.table.columns) == ["subtype"]
    assert only.survival().empty


GOOD = "patient_id,time_days,event,subtype\nA,10,1,x\nB,20,0,y\n"


def test_ids_that_do_not_join_are_counted(tmp_path: Path, path: Path, capsys):
    store = create_store(tmp_path / "s.zarr")
    for name in ("S1", "S2"):
        write_slide(store, Slide(name, name))
    path.write_text(GOOD)
    assert run(cli, ["outcomes", str(path), "--store", str(tmp_path / "s.zarr")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("NO_OVERLAP")
    assert "2 patients in the table, 2 in the cohort, none in both" in error
    assert run(cli, ["outcomes", str(path), "--store", str(tmp_path / "s.zarr"), "--patients", "all"]) == 0


def test_the_command_reports_and_may_be_repeated(tmp_path: Path, path: Path, capsys):
    path.write_text(GOOD)
    arguments = ["outcomes", str(path), "--store", str(tmp_path / "s.zarr"), "--json"]
    assert run(cli, arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["patients"], told["with_outcome"], told["events"]) == (2, 2, 1)
    assert told["subtypes"] == {"x": 1, "y": 1}
    assert told["columns"]["time"] == "time_days (days)"
    first = open_store(tmp_path / "s.zarr").hash("patients")
    assert run(cli, arguments) == 0
    assert open_store(tmp_path / "s.zarr").hash("patients") == first
    path.write_text(GOOD.replace("10", "12"))
    assert run(cli, arguments) == 2
    assert "EXISTS" in capsys.readouterr().err
    assert run(cli, [*arguments, "--overwrite"]) == 0
    assert read_patients(open_store(tmp_path / "s.zarr")).table["time_days"].tolist() == [12.0, 20.0]


def test_several_studies_become_one_cohort(tmp_path: Path, path: Path, capsys):
    other = tmp_path / "other.csv"
    path.write_text("patient_id,time_days,event,subtype,age\nA,10,0,x,50\nB,20,0,x,60\n")
    other.write_text("case_id,OS.time,OS,subtype\nC,30,1,y\nA,10,0,x\n")
    arguments = ["outcomes", str(path), str(other), "--store", str(tmp_path / "s.zarr")]
    assert run(cli, [*arguments, "--subtypes", "x,y"]) == 0
    table = read_patients(open_store(tmp_path / "s.zarr")).table
    assert list(table.index) == ["A", "B", "C"]
    assert table["time_days"].tolist() == [10, 20, 30]
    assert table["subtype"].tolist() == ["x", "x", "y"]
    assert table["age"].tolist()[:2] == [50, 60]
    assert np.isnan(table["age"].iloc[2])
    assert run(cli, ["outcomes", str(path), "--store", str(tmp_path / "one.zarr")]) == 2  # alone it has no event
    other.write_text("case_id,OS.time,OS,subtype\nC,30,1,y\nA,11,0,x\n")
    capsys.readouterr()
    assert run(cli, [*arguments, "--overwrite"]) == 2
    assert capsys.readouterr().err.startswith("CONFLICT")


def test_real_tables(shared: Path):
    brca = read_outcomes([shared / "data/tcga/clinical_rna_brca.csv.zip"], OutcomeOptions(subtypes=("IDC", "ILC")))
    table = brca.patients.table
    assert (len(table), int(table["event"].sum())) == (956, 130)
    assert table["subtype"].value_counts().to_dict() == {"IDC": 737, "ILC": 158}
    assert table["site"].nunique() == 37
    raw = pd.read_csv(
        shared / "data/tcga/clinical_rna_brca.csv.zip", usecols=["case_id", "survival_months", "censorship"]
    )
    raw = raw.drop_duplicates().set_index("case_id").sort_index()
    np.testing.assert_allclose(table["time_days"], raw["survival_months"] * MONTH)
    assert (table["event"] == 1 - raw["censorship"]).all()
    curated = read_outcomes(
        [shared / "data/tcga/tcga_cdr_outcomes.csv.gz"], OutcomeOptions(endpoint="PFI", subtype_column="type")
    )
    assert len(curated.patients.survival()) == 10804
    assert dict(curated.without_outcome) == {"time is 0": 103, "time or event missing": 253}
