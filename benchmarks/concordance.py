"""Harrell's C at 1,000 and 100,000 patients against lifelines (and scikit-survival where installed), and its bootstrap.

    python benchmarks/concordance.py [--repeats 7]

Random risks, 60 % events: times and risks all different; times in days and risks to one decimal; months up to ten years
and ten levels of risk, where lifelines is quickest. Every implementation takes its turn in each round and its best
round counts; rounds of 1,000 patients are ten times as many. Measured is CPU time: on a shared machine the clock
flatters short calls, which other work interrupts less often than long ones. Prints milliseconds and the ratio to ours,
after checking that all agree to 1e-12. scikit-survival compares every pair and sits out the larger size. The bootstrap
is 1,000 samples of 1,000 patients through one weighted matrix of pairs, against a loop over our own C.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from lifelines.utils import concordance_index
from mirror_eval.concordance import harrell_c, weighted_c

try:
    from sksurv.metrics import concordance_index_censored
except ImportError:
    concordance_index_censored = None


KINDS = ("no ties", "many ties", "120 times, 10 levels of risk")


def cohort(patients: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (n,), events (n,), risks (n,)."""
    rng = np.random.default_rng(0)
    time, event, risk = rng.exponential(1000, size=patients), rng.random(patients) < 0.6, rng.normal(size=patients)
    if kind == "many ties":
        return np.ceil(time), event, np.round(risk, 1)
    if kind != "no ties":
        return np.minimum(np.ceil(time / 30), 120), event, rng.integers(0, 10, size=patients).astype(float)
    return time, event, risk


def best_ms(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """CPU time in the best of ``repeats`` rounds in which each call takes its turn."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.process_time()
            call()
            best[name] = min(best[name], 1000 * (time.process_time() - started))
    return best


def compare(patients: int, kind: str, repeats: int) -> None:
    when, event, risk = cohort(patients, kind)
    calls: dict[str, Callable[[], float]] = {
        "mirror_eval": lambda: harrell_c(when, event, risk).c,
        "lifelines": lambda: concordance_index(when, -risk, event),
    }
    if concordance_index_censored is not None and patients <= 1000:
        calls["scikit-survival"] = lambda: concordance_index_censored(event, when, risk)[0]
    for name, call in calls.items():  # lifelines ties equal risks only; ours and scikit-survival those 1e-8 apart
        expected = harrell_c(when, event, risk, tolerance=0.0 if name == "lifelines" else 1e-8).c
        assert abs(call() - expected) < 1e-12, name
    found = best_ms(calls, repeats if patients > 1000 else 10 * repeats)
    print(f"{patients:,} patients, {kind}")
    for name, spent in found.items():
        print(f"  {name:16s} {spent:10.3f} ms  {spent / found['mirror_eval']:6.1f} x")


def bootstrap(repeats: int) -> None:
    when, event, risk = cohort(1000, KINDS[0])
    weight = np.random.default_rng(1).multinomial(1000, np.full(1000, 1e-3), size=1000)

    def loop() -> np.ndarray:
        drawn = [np.repeat(np.arange(1000), row) for row in weight]
        return np.array([harrell_c(when[d], event[d], risk[d]).c for d in drawn])

    assert np.abs(weighted_c(when, event, risk, weight) - loop()).max() < 1e-12
    found = best_ms({"weighted matrix": lambda: weighted_c(when, event, risk, weight), "loop": loop}, repeats)
    print("1,000 bootstrap samples of 1,000 patients")
    for name, spent in found.items():
        print(f"  {name:16s} {spent:10.1f} ms  {spent / found['weighted matrix']:6.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    for patients in (1000, 100_000):
        for kind in KINDS:
            compare(patients, kind, repeats)
    bootstrap(repeats)


if __name__ == "__main__":
    main()
