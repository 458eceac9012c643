"""The comparison on the page is that of the command, with the run's single modalities and the runs beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mirror_eval.compare import compare
from mirror_eval.method_sources import methods_of_runs
from mirror_eval.report.blocks import Absent, Figure, Table, Text
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.comparison import comparison
from mirror_eval.verdicts import verdict

from tests.eval.report.filled_store import RUN

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(("task", "metric"), [("subtype", "auroc"), ("survival", "c_harrell")])
def test_differences_are_those_of_the_command(full_store, full_evidence: Evidence, task, metric) -> None:
    found = full_evidence.comparisons[task]
    assert not isinstance(found, Missing)
    assert [d.second for d in found.differences] == [f"{RUN}, slides only", f"{RUN}, RNA only", "told", "untrained"]
    runs = [RUN, f"{RUN}:slide", f"{RUN}:rna", "told", "untrained"]
    told = compare(methods_of_runs(full_store, runs, task), metric, reference=RUN, resamples=500)
    for ours, theirs in zip(found.differences, told.differences, strict=True):
        for name in ("difference", "low", "high", "p_naive", "p_test", "p_holm", "p_bootstrap", "resolvable"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), nan_ok=True), name


def test_each_task_has_a_plot_a_table_and_a_verdict(full_evidence: Evidence) -> None:
    section = comparison(full_evidence)
    assert [type(block) for block in section.blocks] == [Figure, Table, Text] * 2
    found = full_evidence.comparisons["survival"]
    assert not isinstance(found, Missing)
    table, text = section.blocks[4], section.blocks[5]
    assert isinstance(table, Table)
    assert isinstance(text, Text)
    assert text.text == " ".join(verdict(found))
    for row, difference in zip(table.rows, found.differences, strict=True):
        assert row[0].text == difference.second
        assert row[1].text == f"{difference.difference:+.3f}".replace("-", "−")
        assert row[4].sort == difference.p_holm
    assert table.csv.splitlines()[0].startswith("cohort,first,second,first_mean")


def test_what_cannot_be_compared_says_why(full_evidence: Evidence) -> None:
    reason = "Nothing stands beside the run."
    alone = replace(full_evidence, comparisons={"subtype": Missing(reason), "survival": Missing(reason)})
    section = comparison(alone)
    assert section.blocks == (Absent("Comparison, subtype", reason), Absent("Comparison, survival", reason))
    assert section.lead == ""
