"""A comparison of methods as text for a terminal and as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mirror_eval.cli.tables import align, plain
from mirror_eval.compare import Comparison, Difference
from mirror_eval.compared import METRICS, Method
from mirror_eval.paired_tests import LEVEL
from mirror_eval.verdicts import verdict

COUNTED = ("p_naive", "p_test", "p_holm", "p_bootstrap", "p_bootstrap_holm")


def comparison_json(comparison: Comparison, methods: Sequence[Method]) -> dict[str, Any]:
    """Everything of a comparison, how many p are below .05, and where the methods come from."""
    fields = {name: getattr(comparison, name) for name in ("metric", "test", "reference", "resamples")}
    below = {name: len(comparison.claims(name)) for name in COUNTED}
    sources = {(method.cohort, method.name): method.source for method in methods}
    told = [{"cohort": cohort, "method": name, "source": source} for (cohort, name), source in sources.items()]
    differences = [asdict(one) for one in comparison.differences]
    words = list(verdict(comparison))
    return plain({**fields, "below_05": below, "methods": told, "differences": differences, "verdict": words})


def comparison_lines(comparison: Comparison, methods: Sequence[Method]) -> list[str]:
    """A table for a person, a line a comparison, then what to make of it."""
    everything = comparison.differences
    grouped = any(one.cohort for one in everything)
    reference = comparison.reference
    heads = ["cohort"] * grouped + (["against"] if reference else ["first", "second"])
    corrected = "corrected t" if comparison.test == "corrected-t" else "Wilcoxon"
    heads += [
        "difference",
        "95 % interval",
        "plain t",
        corrected,
        "Holm",
        "bootstrap",
        "Holm",
        "resolves",
        "80 % power",
    ]
    grid = [heads, *(_row(one, grouped, reference is not None) for one in everything)]
    title = METRICS[comparison.metric].name
    title += f": {reference} minus each other method" if reference else ": the first method minus the second"
    sizes = {(round(one.tested), one.fitted) for one in everything}
    legend = [
        "difference of the means over folds [95 % interval: the same patients drawn again for both, within folds]",
        f"p, all two-sided: plain t over folds; {_test(comparison)}; bootstrap; "
        f"Holm: corrected over {len(everything)} comparisons",
        "resolves: difference with which the corrected t has p = .05; 80 % power: true difference it finds that often",
        f"patients of a fold tested {_range([tested for tested, _ in sizes])}, "
        f"trained on {_range([fitted for _, fitted in sizes])}",
    ]
    made = {method.name: method.source for method in methods}
    if len(set(made.values())) == 1:
        made = {"every method": methods[0].source}
    sources = [f"{name}: {source}" for name, source in made.items()]
    return [title, "", *align(grid), "", *legend, *sources, "", *verdict(comparison)]


def _row(one: Difference, grouped: bool, referred: bool) -> list[str]:
    names = [one.second] if referred else [one.first, one.second]
    interval = "" if math.isnan(one.low) else f"[{one.low:+.3f}, {one.high:+.3f}]"
    chances = [_p(getattr(one, name)) for name in COUNTED]
    limits = ["-" if math.isnan(value) else f"{value:.3f}" for value in (one.resolvable, one.resolvable_power)]
    return [*([one.cohort] * grouped), *names, f"{one.difference:+.3f}", interval, *chances, *limits]


def _test(comparison: Comparison) -> str:
    if comparison.test == "wilcoxon":
        return "Wilcoxon signed-rank over folds"
    return "corrected t (Nadeau-Bengio, shared training patients)"


def _p(value: float) -> str:
    """Three digits, or four next to the level, so that nobody has to guess on which side it is."""
    if math.isnan(value) or value < 0.001:
        return "-" if math.isnan(value) else "<.001"
    return f"{value:.{4 if abs(value - LEVEL) < 0.0005 else 3}f}".removeprefix("0")


def _range(values: Sequence[float]) -> str:
    if any(math.isnan(value) for value in values):
        return "a number not known"
    low, high = round(min(values)), round(max(values))
    return f"{low}" if low == high else f"{low} to {high}"
