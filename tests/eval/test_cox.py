"""Cox regression against lifelines, scikit-survival and published values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval.concordance import harrell_c
from mirror_eval.cox import RiskSets, breslow, fit_cox, partial_likelihood


def tied(n: int = 150, width: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width))
    death = rng.exponential(np.exp(-0.7 * features[:, 0]) * 10)
    leaving = rng.exponential(15, size=n)
    return features, np.ceil(np.minimum(death, leaving)), death <= leaving


def test_rossi_published_values():
    from lifelines.datasets import load_rossi

    table = load_rossi()
    features = table.drop(columns=["week", "arrest"]).to_numpy(float)
    time, event = table["week"].to_numpy(), table["arrest"].to_numpy() == 1
    model = fit_cox(features, time, event, 0.0)
    assert round(model.log_likelihood, 2) == -658.75
    assert round(harrell_c(time, event, model.risk(features)).c, 4) == 0.6403
    np.testing.assert_allclose(model.slopes[[0, 1, 6]], [-0.379422, -0.057438, 0.091497], atol=2e-6)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("strength", [0.0, 25.0])
def test_equals_scikit_survival(ties, strength):
    linear, util = pytest.importorskip("sksurv.linear_model"), pytest.importorskip("sksurv.util")
    features, time, event = tied()
    theirs = linear.CoxPHSurvivalAnalysis(alpha=strength, ties=ties, tol=1e-12)
    theirs.fit(features, util.Surv.from_arrays(event, time))
    ours = fit_cox(features, time, event, strength, ties=ties)
    np.testing.assert_allclose(ours.slopes, theirs.coef_, atol=1e-6)
    at = np.array([1.0, 5.0, 12.0])
    expected = np.stack([curve(at) for curve in theirs.predict_survival_function(features[:7])])
    np.testing.assert_allclose(ours.survival(features[:7], at), expected, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.02, 0.3, 1.0]), st.sampled_from([3, 30]), st.sampled_from([1.0, 20.0]))
def test_equals_scikit_survival_with_many_ties_or_one_event(seed, share, distinct, strength):
    linear, util = pytest.importorskip("sksurv.linear_model"), pytest.importorskip("sksurv.util")
    rng = np.random.default_rng(seed)
    features, time = rng.normal(size=(60, 3)), rng.integers(1, distinct + 1, size=60).astype(float)
    event = rng.random(60) < share
    event[0] = True
    theirs = linear.CoxPHSurvivalAnalysis(alpha=strength, ties="efron", tol=1e-12)
    theirs.fit(features, util.Surv.from_arrays(event, time))
    np.testing.assert_allclose(fit_cox(features, time, event, strength).slopes, theirs.coef_, atol=1e-6)


def test_ridge_equals_lifelines_whose_penalty_is_per_patient():
    import pandas as pd
    from lifelines import CoxPHFitter

    features, time, event = tied()
    features = (features - features.mean(0)) / features.std(0, ddof=1)
    table = pd.DataFrame(features, columns=list("abcde")).assign(time=time, event=event)
    theirs = CoxPHFitter(penalizer=0.2).fit(table, "time", "event", fit_options={"precision": 1e-10})
    np.testing.assert_allclose(fit_cox(features, time, event, 0.2 * 150).slopes, theirs.params_, atol=2e-5)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_gradient_and_curvature_are_those_of_the_value(ties):
    _, time, event = tied(40)
    sets = RiskSets.of(time, event, ties)
    rng = np.random.default_rng(1)
    risk, direction = rng.normal(size=40), rng.normal(size=40)
    step = 1e-6
    up, down = (partial_likelihood(risk + sign * step * direction, sets) for sign in (1, -1))
    here = partial_likelihood(risk, sets)
    assert here.gradient @ direction == pytest.approx((up.value - down.value) / (2 * step), rel=1e-6)
    np.testing.assert_allclose(here.product(direction), (up.gradient - down.gradient) / (2 * step), atol=1e-6)


def test_more_features_than_patients():
    features, time, event = tied(50, 400)
    model = fit_cox(features, time, event, 50.0)
    penalised = partial_likelihood(model.risk(features), RiskSets.of(time, event)).value + 25 * (model.slopes**2).sum()
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = model.slopes + 1e-3 * rng.normal(size=400)
        worse = partial_likelihood(features @ other, RiskSets.of(time, event)).value + 25 * (other**2).sum()
        assert worse > penalised


def test_breslow_without_features_is_nelson_aalen():
    from lifelines import NelsonAalenFitter

    _, time, event = tied(80)
    times, cumulative = breslow(np.zeros(80), time, event)
    expected = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(time, event)
    np.testing.assert_allclose(cumulative, expected.cumulative_hazard_.loc[times].to_numpy().ravel())
