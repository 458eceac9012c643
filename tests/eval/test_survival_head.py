"""The discrete-time hazard head against golden values and a direct minimisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mirror_eval.concordance import harrell_c
from mirror_eval.survival_head import DiscreteHazard, TimeBins, fit_hazard, hazard_losses, survival_of
from scipy.optimize import minimize
from scipy.special import expit


def planted(n: int = 200, width: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width))
    death, leaving = rng.exponential(np.exp(-features[:, 0]) * 400), rng.exponential(600, size=n)
    return features, np.minimum(death, leaving), death <= leaving


def test_golden_losses_and_risks(shared: Path):
    golden = np.load(shared / "golden/mirror_small.npz", allow_pickle=False)
    logits, number, event = golden["surv/logits"], golden["surv/bin"], golden["surv/event"] == 1
    losses = hazard_losses(logits.astype(float), number.astype(int), event)
    np.testing.assert_allclose(losses, golden["surv/nll_none"], atol=1e-5)
    np.testing.assert_allclose(-survival_of(logits.astype(float)).sum(1), golden["surv/risk"], atol=1e-5)


def test_losses_by_hand():
    logits = np.array([[0.0, np.log(1 / 3), 0.0, 0.0]] * 3)  # hazards 1/2, 1/4, 1/2, 1/2
    found = hazard_losses(logits, np.array([0, 1, 1]), np.array([True, True, False]))
    np.testing.assert_allclose(found, [-np.log(0.5), -np.log(0.5 * 0.25), -np.log(0.5 * 0.75)])
    np.testing.assert_allclose(survival_of(logits)[0], [0.5, 0.375, 0.1875, 0.09375])


def test_bins_are_cut_at_quartiles_of_uncensored_times_alone():
    time = np.array([10.0, 20, 30, 40, 50, 1, 2, 500])
    event = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    bins = TimeBins.fit(time, event)
    np.testing.assert_allclose(bins.edges, [20, 30, 40, 500])
    np.testing.assert_array_equal(bins.of(np.array([0, 19.9, 20, 39, 40, 499, 500, 9999])), [0, 0, 1, 2, 3, 3, 3, 3])
    with pytest.raises(ValueError, match="event"):
        TimeBins.fit(time, np.zeros(8, bool))


@pytest.mark.parametrize("slopes", ["shared", "per-bin"])
@pytest.mark.parametrize("width", [4, 300])
def test_fit_is_the_minimum_of_the_stated_function(slopes, width):
    features, time, event = planted(120, width)
    strength = 3.0
    model = fit_hazard(features, time, event, strength, slopes=slopes)
    number = model.bins.of(time)
    columns = 1 if slopes == "shared" else 4

    def objective(parameters):
        theta, base = parameters[:-4].reshape(width, columns), parameters[-4:]
        hazard = np.clip(expit(base), 1e-300, 1)
        added = -0.5 * (np.log(hazard) + np.log1p(-hazard)).sum()
        losses = hazard_losses(features @ theta + base, number, event)
        return losses.sum() + added + 0.5 * strength * (theta**2).sum()

    mine = np.concatenate([model.slopes[:, :columns].ravel(), model.intercepts])
    if width == 4:
        found = minimize(objective, np.zeros_like(mine), method="BFGS", options={"gtol": 1e-6})
        np.testing.assert_allclose(mine, found.x, atol=2e-4)
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert objective(mine + 1e-3 * rng.normal(size=len(mine))) > objective(mine)


def test_risk_is_higher_for_those_who_die_earlier():
    features, time, event = planted(400)
    model = fit_hazard(features, time, event, 1.0)
    assert harrell_c(time, event, model.risk(features)).c > 0.65
    assert (model.slopes[0] > 0).all()
    assert np.corrcoef(model.risk(features), features[:, 0])[0, 1] > 0.9


def test_survival_at_an_edge_is_that_of_its_bin_and_falls_between():
    model = DiscreteHazard(TimeBins(np.array([10.0, 20, 40, 80])), np.zeros((1, 4)), np.zeros(4), 1.0)
    features = np.zeros((1, 1))
    at = model.survival(features, np.array([0.0, 5, 10, 15, 20, 40, 80, 81]))[0]
    np.testing.assert_allclose(at[:7], [1, 0.5**0.5, 0.5, 0.5**1.5, 0.25, 0.125, 0.0625])
    assert np.isnan(at[7])
    np.testing.assert_allclose(model.risk(features), -(0.5 + 0.25 + 0.125 + 0.0625))


def test_a_bin_without_a_death_keeps_its_hazard_finite():
    features, time, event = planted(60)
    bins = TimeBins.fit(time, event)
    event = event & (bins.of(time) != 2)
    model = fit_hazard(features, time, event, 1.0, bins=bins)
    assert np.isfinite(model.intercepts).all()
    assert expit(model.intercepts[2]) < 0.1


@pytest.mark.parametrize("slopes", ["shared", "per-bin"])
def test_features_that_never_vary_leave_the_hazards_alone(slopes):
    _, time, event = planted(60)
    model = fit_hazard(np.zeros((60, 3)), time, event, 1.0, slopes=slopes)
    np.testing.assert_array_equal(model.slopes, np.zeros((3, len(model.bins.edges))))
    reached = np.array([(model.bins.of(time) >= k).sum() for k in range(len(model.bins.edges))])
    died = np.array([(event & (model.bins.of(time) == k)).sum() for k in range(len(model.bins.edges))])
    np.testing.assert_allclose(expit(model.intercepts), (died + 0.5) / (reached + 1))


@pytest.mark.filterwarnings("error")
def test_a_bin_that_nobody_reached_has_the_hazard_of_the_added_patient():
    features, time, event = planted(80)
    bins = TimeBins.fit(time, event)
    early = bins.of(time) < len(bins.edges) - 1
    model = fit_hazard(features[early], time[early], event[early], 1.0, bins=bins)
    assert np.isfinite(model.slopes).all()
    assert expit(model.intercepts[-1]) == pytest.approx(0.5)
    sooner = fit_hazard(features[early], time[early], event[early], 1.0, bins=TimeBins(bins.edges[:-1]))
    np.testing.assert_allclose(model.intercepts[:-1], sooner.intercepts, rtol=1e-6)
