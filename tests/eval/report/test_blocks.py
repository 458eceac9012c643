from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mirror_eval.report.blocks import count, csv_text, listed, number, p_value, score_cell
from mirror_eval.report.paper import PUBLISHED
from mirror_eval.report.sections.genes import separation
from mirror_eval.report.sections.provenance import flat
from mirror_eval.results import Score
from scipy import stats


def test_csv_defuses_formulas_and_keeps_numbers():
    table = pd.DataFrame(
        {"id": ["=1+1", "-x", "+y", "@z", "fine, really"], "value": [-1.5, np.nan, 0.1234567891, 2, 3]}
    )
    lines = csv_text(table).splitlines()
    assert lines == ["id,value", "'=1+1,-1.5", "'-x,", "'+y,0.123457", "'@z,2", '"fine, really",3']
    assert csv_text(pd.DataFrame({"=cmd()": [1]})).startswith("'=cmd()")


def test_numbers_in_words():
    assert number(0.95449) == "0.954"
    assert number(float("nan")) == "–"
    assert (p_value(0.00001), p_value(0.0312), p_value(float("nan"))) == ("p < 0.0001", "p = 0.031", "p not defined")
    assert (count(1, "patient"), count(1200, "patient")) == ("1 patient", "1,200 patients")
    assert (listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])) == ("a", "a and b", "a, b and c")


def test_a_score_says_mean_deviation_and_interval():
    cell = score_cell(Score("both", "auroc", (0.9, 1.0), 0.95, 0.05, 0.85, 0.99))
    assert (cell.text, cell.detail, cell.sort) == ("0.950 ± 0.050", "0.850 to 0.990", 0.95)
    nan = float("nan")
    undefined = score_cell(Score("both", "auroc", (nan, nan), nan, nan, nan, nan))
    assert (undefined.text, undefined.sort) == ("–", float("-inf"))


def test_nested_parameters_are_told_flat():
    values = {"b": {"y": 0.1234567, "x": None}, "a": [1, 2], "c": True}
    assert flat(values) == (("a", "1, 2"), ("b.x", "not set"), ("b.y", "0.123457"), ("c", "True"))


def test_separation_is_the_f_statistic():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(30, 4)), np.array(list("aab") * 10)
    expected = stats.f_oneway(values[labels == "a"], values[labels == "b"]).statistic
    assert separation(values, labels) == pytest.approx(expected)


def test_the_papers_figures_are_those_of_its_tables():
    brca = {(row.method, row.backbone): row for row in PUBLISHED["brca", "linear"]}
    assert brca["MIRROR", "Phikon"].accuracy == (0.955, 0.023)
    assert brca["MIRROR", "ResNet-50"].c_index == (0.671, 0.096)
    assert {row.method for row in PUBLISHED["nsclc", "few-shot"]} == {"MIRROR", "TANGLE", "PORPOISE"}
