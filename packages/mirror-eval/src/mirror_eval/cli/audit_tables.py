"""An audit as text for a terminal, as plain values for JSON, and as a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from mirror_data.errors import BadInput, some
from mirror_data.whole import write_whole

from mirror_eval.cli.tables import align
from mirror_eval.leakage import CHECKS, SEVERITIES, Audit, Check
from mirror_eval.prediction_tables import check_folder, write_table


def audit_json(audit: Audit) -> dict[str, Any]:
    """Every finding, and how many there are of each severity."""
    counts = {name: sum(found.severity == name for found in audit.findings) for name in SEVERITIES}
    findings = [asdict(found) for found in audit.findings]
    return {"subject": audit.subject, "clean": audit.clean, "counts": counts, "findings": findings}


def audit_lines(audit: Audit) -> list[str]:
    """A verdict, a line a check, then what to do about those that are not ok."""
    checks = audit.checks()
    counts = {name: sum(check.severity == name for check in checks) for name in SEVERITIES}
    leaks = counts["leak"]
    verdict = f"LEAK in {leaks} of {len(checks)} checks" if leaks else f"no leak found in {len(checks)} checks"
    rest = [f"{counts[name]} {_plural(name, counts[name])}" for name in SEVERITIES[1:] if counts[name]]
    lines = [f"{audit.subject}: {verdict}; {', '.join(rest)}" if rest else f"{audit.subject}: {verdict}"]
    for table, places in _tables(checks).items():
        lines += ["", some(places, 3), *table]
    return [*lines, *_to_do(checks)]


def _tables(checks: tuple[Check, ...]) -> dict[tuple[str, ...], list[str]]:
    """The lines on each split and run; places with equal lines share them."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for place in dict.fromkeys(map(_place, checks)):
        own = [check for check in checks if _place(check) == place]
        grid = [["  " + CHECKS[check.kind], _mark(check), check.told] for check in own]
        tables.setdefault(tuple(align(grid)), []).append(place)
    return tables


def _to_do(checks: tuple[Check, ...]) -> list[str]:
    """What to do, the gravest first, each advice once."""
    ordered = sorted(checks, key=lambda check: SEVERITIES.index(check.severity))
    advice: dict[str, dict[str, None]] = {}
    for check in ordered:
        for do in check.do:
            advice.setdefault(do, {})[CHECKS[check.kind]] = None
    return ["", "what to do", *(f"  {', '.join(kinds)}: {do}" for do, kinds in advice.items())] if advice else []


def _place(check: Check) -> str:
    return f"run {check.where.run} (split {check.where.split})" if check.where.run else check.where.split


def _mark(check: Check) -> str:
    return check.severity.upper() if check.severity == "leak" else check.severity


def _plural(severity: str, count: int) -> str:
    return "warnings" if severity == "warning" and count != 1 else severity


def check_out(out: str) -> None:
    """Refuse a file that could not be written, before the work.

    Raises:
        BadInput: ``BAD_OPTION`` for another ending than .csv or .json, ``NOT_FOUND`` if the folder is missing.
    """
    if Path(out).suffix.lower() not in (".csv", ".json"):
        raise BadInput("BAD_OPTION", "unknown kind of file", key="--out", expected=".csv or .json", got=Path(out).name)
    check_folder(out)


def write_audit(audit: Audit, out: str) -> Path:
    """Write every finding as CSV or JSON, whole or not at all.

    Raises:
        BadInput: ``UNWRITABLE``.
    """
    path = Path(out)
    if path.suffix.lower() == ".csv":
        rows = [asdict(found) | asdict(found.where) | {"ids": " ".join(found.ids)} for found in audit.findings]
        table = pd.DataFrame(rows).drop(columns="where")
        counted = {name: table[name].astype("Int64") for name in ("fold", "count", "of")}
        return write_table(table.assign(**counted), path)
    text = json.dumps(audit_json(audit), indent=2, sort_keys=True) + "\n"
    write_whole(path, text.encode(), "audit")
    return path
