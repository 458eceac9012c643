"""Age and stage as numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mirror_eval.covariates import age_and_stage, stage_number


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(["A", "B", "C"], name="patient_id"))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("Stage I", 1), ("Stage IA", 1), ("Stage IB2", 1), ("IIb", 2), ("stage iii", 3), ("Stage IIIC1", 3),
        ("IV", 4), (" Stage IVA ", 4), (2.0, 2), (4, 4), ("Stage 0", None), ("Stage X", None), ("IS", None),
        ("I/II NOS", None), ("[Not Available]", None), (None, None), (np.nan, None), (7.0, None), ("", None),
    ],
)  # fmt: skip
def test_stages(stage, expected):
    found = stage_number(pd.Series([stage], dtype=object))[0]
    assert np.isnan(found) if expected is None else found == expected


def test_every_stage_of_tcga_is_read_or_known_to_be_none(shared):
    told = pd.read_csv(shared / "data/tcga/tcga_cdr_outcomes.csv.gz")["ajcc_pathologic_tumor_stage"]
    read = pd.Series(stage_number(told), index=told.index)
    assert set(told[read.isna()].dropna()) == {
        "[Not Available]", "[Not Applicable]", "[Discrepancy]", "[Unknown]", "IS", "I/II NOS", "Stage X", "Stage 0",
    }  # fmt: skip
    assert read.value_counts().to_dict() == {1.0: 2070, 2.0: 2215, 3.0: 1750, 4.0: 843}


def test_both_in_the_order_asked_for_and_nothing_filled():
    found = age_and_stage(table(age=[50.0, 60.0, np.nan], stage=["Stage II", "Stage X", "Stage I"]), ["C", "A", "B"])
    assert (found.names, found.absent) == (("age", "stage"), ())
    np.testing.assert_array_equal(found.values, [[np.nan, 1], [50, 2], [60, np.nan]])
    np.testing.assert_array_equal(found.known, [False, True, False])


def test_an_age_without_end_is_not_known():
    found = age_and_stage(table(age=["inf", "60", "50"], stage=[None, "Stage I", "Stage II"]), ["A", "B", "C"])
    np.testing.assert_array_equal(found.known, [False, True, True])
    assert np.isnan(found.values[0, 0])


def test_what_is_absent_is_said():
    nothing = age_and_stage(table(site=["x", "y", "z"]), ["A", "B"])
    assert nothing.names == ()
    assert nothing.values.shape == (2, 0)
    assert nothing.known.all()
    assert nothing.absent == (
        "not adjusted for age: the store holds none",
        "not adjusted for stage: the store holds none",
    )
    same = age_and_stage(table(age=["50", "?", "50"], stage=["Stage I", "Stage II", None]), ["A", "B", "C"])
    assert same.names == ("stage",)
    assert same.absent == ("not adjusted for age: the store holds no two values of it that can be read",)
