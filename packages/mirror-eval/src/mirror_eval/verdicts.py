"""A comparison in plain words: how many claims survive which correction, and what could have been seen at all."""

from __future__ import annotations

import numpy as np

from mirror_eval.compare import Comparison, Difference
from mirror_eval.compared import METRICS
from mirror_eval.paired_tests import LEVEL, POWER

_NAMED = 5  # survivors that are listed one by one


def verdict(comparison: Comparison) -> tuple[str, ...]:
    """Sentences for a reader who will not study the table."""
    everything = comparison.differences
    sentences = [_naive(comparison), _corrected(comparison)]
    if comparison.resamples:
        sentences.append(_bootstrap(comparison))
    sentences.append(_resolution(comparison))
    if weak := [d for d in everything if d.constant]:
        names = sorted({name for d in weak for name in d.constant})
        text = f"{_count(len(weak), 'comparison')} with a method that gives all patients of some fold the same value"
        claimed = sum(d.p_test < LEVEL for d in weak)
        end = f"; {claimed} of them with p < {_p(LEVEL)}" if claimed else ""
        sentences.append(f"{text} ({', '.join(names)}): a difference to it says little{end}.")
    if left := max((d.left_out for d in everything), default=0):
        text = "Only patients predicted by both methods of a pair in the same fold are compared"
        sentences.append(f"{text}; up to {_count(left, 'patient')} of a pair left out.")
    if lost := sum(int(np.isnan(d.values).sum()) for d in everything):
        sentences.append(f"Folds of comparisons in which the metric could not be estimated, left out: {lost}.")
    return tuple(sentences)


def _naive(comparison: Comparison) -> str:
    claimed, total = comparison.claims("p_naive"), len(comparison.differences)
    text = f"A plain paired t-test over folds (two-sided, p < {_p(LEVEL)}) would claim {len(claimed)} of "
    text += f"{_count(total, 'comparison')}"
    if not claimed:
        return text + "."
    if comparison.reference is None:
        return text + " as a difference." if len(claimed) == 1 else text + " as differences."
    above = sum(d.difference > 0 for d in claimed)
    return text + f": {above} for {comparison.reference}, {len(claimed) - above} against it."


def _corrected(comparison: Comparison) -> str:
    """How many of the naive claims are left."""
    claimed, total = comparison.claims("p_naive"), len(comparison.differences)
    kept = comparison.claims("p_naive", "p_test")
    left = comparison.claims("p_naive", "p_holm")
    if comparison.test == "wilcoxon":
        how = "the signed-rank test"
    else:
        how = "the Nadeau-Bengio correction for training sets that the folds share"
    if comparison.test != "wilcoxon" and all(np.isnan(d.fitted) for d in comparison.differences):
        return "How many patients the folds were trained on is not known, so no corrected t-test: say --train-patients."
    text = f"Of the {len(claimed)} claimed, {len(kept)} survive {how}" if claimed else f"By {how} there are {len(kept)}"
    text += f", and {len(left)} Holm's correction for {_count(total, 'comparison')} on top of it"
    return text + _named(comparison, left)


def _bootstrap(comparison: Comparison) -> str:
    found, left = comparison.claims("p_bootstrap"), comparison.claims("p_bootstrap_holm")
    text = f"With these very models and other test patients (bootstrap of {comparison.resamples:,} samples) "
    text += f"{len(found)} have p < {_p(LEVEL)}, {len(left)} after Holm's correction"
    least = 2 / (comparison.resamples + 1) * len(comparison.differences)
    if not left and least >= LEVEL:
        text += f", which so few samples do not allow (smallest possible p {_p(least)})"
    return text + "; this says nothing of models trained anew."


def _resolution(comparison: Comparison) -> str:
    metric = METRICS[comparison.metric].name
    least, power = (
        np.array([getattr(d, name) for d in comparison.differences]) for name in ("resolvable", "resolvable_power")
    )
    if np.isnan(least).all():
        return "Which difference could have been resolved is not known: the folds do not tell."
    text = f"By the corrected t-test, before Holm, a difference in {metric} had to be {_spread(least)} to reach "
    text += f"p = {_p(LEVEL)}, and a true one {_spread(power)} to be found with {100 * POWER:g} % probability"
    return text + "."


def _spread(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    if len(known) == 1:
        return f"{known[0]:.3f}"
    return f"{np.median(known):.3f} (median; {known.min():.3f} to {known.max():.3f})"


def _named(comparison: Comparison, left: tuple[Difference, ...]) -> str:
    if not left:
        return "."
    shown = "; ".join(
        f"{d.where}, {d.first_mean:.3f} against {d.second_mean:.3f}"
        for d in sorted(left, key=lambda d: d.p_holm)[:_NAMED]
    )
    return f": {shown}" + (f"; and {len(left) - _NAMED} more" if len(left) > _NAMED else "") + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _p(value: float) -> str:
    return f"{value:.2g}".removeprefix("0")
