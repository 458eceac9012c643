"""Tests over all test patients of a row, and Uno's tau, as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mirror_eval.calibration import DCalibration
from mirror_eval.cli.tables import HEADINGS, align
from mirror_eval.hazard_ratio import HazardRatio
from mirror_eval.kaplan_meier import LogRank
from mirror_eval.results import Counts, RowTests, SurvivalResult


def survival_lines(result: SurvivalResult) -> list[str]:
    """What follows the table of scores: hazard ratios and tests a row, what could not be tested, tau of each fold."""
    return [*_test_lines(result.tests), *_tau_lines(result.counts)]


def _test_lines(tests: Sequence[RowTests]) -> list[str]:
    if not tests:
        return ["no tests over all folds: support sets of few-shot share their test patients"]
    named = [name for test in tests for name in test.adjusted_for]
    held = " and ".join(dict.fromkeys(named))
    lines: list[tuple[str, Callable[[RowTests], str]]] = [
        ("hazard ratio, a sd of risk", lambda test: _ratio(test.per_sd)),
        (f"  adjusted for {held}", lambda test: _ratio(test.per_sd_adjusted)),
        ("hazard ratio, high against low risk", lambda test: _ratio(test.high_low)),
        (f"  adjusted for {held}", lambda test: _ratio(test.high_low_adjusted)),
        ("log-rank, high against low risk", lambda test: _p(test.log_rank)),
        ("D-calibration (low p: not calibrated)", lambda test: _p(test.d_calibration)),
        ("test patients, events", lambda test: f"{test.patients}, {test.events}"),
    ]
    if held:
        lines.append(("  of them adjusted", lambda test: _counted(test.per_sd_adjusted)))
    grid = [["all folds, each a stratum", *(HEADINGS.get(test.modality, test.modality) for test in tests)]]
    grid += [[title, *map(cell, tests)] for title, cell in lines if any(cell(test) != "-" for test in tests)]
    reasons = dict.fromkeys(reason for test in tests for reason in [*test.absent, *_spread_even(test)])
    return ["", *align(grid), "", *reasons]


def _spread_even(test: RowTests) -> list[str]:
    """What a high p of D-calibration does not say when most patients only count in parts."""
    censored = test.patients - test.events
    if test.d_calibration is None or 2 * censored <= test.patients:
        return []
    return [f"D-calibration spreads the {censored} censored of {test.patients} over bins: its high p says little here"]


def _tau_lines(counts: Counts) -> list[str]:
    """Tau a fold, once if the rows agree on it."""
    rows: dict[str, list[str]] = {}
    for row in counts.folds:
        if row.tau is not None:
            rows.setdefault(row.modality, []).append(f"fold {row.fold} {row.tau:.0f}")
    alike = len({tuple(told) for told in rows.values()}) == 1
    shown = [("", told) for told in list(rows.values())[:1]] if alike else list(rows.items())
    return [
        f"tau of Uno's C and last time scored, days{name and f', {HEADINGS.get(name, name)}'}: {', '.join(told)}"
        for name, told in shown
    ]


def _ratio(found: HazardRatio | None) -> str:
    if found is None or math.isnan(found.ratio):
        return "-"
    return f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}] {_p(found)}"


def _counted(found: HazardRatio | None) -> str:
    return "-" if found is None else f"{found.patients}, {found.events}"


def _p(test: HazardRatio | LogRank | DCalibration | None) -> str:
    if test is None or math.isnan(test.p):
        return "-"
    return "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
