"""The logistic probe against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_eval.probe import fit_logistic, fit_probe
from mirror_eval.ridge import strengths
from sklearn.linear_model import LogisticRegression


def planted(n: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, size=n)
    centers = rng.normal(size=(classes, width))
    return centers[label] * 0.8 + rng.normal(size=(n, width)), label


@pytest.mark.parametrize("width", [5, 120])
@pytest.mark.parametrize("strength", [0.3, 40.0])
def test_three_classes_equal_scikit_learn(width, strength):
    features, label = planted(90, width, 3)
    theirs = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(features, label)
    ours = fit_logistic(features, label, 3, strength)
    np.testing.assert_allclose(ours.probability(features), theirs.predict_proba(features), atol=2e-6)
    np.testing.assert_allclose(ours.slopes.T, theirs.coef_, atol=2e-5)


def test_two_classes_equal_binary_regression_with_half_the_strength():
    features, label = planted(80, 7, 2)
    theirs = LogisticRegression(C=1 / 1.5, tol=1e-10, max_iter=10_000).fit(features, label)
    ours = fit_logistic(features, label, 2, 3.0)
    np.testing.assert_allclose(ours.probability(features), theirs.predict_proba(features), atol=2e-6)


def test_probabilities_add_up_and_follow_the_data():
    features, label = planted(200, 6, 4)
    probe = fit_probe(features[:150], label[:150], 4, seed=0)
    chance = probe.probability(features[150:])
    np.testing.assert_allclose(chance.sum(1), 1)
    assert (chance.argmax(1) == label[150:]).mean() > 0.6


def test_strength_is_weak_for_clear_data_and_strong_for_noise():
    features, label = planted(300, 10, 2)
    clear = fit_probe(features, label, 2, seed=0).model.strength
    noise = fit_probe(np.random.default_rng(0).normal(size=(300, 10)), label, 2, seed=0).model.strength
    assert clear < noise
    assert noise >= strengths(10)[-3]


def test_a_fit_is_repeatable_and_scaled_by_its_own_patients():
    features, label = planted(60, 4, 2)
    first, again = fit_probe(features, label, 2, seed=1), fit_probe(features, label, 2, seed=1)
    np.testing.assert_array_equal(first.model.slopes, again.model.slopes)
    np.testing.assert_allclose(first.scaler.mean, features.mean(0))


def test_one_patient_a_class_gets_the_middle_strength():
    features, _ = planted(2, 4, 2)
    assert fit_probe(features, np.array([0, 1]), 2, seed=0).model.strength == strengths(4)[4]


def test_collapsed_embeddings_predict_the_base_rate():
    from mirror_eval.survival_probe import fit_survival_probe

    features, rng = np.full((60, 5), 0.3), np.random.default_rng(0)
    label = np.repeat([0, 1], [45, 15])
    np.testing.assert_allclose(
        fit_probe(features, label, 2, seed=0).probability(features), [[0.75, 0.25]] * 60, atol=1e-6
    )
    time, event = rng.exponential(size=60), rng.random(60) < 0.5
    for head in ("discrete", "cox"):
        risk = fit_survival_probe(features, time, event, seed=0, head=head).risk(features)
        np.testing.assert_allclose(risk, risk[0])
