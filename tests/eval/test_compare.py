"""Comparisons of methods: values by other means, who is compared with whom, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.errors import BadInput
from mirror_eval.bootstrap import bootstrap_weights
from mirror_eval.compare import Comparison, compare
from mirror_eval.compared import METRICS, Method, pair_up, rest_of
from mirror_eval.concordance import harrell_c
from mirror_eval.method_sources import methods_of_tables
from mirror_eval.paired_tests import corrected_t
from mirror_eval.prediction_tables import RiskColumns
from mirror_eval.verdicts import verdict
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

FOLDS = 5


def risks(name: str, noise: float, *, patients: int = 100, seed: int = 0, **columns: object) -> Method:
    """A method that sees the true hazard through noise; the same patients and folds for every seed of noise."""
    rng = np.random.default_rng(7)
    hazard = rng.normal(size=patients)
    time = rng.exponential(1 / np.exp(hazard))
    table = pd.DataFrame({"fold": [str(k % FOLDS) for k in range(patients)]})
    table["patient_id"] = [f"P{k:03d}" for k in range(patients)]
    table["risk"] = hazard + np.random.default_rng(seed).normal(size=patients) * noise
    table["time"], table["event"] = time, rng.random(patients) < 0.7
    return from_table(name, table.assign(**columns))


def classes(name: str, noise: float, *, patients: int = 120, seed: int = 0) -> Method:
    rng = np.random.default_rng(7)
    factor = rng.normal(size=patients)
    chance = 1 / (1 + np.exp(-(factor + np.random.default_rng(seed).normal(size=patients) * noise)))
    table = pd.DataFrame({"fold": [str(k % FOLDS) for k in range(patients)]})
    table["patient_id"] = [f"P{k:03d}" for k in range(patients)]
    table["label"] = np.where(factor + rng.normal(size=patients) > 0, "ILC", "IDC")
    table["prob_IDC"], table["prob_ILC"] = 1 - chance, chance
    return replace(from_table(name, table), classes=("IDC", "ILC"))


def from_table(name: str, table: pd.DataFrame) -> Method:
    ordered = table.sort_values(["fold", "patient_id"], ignore_index=True)
    return Method(name, ordered, rest_of(ordered))


def code(call) -> tuple[str, str]:
    with pytest.raises(BadInput) as raised:
        call()
    assert raised.value.exit == 2
    assert "P00" not in str(raised.value)  # counts, no ids
    return raised.value.code, str(raised.value)


def test_a_difference_is_that_of_each_fold_and_tested_as_by_hand():
    good, poor = risks("good", 0.2), risks("poor", 2.0, seed=1)
    found = compare([good, poor], "c_harrell", resamples=200).differences[0]
    by_hand = []
    for fold in map(str, range(FOLDS)):
        rows = [method.table[method.table["fold"] == fold] for method in (good, poor)]
        c = [harrell_c(r["time"].to_numpy(), r["event"].to_numpy(), r["risk"].to_numpy()).c for r in rows]
        by_hand.append(c[0] - c[1])
    assert found.folds == tuple(map(str, range(FOLDS)))
    assert found.values == pytest.approx(by_hand)
    assert found.difference == pytest.approx(np.mean(by_hand))
    assert found.difference == pytest.approx(found.first_mean - found.second_mean)
    assert (found.tested, found.fitted) == (20, 80)
    assert found.p_naive == pytest.approx(stats.ttest_1samp(by_hand, 0).pvalue)
    spread = np.std(by_hand, ddof=1) * np.sqrt(1 / 5 + 20 / 80)
    assert found.p_test == pytest.approx(2 * stats.t.sf(np.mean(by_hand) / spread, 4))
    assert found.resolvable == pytest.approx(2.7764451 * spread)
    assert found.p_holm == found.p_test  # one comparison alone
    assert 0 < found.low < found.difference < found.high
    assert found.p_bootstrap < 0.05


def test_the_bootstrap_draws_the_same_patients_for_both():
    """Against samples drawn one by one as rows of patients."""
    good, poor = risks("good", 0.5), risks("poor", 2.0, seed=1)
    found = compare([good, poor], "c_harrell", resamples=40, seed=3).differences[0]
    samples = np.zeros(40)
    for number in range(FOLDS):
        rows = [m.table[m.table["fold"] == str(number)].reset_index(drop=True) for m in (good, poor)]
        for b, count in enumerate(bootstrap_weights(20, 40, (3, number))[1:]):
            drawn = [r.loc[np.repeat(np.arange(20), count)] for r in rows]
            c = [harrell_c(d["time"].to_numpy(), d["event"].to_numpy(), d["risk"].to_numpy()).c for d in drawn]
            samples[b] += (c[0] - c[1]) / FOLDS
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))
    assert found.p_bootstrap == pytest.approx(2 * (1 + min((samples <= 0).sum(), (samples >= 0).sum())) / 41)


def test_the_same_ranking_differs_in_nothing_whatever_is_drawn():
    one = risks("one", 1.0)
    other = from_table("other", one.table.assign(risk=3 * one.table["risk"] + 7))
    found = compare([one, other], "c_harrell", resamples=100).differences[0]
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert (found.p_naive, found.p_test, found.p_bootstrap) == (1, 1, 1)
    assert np.isnan(found.resolvable)


@pytest.mark.parametrize("metric", [name for name, one in METRICS.items() if one.task == "subtype"])
def test_metrics_of_subtyping(metric):
    good, poor = classes("good", 0.1), classes("poor", 3.0, seed=1)
    found = compare([good, poor], metric, resamples=50)
    assert found.differences[0].difference > 0
    oracle = {
        "auroc": lambda rows: roc_auc_score(rows["label"] == "ILC", rows["prob_ILC"]),
        "accuracy": lambda rows: ((rows["prob_ILC"] > 0.5) == (rows["label"] == "ILC")).mean(),
        "macro_f1": lambda rows: f1_score(rows["label"] == "ILC", rows["prob_ILC"] > 0.5, average="macro"),
    }.get(metric)
    if oracle:
        means = [np.mean([oracle(rows) for _, rows in m.table.groupby("fold")]) for m in (good, poor)]
        assert found.differences[0].first_mean == pytest.approx(means[0])
        assert found.differences[0].second_mean == pytest.approx(means[1])


def test_exchanging_two_methods_exchanges_the_sign_alone():
    one, other = risks("one", 0.7), risks("other", 1.5, seed=1)
    there, back = (compare(pair, "c_harrell", resamples=99).differences[0] for pair in ([one, other], [other, one]))
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    for name in ("p_naive", "p_test", "p_bootstrap", "resolvable"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))


def test_pairs_and_reference():
    three = [risks("a", 0.3), risks("b", 1.0, seed=1), risks("c", 2.0, seed=2)]
    pairs = [(d.first, d.second) for d in compare(three, "c_harrell", resamples=0).differences]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    found = compare(three, "c_harrell", reference="b", resamples=0)
    assert [(d.first, d.second) for d in found.differences] == [("b", "a"), ("b", "c")]
    assert np.isnan(found.differences[0].low)
    smaller, larger = sorted(found.differences, key=lambda d: d.p_test)
    assert smaller.p_holm == pytest.approx(min(1, 2 * smaller.p_test))
    assert larger.p_holm == pytest.approx(max(smaller.p_holm, larger.p_test))


def test_cohorts_are_compared_by_themselves_and_corrected_together():
    methods = [replace(risks(n, s, seed=k), cohort=c) for k, c in enumerate("xy") for n, s in (("a", 0.3), ("b", 2.0))]
    found = compare(methods, "c_harrell", resamples=0)
    assert [(d.cohort, d.first) for d in found.differences] == [("x", "a"), ("y", "a")]
    assert min(d.p_holm for d in found.differences) == pytest.approx(2 * min(d.p_test for d in found.differences))
    assert list(found.table()["cohort"]) == ["x", "y"]
    assert found.table()["difference_3"].tolist() == [d.values[3] for d in found.differences]


def test_only_patients_of_both_count_and_the_others_are_counted():
    one, other = risks("one", 0.5), risks("other", 1.0, seed=1)
    missing = other.table["patient_id"].isin(["P001", "P012", "P013"])
    fewer = from_table("other", other.table[~missing])
    further = from_table("one", pd.concat([one.table, one.table.iloc[:1].assign(patient_id="X1", fold="9")]))
    found = compare([further, fewer], "c_harrell", resamples=0).differences[0]
    assert (found.patients, found.left_out) == (97, 4)
    assert found.folds == tuple(map(str, range(FOLDS)))  # fold 9 is not in both
    without = from_table("one", one.table[~one.table["patient_id"].isin(["P001", "P012", "P013"])])
    assert found.values == pytest.approx(compare([without, fewer], "c_harrell", resamples=0).differences[0].values)
    assert found.fitted == pytest.approx(np.mean(list(fewer.fitted.values())))  # the fewer of the two


def test_order_of_rows_does_not_matter():
    one, other = risks("one", 0.5), risks("other", 1.0, seed=1)
    shuffled = replace(other, table=other.table.sample(frac=1, random_state=3))
    assert (
        compare([one, shuffled], "c_harrell", resamples=50).differences
        == compare([one, other], "c_harrell", resamples=50).differences
    )


def test_a_fold_without_an_event_is_left_out_and_said():
    methods = [risks("one", 0.5), risks("other", 1.0, seed=1)]
    quiet = [from_table(m.name, m.table.assign(event=m.table["event"] & (m.table["fold"] != "2"))) for m in methods]
    found = compare(quiet, "c_harrell", resamples=50)
    assert np.isnan(found.differences[0].values[2])
    assert found.differences[0].difference == pytest.approx(np.nanmean(found.differences[0].values))
    expected = stats.ttest_1samp(found.differences[0].values, 0, nan_policy="omit").pvalue
    assert found.differences[0].p_naive == pytest.approx(expected)
    assert "could not be estimated, left out: 1" in verdict(found)[-1]
    nobody = [from_table(m.name, m.table.assign(event=False)) for m in methods]
    assert code(lambda: compare(nobody, "c_harrell"))[0] == "NOT_ESTIMABLE"


def test_one_fold_has_a_bootstrap_but_no_test_over_folds():
    methods = [risks("one", 0.1, fold="0"), risks("other", 3.0, seed=1, fold="0")]
    found = compare(methods, "c_harrell", resamples=200)
    one = found.differences[0]
    assert np.isnan([one.p_naive, one.p_test, one.p_holm, one.resolvable, one.fitted]).all()
    assert one.p_bootstrap < 0.05
    assert any("not known" in sentence for sentence in verdict(found))


def test_wilcoxon_only_from_six_folds_on():
    def methods(folds: int) -> list[Method]:
        fold = [str(k % folds) for k in range(100)]
        return [risks("one", 0.2, fold=fold), risks("other", 2.0, seed=1, fold=fold)]

    refused, text = code(lambda: compare(methods(5), "c_harrell", test="wilcoxon", resamples=0))
    assert refused == "NOT_ESTIMABLE"
    assert "0.0625" in text
    found = compare(methods(7), "c_harrell", test="wilcoxon", resamples=0).differences[0]
    assert found.p_test == pytest.approx(stats.wilcoxon(found.values).pvalue)


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (lambda t: t.assign(patient_id="Z" + t["patient_id"]), "NO_OVERLAP", "none in both"),
        (lambda t: t.assign(fold=t["fold"].map(lambda f: str((int(f) + 1) % FOLDS))), "MISMATCH", "100 patients"),
        (lambda t: t.assign(fold=t["fold"].map(lambda f: f"f{f}")), "MISMATCH", "folds named alike"),
        (lambda t: t.assign(event=t["event"] ^ (t.index == 4)), "MISMATCH", "event"),
        (lambda t: t.assign(time=t["time"] * 30.4375), "MISMATCH", "same unit"),
    ],
)
def test_methods_that_do_not_fit_together(change, expected, words):
    one, other = risks("one", 0.5), risks("other", 1.0, seed=1)
    found, text = code(lambda: pair_up(one, from_table("other", change(other.table))))
    assert found == expected
    assert words in text


def test_classes_and_labels_must_agree():
    one, other = classes("one", 0.5), classes("other", 1.0, seed=1)
    assert code(lambda: pair_up(one, replace(other, classes=("IDC", "LUAD"))))[0] == "MISMATCH"
    turned = from_table("other", other.table.assign(label=other.table["label"].map({"IDC": "ILC", "ILC": "IDC"})))
    assert "label" in code(lambda: pair_up(one, replace(turned, classes=one.classes)))[1]


def test_wrong_calls():
    one, other = risks("one", 0.5), risks("other", 1.0, seed=1)
    assert "only one" in code(lambda: compare([one], "c_harrell"))[1]
    assert "given twice" in code(lambda: compare([one, one], "c_harrell"))[1]
    assert code(lambda: compare([one, other], "c_harrell", reference="third"))[0] == "BAD_OPTION"
    assert code(lambda: compare([one, other], "brier"))[0] == "BAD_OPTION"
    assert code(lambda: compare([one, other], "c_harrell", test="sign"))[0] == "BAD_OPTION"
    assert code(lambda: compare([one, other], "auroc"))[0] == "MISMATCH"


def test_a_method_that_tells_nobody_apart_is_named():
    methods = [risks("one", 0.2), risks("flat", 1.0, risk=0.5)]
    found = compare(methods, "c_harrell", resamples=0)
    assert found.differences[0].constant == ("flat",)
    assert found.differences[0].second_mean == 0.5
    assert any("same value (flat)" in sentence for sentence in verdict(found))


def test_random_methods_are_claimed_different_far_too_often_by_the_plain_test_alone():
    """What the correction is for: methods fitted on shared training patients differ by luck that folds share.

    Here a fold's difference is a common part, as overlapping training sets make it, and a part of its own; Nadeau and
    Bengio's factor is right where the correlation of folds is n_test / (n_test + n_train).
    """
    rng = np.random.default_rng(0)
    correlation = 20 / 100
    common = rng.normal(size=(4000, 1)) * np.sqrt(correlation)
    drawn = common + rng.normal(size=(4000, FOLDS)) * np.sqrt(1 - correlation)
    rates = [np.mean([corrected_t(d, ratio).p < 0.05 for d in drawn]) for ratio in (0.0, 20 / 80)]
    assert rates[0] > 0.12
    assert rates[1] == pytest.approx(0.05, abs=0.012)


@pytest.fixture(scope="module")
def mcat(shared: Path) -> tuple[Method, ...]:
    data = shared / "data/mcat_patient_predictions.csv.gz"
    return methods_of_tables([data], method_column="exp", by=["cohort"], columns=RiskColumns(censorship="c"))


MCAT = "MCATsm_nll_surv_a0.0_5foldcv_gc32_concat"


def mcat_comparison(mcat: tuple[Method, ...], resamples: int) -> Comparison:
    return compare(mcat, "c_harrell", reference=MCAT, resamples=resamples)


def test_claims_of_a_published_table(mcat):
    """14 naive claims (two-sided paired t over folds), 12 after Nadeau and Bengio, 1 after Holm besides."""
    found = mcat_comparison(mcat, 0)
    assert len(found.differences) == 50
    assert len(found.claims("p_naive")) == 14
    assert all(d.difference > 0 for d in found.claims("p_naive"))
    assert len(found.claims("p_test")) == len(found.claims("p_naive", "p_test")) == 12
    (last,) = found.claims("p_holm")
    assert (last.cohort, last.second) == ("gbmlgg", "DSsm_nll_surv_a0.0_5foldcv_gc32_sig")
    assert (round(last.first_mean, 3), round(last.second_mean, 3)) == (0.817, 0.498)
    assert {d.ratio for d in found.differences} == {0.25}
    said = " ".join(verdict(found))
    for words in ("claim 14 of 50 comparisons", "Of the 14 claimed, 12 survive", "and 1 Holm's correction for 50"):
        assert words in said


@pytest.mark.long
def test_bootstrap_of_a_published_table(mcat):
    found = mcat_comparison(mcat, 10_000)
    assert len(found.claims("p_bootstrap")) == pytest.approx(18, abs=1)
    assert len(found.claims("p_bootstrap_holm")) == pytest.approx(6, abs=1)
