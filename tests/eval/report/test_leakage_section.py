"""The audit on the page: every check, the gravest first when sorted, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mirror_eval.leakage import CHECKS, Finding, Where, audit_run
from mirror_eval.report.blocks import Table, Text
from mirror_eval.report.build import lay_out
from mirror_eval.report.evidence import Evidence
from mirror_eval.report.sections.leakage import leakage, leakage_sentence

from tests.eval.report.filled_store import RUN

pytestmark = pytest.mark.timeout(900)


def test_every_check_of_the_audit_is_a_row(full_store, full_evidence: Evidence) -> None:
    audit = audit_run(full_store, RUN)
    assert full_evidence.audit == audit
    (table,) = (block for block in leakage(full_evidence).blocks if isinstance(block, Table))
    told = [(row[0].text, row[1].text.lower(), row[2].text) for row in table.rows]
    assert told == [(CHECKS[check.kind], check.severity, check.told) for check in audit.checks()]
    assert table.csv.count("\n") == 1 + len(audit.findings)
    assert leakage_sentence(audit).startswith(f"No leak found in {len(audit.checks())} checks")


def test_a_leak_stands_at_the_top_of_the_page(full_evidence: Evidence, flat_umap: None) -> None:
    leak = Finding("patients", "leak", "patients in two parts of a fold", Where("s", "", 0), "draw again", 3, 40)
    audit = replace(full_evidence.audit, findings=(leak, *full_evidence.audit.findings))
    leaking = replace(full_evidence, audit=audit)
    blocks = leakage(leaking).blocks
    assert isinstance(blocks[0], Table)
    assert ("patients on both sides", "LEAK") in {(row[0].text, row[1].text) for row in blocks[0].rows}
    assert isinstance(blocks[1], Text)
    assert "draw again." in blocks[1].text
    report = lay_out(leaking, seed=0, paper=None)
    said = dict(report.summary.sentences)["Leakage"]
    assert said.startswith("Leaks in 1 of ")
    assert said.endswith(": patients on both sides.")
