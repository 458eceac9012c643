"""Tables of predictions: what is read, what is refused with which code, and what is written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from mirror_data.errors import BadInput
from mirror_eval.prediction_tables import RiskColumns, read_classes, read_risks, write_table
from mirror_eval.risk_scores import score_risks

RISKS = """fold,patient_id,risk,time,event
0,B,0.5,20,1
0,A,0.9,10,1
1,C,0.1,30,0
1,D,-2e-1,5.5,1
"""
CLASSES = """fold,patient_id,label,prob_IDC,prob_ILC
0,A,IDC,0.9,0.1
0,B,ILC,0.4,0.6
1,C,IDC,0.5,0.5
1,D,ILC,0.25,0.75
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def code(call) -> str:
    with pytest.raises(BadInput) as raised:
        call()
    assert raised.value.exit == 2
    for patient in ("A", "B"):
        assert f" {patient} " not in str(raised.value)
    return raised.value.code


def test_risks_are_read_sorted_and_typed(tmp_path):
    table = read_risks(file(tmp_path, RISKS))
    assert list(table.columns) == ["fold", "patient_id", "risk", "time", "event"]
    assert list(table["patient_id"]) == ["A", "B", "C", "D"]
    assert list(table["event"]) == [True, True, False, True]
    assert list(table["risk"]) == [0.9, 0.5, 0.1, -0.2]
    score = score_risks(table, resamples=10)[0]
    assert [fold.concordance.c for fold in score.folds] == [1.0, 0.0]
    assert (score.score.mean, score.score.sd) == (0.5, 0.5)


def test_columns_by_other_names_and_censorship(tmp_path):
    text = "id,t,c,risk\nA,10,0,3\nB,20,0,2\nC,30,1.0,1\n"
    table = read_risks(file(tmp_path, text), RiskColumns(censorship="c"))
    assert list(table["event"]) == [True, True, False]
    assert set(table["fold"]) == {"0"}
    named = RiskColumns(patient="who", time="days", event="dead", risk="score", fold="split")
    table = read_risks(file(tmp_path, "who,days,dead,score,split\nA,1,yes,2,x\nB,2,no,1,x\n"), named)
    assert list(table["event"]) == [True, False]


def test_groups_are_scored_by_themselves(tmp_path):
    rows = "".join(f"m{m},{fold},{p},{r},{t},1\n" for m in (1, 2) for fold in (0, 10, 2) for p, r, t in
                   (("A", 3 * (3 - 2 * m), 1), ("B", 2 * (3 - 2 * m), 2), ("C", 1 * (3 - 2 * m), 3)))  # fmt: skip
    path = file(tmp_path, "method,fold,patient_id,risk,time,event\n" + rows)
    assert code(lambda: read_risks(path)) == "DUPLICATE"
    scores = score_risks(read_risks(path, RiskColumns(by=("method",))), ("method",), resamples=0)
    assert [(score.group, score.score.mean) for score in scores] == [(("m1",), 1.0), (("m2",), 0.0)]
    assert [fold.fold for fold in scores[0].folds] == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("risk", "hazard", "BAD_COLUMN"),
        ("event", "outcome", "BAD_COLUMN"),
        (",20,", ",-20,", "BAD_TIME"),
        (",20,", ",,", "BAD_TIME"),
        (",20,", ",soon,", "BAD_TIME"),
        ("20,1", "20,2", "BAD_EVENT"),
        ("20,1", "20,", "BAD_EVENT"),
        ("0.5", "nan", "BAD_VALUE"),
        ("0.5", "inf", "BAD_VALUE"),
        ("0.5", "high", "BAD_VALUE"),
        ("0,B", "0,A", "DUPLICATE"),
        ("1,C", "1,A", "CONFLICT"),
        ("1,C,", "1,,", "BAD_VALUE"),
        ("0.1,30,0", "0.1,30", "RAGGED_ROW"),
    ],
)
def test_wrong_risks_are_refused(tmp_path, old, new, expected):
    assert old in RISKS
    assert code(lambda: read_risks(file(tmp_path, RISKS.replace(old, new, 1)))) == expected


def test_events_coded_one_and_two_get_a_hint(tmp_path):
    text = "patient_id,risk,time,event\nA,1,2,1\nB,1,3,2\n"
    with pytest.raises(BadInput) as raised:
        read_risks(file(tmp_path, text))
    assert raised.value.code == "BAD_EVENT"
    assert "recode" in (raised.value.hint or "")


def test_constant_times_and_only_censored_patients(tmp_path):
    constant = "patient_id,risk,time,event\nA,1,7,1\nB,2,7,1\n"
    assert code(lambda: read_risks(file(tmp_path, constant))) == "BAD_TIME"
    censored = "patient_id,risk,time,event\nA,1,7,0\nB,2,8,0\n"
    assert code(lambda: score_risks(read_risks(file(tmp_path, censored)))) == "NOT_ESTIMABLE"


def test_missing_files_and_options_that_exclude_each_other(tmp_path):
    assert code(lambda: read_risks(tmp_path / "none.csv")) == "NOT_FOUND"
    assert (
        code(lambda: read_risks(file(tmp_path, RISKS), RiskColumns(event="event", censorship="event"))) == "BAD_OPTION"
    )
    assert code(lambda: read_risks(file(tmp_path, RISKS), RiskColumns(by=("method",)))) == "BAD_COLUMN"
    assert code(lambda: read_risks(file(tmp_path, RISKS), RiskColumns(censorship="c"))) == "BAD_COLUMN"


def test_classes_are_read(tmp_path):
    found = read_classes(file(tmp_path, CLASSES))
    assert found.classes == ("IDC", "ILC")
    assert list(found.table["prob_ILC"]) == [0.1, 0.6, 0.5, 0.75]
    assert set(found.table["modality"]) == {"stored"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("prob_", "p_", "BAD_COLUMN"),
        ("label", "truth", "BAD_COLUMN"),
        ("0.9,0.1", "0.9,0.2", "BAD_VALUE"),
        ("0.9,0.1", "1.1,-0.1", "BAD_VALUE"),
        ("0.9", "", "BAD_VALUE"),
        ("B,ILC", "B,LUAD", "MISMATCH"),
        ("0,B", "0,A", "DUPLICATE"),
        ("1,C,IDC", "1,A,ILC", "CONFLICT"),
    ],
)
def test_wrong_classes_are_refused(tmp_path, old, new, expected):
    count = -1 if old == "prob_" else 1
    assert code(lambda: read_classes(file(tmp_path, CLASSES.replace(old, new, count)))) == expected


def test_formulas_are_made_harmless_when_written(tmp_path):
    table = pd.DataFrame({"patient_id": ["=1+1", "@x", "-A", "P1"], "risk": [-1.5, 2.0, 0.25, 1e-17]})
    path = write_table(table, tmp_path / "out.csv")
    back = pd.read_csv(path)
    assert list(back["patient_id"]) == ["'=1+1", "'@x", "'-A", "P1"]
    assert list(back["risk"]) == [-1.5, 2.0, 0.25, 1e-17]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_a_missing_folder_is_named(tmp_path):
    assert code(lambda: write_table(pd.DataFrame({"a": [1]}), tmp_path / "no" / "out.csv")) == "NOT_FOUND"
