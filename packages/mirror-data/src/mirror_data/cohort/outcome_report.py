"""What a clinical table brought, for the person at the terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mirror_data.cohort.members import explained
from mirror_data.cohort.outcomes import OutcomeTable


@dataclass(frozen=True)
class OutcomeReport:
    """Counts of an `OutcomeTable`; no patient is named."""

    rows: int
    patients: int
    with_outcome: int
    events: int
    median_days: float | None  # of the times as they are, censored or not
    subtypes: tuple[tuple[str, int], ...]
    columns: tuple[tuple[str, str], ...]  # what was read from where
    dropped: tuple[tuple[str, int], ...]
    without_outcome: tuple[tuple[str, int], ...]
    without_subtype: tuple[tuple[str, int], ...]

    def lines(self) -> list[str]:
        outcome = f"{self.with_outcome} with an outcome, {self.events} events"
        if self.median_days is not None:
            outcome += f", median time {self.median_days:.0f} days"
        return [
            f"{self.patients} patients from {self.rows} rows; {outcome}",
            *([f"subtypes: {', '.join(f'{name} {count}' for name, count in self.subtypes)}"] if self.subtypes else []),
            f"read: {', '.join(f'{what} from {where}' for what, where in self.columns)}",
            *(f"left out: {count}, {explained(reason)}" for reason, count in self.dropped),
            *(f"without an outcome: {count}, {reason}" for reason, count in self.without_outcome),
            *(f"without a subtype: {count}, {reason}" for reason, count in self.without_subtype),
        ]

    def as_json(self) -> dict[str, Any]:
        names = ("subtypes", "columns", "dropped", "without_outcome", "without_subtype")
        return asdict(self) | {name: dict(getattr(self, name)) for name in names}


def outcome_report(found: OutcomeTable) -> OutcomeReport:
    """Count what `found` holds."""
    survival = found.patients.survival()
    labels = list(found.patients.subtypes().values())
    counts = sorted(((name, labels.count(name)) for name in set(labels)), key=lambda pair: (-pair[1], pair[0]))
    chosen = found.columns[0]  # of the first table; others differ in spelling at most
    outcome = chosen.outcome
    columns: list[tuple[str, str]] = [("patient", chosen.patient)]
    if outcome:
        columns.append(("time", f"{outcome.time} ({outcome.unit})"))
        if outcome.event:
            columns.append(("event", outcome.event))
        if outcome.censorship:
            columns.append(("event", f"{outcome.censorship} (1 = no event)"))
    if chosen.subtype:
        columns.append(("subtype", chosen.subtype))
    columns += chosen.covariates
    return OutcomeReport(
        rows=found.rows,
        patients=len(found.patients.table),
        with_outcome=len(survival),
        events=int(survival["event"].sum()) if len(survival) else 0,
        median_days=float(survival["time_days"].median()) if len(survival) else None,
        subtypes=tuple(counts),
        columns=tuple(columns),
        dropped=found.dropped,
        without_outcome=found.without_outcome,
        without_subtype=found.without_subtype,
    )
