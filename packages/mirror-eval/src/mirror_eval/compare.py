"""Is one method better than another? Differences on the same patients in the same folds, tested and corrected.

Two questions are asked of each difference, and they are not the same. The corrected t-test asks whether it would be
there again with other training and test patients; it knows k folds only. The paired bootstrap asks whether it would be
there with other test patients and these very models; it knows every patient, but nothing of training anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput, some

from mirror_eval.bootstrap import bootstrap_weights, mean_defined, score
from mirror_eval.compared import METRICS, Method, Pairing, constant_in, pair_up
from mirror_eval.paired_tests import LEVEL, POWER, bootstrap_p, corrected_t, holm, resolvable, wilcoxon_p
from mirror_eval.results import Watch

TESTS = ("corrected-t", "wilcoxon")
RESAMPLES = 10_000  # the bootstrap's smallest p is 2 / (resamples + 1): with 1,000 no one of 50 could survive Holm


@dataclass(frozen=True)
class Difference:
    """One comparison: ``first`` minus ``second``, higher is better for every metric compared.

    Every p is two-sided; NaN where it could not be had (see `paired_tests`).
    """

    cohort: str
    first: str
    second: str
    folds: tuple[str, ...]  # the folds both have
    values: tuple[float, ...]  # difference in each; NaN where the metric is not estimable
    first_mean: float  # over the folds that are
    second_mean: float
    difference: float  # mean of values
    low: float  # 95 % percentile interval of the paired patient bootstrap
    high: float
    patients: int  # predicted by both in one fold
    left_out: int  # predicted by one of the two only
    tested: float  # patients a fold, on average
    fitted: float  # NaN where not known: then there is no corrected t-test
    p_naive: float  # plain paired t over folds
    p_test: float  # the test asked for: Nadeau-Bengio corrected t, or Wilcoxon
    p_holm: float  # that, Holm-corrected over all comparisons
    p_bootstrap: float
    p_bootstrap_holm: float
    resolvable: float  # smallest observed difference with p = .05 by the corrected t-test, before Holm
    resolvable_power: float  # smallest true difference found with 80 % power
    constant: tuple[str, ...] = ()  # methods of the two that give all patients of some fold one and the same value

    @property
    def ratio(self) -> float:
        """n_test / n_train of the corrected t-test."""
        return self.tested / self.fitted

    @property
    def where(self) -> str:
        """The comparison in words."""
        return f"{self.first} against {self.second}" + (f" in {self.cohort}" if self.cohort else "")


@dataclass(frozen=True)
class Comparison:
    """All comparisons of one call: one table, corrected as one family."""

    metric: str
    test: str
    reference: str | None
    resamples: int
    differences: tuple[Difference, ...]

    def claims(self, *p: str, level: float = LEVEL) -> tuple[Difference, ...]:
        """The comparisons whose every named p (``p_naive``, ``p_holm``, ...) is below the level."""
        return tuple(d for d in self.differences if all(getattr(d, name) < level for name in p))

    def table(self) -> pd.DataFrame:
        """A row a comparison, every field a column, the difference in each fold as difference_<fold>."""
        rows = []
        for one in self.differences:
            row = {name: value for name, value in asdict(one).items() if name not in ("folds", "values", "constant")}
            row["constant"] = "; ".join(one.constant)
            rows.append(row | {f"difference_{f}": v for f, v in zip(one.folds, one.values, strict=True)})
        return pd.DataFrame(rows)


def compare(
    methods: Sequence[Method],
    metric: str,
    *,
    reference: str | None = None,
    test: str = "corrected-t",
    seed: int = 0,
    resamples: int = RESAMPLES,
    watch: Watch = lambda done, total: None,
) -> Comparison:
    """Compare methods pair by pair within each cohort, and correct over everything compared.

    Args:
        methods: two or more a cohort; see `method_sources` for those of a store or of tables.
        metric: a key of `compared.METRICS`; higher is better.
        reference: the method to compare with every other; None compares all pairs, the one given first minus the other.
        test: "corrected-t" (Nadeau and Bengio) or "wilcoxon" (six folds or more); Holm's correction is over its p.
        seed: of the bootstrap; one seed draws the same patients for both methods of a pair.
        resamples: bootstrap samples; 0 for none.
        watch: hears how many pairs are compared, and of how many.

    Raises:
        BadInput: ``BAD_OPTION`` (one method only, unknown reference, metric or test), ``NO_OVERLAP`` if two methods
            share no patient, ``MISMATCH`` if they disagree on folds, outcomes or classes, ``NOT_ESTIMABLE`` if no
            fold has a value, or for Wilcoxon on too few folds.
    """
    for name, value, known in (("metric", metric, list(METRICS)), ("test", test, TESTS)):
        if value not in known:
            raise BadInput("BAD_OPTION", f"unknown {name}", key=f"--{name}", expected=some(known, 9), got=value)
    needed = "risk" if METRICS[metric].task == "survival" else "label"
    if other := [method.name for method in methods if needed not in method.table]:
        expected = f"predictions for {METRICS[metric].task}"
        raise BadInput("MISMATCH", "the metric does not go with the predictions", key=some(other), expected=expected)
    cohorts = dict.fromkeys(method.cohort for method in methods)
    pairs = {cohort: _pairs([m for m in methods if m.cohort == cohort], reference) for cohort in cohorts}
    paired = {cohort: [pair_up(*pair) for pair in mine] for cohort, mine in pairs.items()}  # all refusals come first
    found: list[Difference] = []
    for mine in paired.values():
        values = _Values(metric, seed, resamples)
        for pairing in mine:
            found.append(_difference(pairing, values, test))
            watch(len(found), sum(map(len, paired.values())))
        bootstrap_weights.cache_clear()  # as large as all samples of a cohort's folds
    adjusted = [holm(np.array([getattr(d, name) for d in found])) for name in ("p_test", "p_bootstrap")]
    corrected = tuple(
        replace(d, p_holm=float(p), p_bootstrap_holm=float(q)) for d, p, q in zip(found, *adjusted, strict=True)
    )
    return Comparison(metric, test, reference, resamples, corrected)


def _pairs(methods: list[Method], reference: str | None) -> list[tuple[Method, Method]]:
    names = [method.name for method in methods]
    where = methods[0].cohort or None
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadInput("BAD_OPTION", "a method is given twice", key=where, got=some(twice))
    if len(names) < 2:
        raise BadInput("BAD_OPTION", "a comparison needs two methods", key=where, got=f"only {some(names)}")
    if reference is None:
        return list(combinations(methods, 2))
    if reference not in names:
        key = "--reference" + (f", {where}" if where else "")
        raise BadInput("BAD_OPTION", "no such method to compare with", key=key, expected=some(names, 12), got=reference)
    first = methods[names.index(reference)]
    return [(first, other) for other in methods if other is not first]


class _Values:
    """Metrics of methods under the bootstrap, each counted once however many pairs ask for it."""

    def __init__(self, metric: str, seed: int, resamples: int) -> None:
        self.metric, self.seed, self.resamples = METRICS[metric].values, seed, resamples
        self.known: dict[tuple, np.ndarray] = {}

    def of(self, name: str, rows: pd.DataFrame, classes: tuple[str, ...], number: int) -> np.ndarray:
        """(1 + resamples,): the value on these patients, then on each bootstrap sample of them."""
        key = (name, number, tuple(rows["patient_id"]))
        if key not in self.known:
            weight = bootstrap_weights(len(rows), self.resamples, (self.seed, number))
            self.known[key] = self.metric(rows, classes, weight)
        return self.known[key]


def _difference(pairing: Pairing, values: _Values, test: str) -> Difference:
    """All of one comparison but Holm's p, which needs the others."""
    first, second = pairing.first, pairing.second
    tables = [
        np.array([values.of(m.name, getattr(fold, side), m.classes, k) for k, fold in enumerate(pairing.folds)])
        for m, side in ((first, "first"), (second, "second"))
    ]  # (folds, 1 + resamples) each
    gaps = tables[0] - tables[1]
    known = ~np.isnan(gaps[:, 0])
    if not known.any():
        key = ", ".join(part for part in (pairing.cohort, f"{first.name} and {second.name}") if part)
        raise BadInput("NOT_ESTIMABLE", "the metric cannot be estimated in any fold", key=key)
    tested, fitted = pairing.sizes
    plain, corrected = (corrected_t(gaps[known, 0], ratio) for ratio in (0.0, tested / fitted))
    total = score("difference", "", {k: [gap] for k, gap in enumerate(gaps)})
    return Difference(
        cohort=pairing.cohort,
        first=first.name,
        second=second.name,
        folds=tuple(fold.name for fold in pairing.folds),
        values=total.folds,
        first_mean=float(tables[0][known, 0].mean()),
        second_mean=float(tables[1][known, 0].mean()),
        difference=total.mean,
        low=total.low,
        high=total.high,
        patients=pairing.patients,
        left_out=pairing.left_out,
        tested=tested,
        fitted=fitted,
        p_naive=plain.p,
        p_test=corrected.p if test == "corrected-t" else wilcoxon_p(gaps[known, 0]),
        p_holm=float("nan"),
        p_bootstrap=bootstrap_p(mean_defined(gaps[:, 1:])),
        p_bootstrap_holm=float("nan"),
        resolvable=resolvable(corrected),
        resolvable_power=resolvable(corrected, power=POWER),
        constant=tuple(m.name for m, side in ((first, "first"), (second, "second")) if constant_in(pairing, side)),
    )
