"""What an audit finds: one `Finding` a check and fold, and the `Audit` that holds them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["leak", "warning", "not checked", "not recorded", "ok"]
SEVERITIES: tuple[Severity, ...] = ("leak", "warning", "not checked", "not recorded", "ok")  # the gravest first
CHECKS = {  # kind of a finding -> what the check is called for a person, in the order of the table
    "patients": "patients on both sides",
    "aliases": "one person under two ids",
    "unknown": "patients not in the store",
    "repeats": "patients tested more than once",
    "slides": "duplicate slides",
    "expression": "duplicate expression",
    "sites": "submitting sites",
    "scale": "scale of the expression",
    "split": "split trained and tested on",
    "training": "patients trained on",
    "genes": "gene selection",
    "scaler": "scaler of the genes",
    "tiles": "scaler of the tiles",
    "labels": "classes and time bins",
    "predictions": "parts of the predictions",
    "encoder": "slides behind the encoder",
    "stale": "inputs since replaced",
}


@dataclass(frozen=True)
class Where:
    """What a finding is about: a fold of a run, a fold of a split, or all of one."""

    split: str = ""  # name in the store, or of the files
    run: str = ""
    fold: int | None = None  # None where it concerns all folds


@dataclass(frozen=True)
class Finding:
    """One check in one place.

    ``not checked``: the audit could have looked, and did not, for the reason in ``what``. ``not recorded``: nobody can
    tell from what was given. Neither is ever ``ok``.
    """

    kind: str  # a key of `CHECKS`
    severity: Severity
    what: str  # what was found, in words that a count may follow
    where: Where
    do: str = ""  # what to do about it
    count: int | None = None  # how many, where something was counted
    of: int | None = None  # among how many
    ids: tuple[str, ...] = ()  # whom it concerns, only where ids were asked for

    @classmethod
    def of_some(
        cls, kind: str, severity: Severity, what: str, where: Where, do: str, who: Collection[str], of: int | None
    ) -> Finding:
        """A finding on these patients (slides, sites), so many of ``of``."""
        return cls(kind, severity, what, where, do, len(who), of, tuple(sorted(who)))


@dataclass(frozen=True)
class Check:
    """A line of the table: one check of one split or run over all its folds."""

    kind: str
    severity: Severity  # the gravest of its findings
    where: Where  # without a fold
    told: str  # what was found, with counts and folds
    do: tuple[str, ...]  # what to do


@dataclass(frozen=True)
class Audit:
    """Everything that was looked at, and what came of it."""

    subject: str  # the store or the files
    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "leak")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def clean(self) -> bool:
        """No leak was found. Warnings, and what could not be checked, may stand beside it."""
        return not self.leaks

    def checks(self) -> tuple[Check, ...]:
        """The findings of all folds as one line a check: splits first, then runs, in the order of `CHECKS`."""
        groups: dict[tuple[str, str, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.where.run, finding.where.split, finding.kind), []).append(finding)
        known = list(CHECKS)
        ordered = sorted(groups, key=lambda key: (key[0], key[1], known.index(key[2])))
        return tuple(_merged(groups[key]) for key in ordered)


def make_audit(subject: str, findings: Iterable[Finding], *, show_ids: bool) -> Audit:
    """An audit that holds ids only where they were asked for."""
    return Audit(subject, tuple(found if show_ids else replace(found, ids=()) for found in findings))


def _merged(findings: list[Finding]) -> Check:
    """One line of several findings: what is not ok hides what is."""
    first = findings[0]
    worst = min((finding.severity for finding in findings), key=SEVERITIES.index)
    shown = [finding for finding in findings if finding.severity != "ok"] or findings
    told: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in sorted(shown, key=lambda finding: SEVERITIES.index(finding.severity)):
        told.setdefault((finding.severity, finding.what), []).append(finding)
    everywhere = {finding.where.fold for finding in findings}
    text = "; ".join(_told(what, same, everywhere) for (_, what), same in told.items())
    do = tuple(dict.fromkeys(finding.do for finding in shown if finding.do))
    return Check(first.kind, worst, replace(first.where, fold=None), text, do)


def _told(what: str, findings: list[Finding], everywhere: set[int | None]) -> str:
    """``what`` with the count of each fold, or with the folds it holds for where not for all."""
    folds = [finding.where.fold for finding in findings if finding.where.fold is not None]
    where = f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
    if any(finding.count is not None for finding in findings):
        return f"{what}: {_counts(findings)}" + (f" in {where}" if folds else "")
    return f"{what} ({where})" if folds and len(folds) < len(everywhere) else what


def _counts(findings: list[Finding]) -> str:
    """``15, 10, 3 of 898`` where all are among as many, else ``15 of 898, 10 of 897``."""
    totals = {finding.of for finding in findings}
    if len(totals) > 1:
        return ", ".join(_counts([finding]) for finding in findings)
    counts, total = ", ".join(str(finding.count) for finding in findings), totals.pop()
    return counts if total is None else f"{counts} of {total}"
