"""Table of tests over the test patients of all folds: hazard ratios, log-rank, D-calibration."""

from __future__ import annotations

import pandas as pd

from mirror_eval.calibration import DCalibration
from mirror_eval.figures.theme import MODALITY_NAME
from mirror_eval.hazard_ratio import HazardRatio
from mirror_eval.kaplan_meier import LogRank
from mirror_eval.report.blocks import Absent, Cell, Table, csv_text, listed, number, p_value
from mirror_eval.results import RowTests, SurvivalResult

RATIOS = {
    "per_sd": "hazard ratio, a sd of risk",
    "per_sd_adjusted": "the same, adjusted",
    "high_low": "high against low risk",
    "high_low_adjusted": "the same, adjusted",
}
TESTS = {"log_rank": "log-rank", "d_calibration": "D-calibration"}


def hazards(result: SurvivalResult) -> Table | Absent:
    """A line a row of the run; columns without a single value are left out, the reasons stand below."""
    if not result.tests:
        return Absent("Hazard ratios", "They need one prediction a patient.")
    ratios = {name: title for name, title in RATIOS.items() if any(getattr(test, name) for test in result.tests)}
    tests = {name: title for name, title in TESTS.items() if any(getattr(test, name) for test in result.tests)}
    if not ratios and not tests:
        return Absent("Hazard ratios", " ".join(_reasons(result)) or "No row has enough events.")
    rows = tuple(
        (
            Cell(MODALITY_NAME[test.modality], f"{test.patients} patients, {test.events} events"),
            *(_ratio(getattr(test, name)) for name in ratios),
            *(_p(getattr(test, name)) for name in tests),
        )
        for test in result.tests
    )
    held = listed(list(dict.fromkeys(name for test in result.tests for name in test.adjusted_for)))
    note = "Cox models and tests with each fold a stratum; below, the 95 % interval and p."
    note += f" Adjusted for {held}." if held else ""
    note += " A low p of D-calibration says that predicted chances of survival are off; many censored hide it."
    note = " ".join([note, *_reasons(result), _tau(result)]).strip()
    columns = ("", *ratios.values(), *tests.values())
    return Table("hazards", "Test patients of all folds together.", columns, rows, note=note, csv=_csv(result))


def _reasons(result: SurvivalResult) -> list[str]:
    told = dict.fromkeys(reason for test in result.tests for reason in test.absent)
    return [f"{reason[:1].upper()}{reason[1:].rstrip('.')}." for reason in told]


def _tau(result: SurvivalResult) -> str:
    taus = {row.fold: row.tau for row in result.counts.folds if row.tau is not None}
    if not taus:
        return ""
    return "Uno's C, AUC and Brier score end at " + ", ".join(f"{tau:,.0f}" for tau in taus.values()) + " days by fold."


def _ratio(found: HazardRatio | None) -> Cell:
    if found is None or found.ratio != found.ratio:
        return Cell("–", sort=float("-inf"))
    interval = f"{number(found.low, 2)} to {number(found.high, 2)}, {p_value(found.p)}"
    return Cell(number(found.ratio, 2), interval, found.ratio)


def _p(found: LogRank | DCalibration | None) -> Cell:
    return Cell("–", sort=2.0) if found is None or found.p != found.p else Cell(p_value(found.p), sort=found.p)


def _csv(result: SurvivalResult) -> str:
    return csv_text(pd.DataFrame([_values(test) for test in result.tests]))


def _values(test: RowTests) -> dict[str, object]:
    values: dict[str, object] = {"modality": test.modality, "patients": test.patients, "events": test.events}
    for name in RATIOS:
        found = getattr(test, name)
        for field in ("ratio", "low", "high", "p"):
            values[f"{name}_{field}"] = getattr(found, field) if found else None
    return values | {f"{name}_p": getattr(test, name).p if getattr(test, name) else None for name in TESTS}
