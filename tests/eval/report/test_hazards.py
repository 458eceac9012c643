"""The table of tests on the page says what the evaluation found, a line a row of the run."""

from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
import pytest
from mirror_eval.report.blocks import Absent, Table, number
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.hazards import hazards

pytestmark = pytest.mark.timeout(900)


def test_every_row_has_its_ratios_and_tests(full_evidence: Evidence) -> None:
    result = full_evidence.survival
    assert not isinstance(result, Missing)
    table = hazards(result)
    assert isinstance(table, Table)
    assert [row[0].text for row in table.rows] == ["slides only", "RNA only", "slides + RNA"]
    values = pd.read_csv(io.StringIO(table.csv)).set_index("modality")
    for test, row in zip(result.tests, table.rows, strict=True):
        assert test.per_sd is not None
        assert test.log_rank is not None
        assert row[1].text == number(test.per_sd.ratio, 2)
        assert row[1].sort == test.per_sd.ratio > 1
        assert values.loc[test.modality, "per_sd_ratio"] == pytest.approx(test.per_sd.ratio, rel=1e-5)
        assert values.loc[test.modality, "log_rank_p"] == pytest.approx(test.log_rank.p, rel=1e-5)
    assert "the same, adjusted" not in table.columns  # the store has neither age nor stage, and the note says so
    assert "Not adjusted for stage: the store holds none." in table.note
    taus = [row.tau for row in result.counts.folds if row.modality == "both"]
    assert ", ".join(f"{tau:,.0f}" for tau in taus if tau) in table.note


def test_without_tests_it_is_said(full_evidence: Evidence) -> None:
    result = full_evidence.survival
    assert not isinstance(result, Missing)
    absent = hazards(replace(result, tests=()))
    assert absent == Absent("Hazard ratios", "They need one prediction a patient.")
