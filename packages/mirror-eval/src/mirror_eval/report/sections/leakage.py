"""Section: whether anything stands on both sides of a fold, or was fitted outside training."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from mirror_eval.leakage import CHECKS, SEVERITIES, Audit
from mirror_eval.report.blocks import Block, Cell, Section, Table, Text, count, csv_text
from mirror_eval.report.evidence import Evidence

NAMES = {"leak": "LEAK"}
LEAD = (
    "Leaks make results look better than they are. Whom scalers, classes and time bins were fitted on is not believed "
    "but fitted again, on the training patients and on wider sets. What could have been looked at and was not says "
    "“not checked”; what nobody can tell from the store, “not recorded”. Neither is “ok”."
)


def leakage(evidence: Evidence) -> Section:
    """A line a check of the run and of its split, then what to do about those that are not ok."""
    audit = evidence.audit
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    rows = tuple(
        (Cell(CHECKS[c.kind]), Cell(NAMES.get(c.severity, c.severity), sort=order[c.severity]), Cell(c.told))
        for c in audit.checks()
    )
    table = Table("audit", leakage_sentence(audit), ("check", "state", "found"), rows, csv=_csv(audit))
    advice = dict.fromkeys(do for check in audit.checks() if check.severity in ("leak", "warning") for do in check.do)
    blocks: list[Block] = [table]
    if advice:
        blocks.append(Text("What to do: " + " ".join(do.rstrip(".") + "." for do in advice)))
    return Section("leakage", "Leakage audit", LEAD, tuple(blocks))


def leakage_sentence(audit: Audit) -> str:
    """What the audit came to, in a sentence."""
    checks = audit.checks()
    leaks = [CHECKS[check.kind] for check in checks if check.severity == "leak"]
    if leaks:
        return f"Leaks in {len(leaks)} of {count(len(checks), 'check')}: {', '.join(dict.fromkeys(leaks))}."
    text = f"No leak found in {count(len(checks), 'check')}"
    warned = sum(check.severity == "warning" for check in checks)
    open_ = sum(check.severity in ("not checked", "not recorded") for check in checks)
    rest = [count(warned, "warning")] * bool(warned) + [f"{open_} not checked or not recorded"] * bool(open_)
    return f"{text}; {', '.join(rest)}." if rest else text + "."


def _csv(audit: Audit) -> str:
    rows = [{**asdict(found.where), **asdict(found)} for found in audit.findings]
    return csv_text(pd.DataFrame(rows).drop(columns=["where", "ids"], errors="ignore"))
