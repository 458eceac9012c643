"""Scaling, rotation, dealing, choosing, and the solver."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_eval.newton import Local, minimise
from mirror_eval.ridge import Rotation, Scaler, choose_strength, deal, strengths


def test_scaler_knows_only_what_it_was_fitted_on():
    rng = np.random.default_rng(0)
    train, test = rng.normal(3, 2, size=(50, 4)), rng.normal(size=(5, 4))
    scaler = Scaler.fit(train)
    np.testing.assert_allclose(scaler.apply(train).mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaler.apply(train).std(0), 1)
    np.testing.assert_allclose(scaler.apply(test), (test - train.mean(0)) / train.std(0))


def test_a_constant_feature_becomes_zero():
    features = np.array([[1.0, 0.1], [2.0, 0.1], [4.0, 0.1]])
    np.testing.assert_allclose(Scaler.fit(features).apply(features)[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (10, 10)])
def test_rotation_spans_the_rows(shape):
    rng = np.random.default_rng(1)
    features = rng.normal(size=shape)
    features[:, 1] = features[:, 0]  # one direction less
    rotation = Rotation.fit(features)
    assert len(rotation.scale) == min(shape[0], shape[1] - 1)
    np.testing.assert_allclose(rotation.axes.T @ rotation.axes, np.eye(len(rotation.scale)), atol=1e-9)
    np.testing.assert_allclose(rotation.apply(features) @ rotation.axes.T, features, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(rotation.apply(features), axis=0), rotation.scale)
    assert (np.diff(rotation.scale) <= 0).all()


def test_dealing_is_even_within_every_stratum_and_repeatable():
    strata = np.repeat([0, 1, 2], [50, 23, 7])
    part = deal(strata, 5, 3)
    for stratum in range(3):
        counts = np.bincount(part[strata == stratum], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(part).max() - np.bincount(part).min() <= 1
    np.testing.assert_array_equal(part, deal(strata, 5, 3))
    assert (part != deal(strata, 5, 4)).any()


def test_the_strength_with_the_least_held_out_loss_is_chosen():
    parts = np.array([0, 0, 1, 1])
    seen = []

    candidates = np.array([0.1, 1.0, 10.0, 100.0])

    def losses(fitted, held):
        seen.append((tuple(fitted), tuple(held)))
        return (np.log10(candidates) - 1) ** 2

    assert choose_strength(losses, parts, candidates) == 10.0
    assert set(seen) == {((2, 3), (0, 1)), ((0, 1), (2, 3))}
    assert choose_strength(lambda *_: np.ones(4), parts, candidates) == 100.0


def test_strengths_scale_with_the_number_of_features():
    np.testing.assert_allclose(strengths(20) / 10, strengths(2))
    assert len(strengths(5)) == 9


def test_minimise_finds_the_minimum_of_a_badly_scaled_convex_function():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(80, 12)) * 10.0 ** rng.uniform(-2, 2, size=12)
    target = rng.normal(size=80)

    def local(x):
        rest = matrix @ x - target
        soft = np.sqrt(1 + rest**2)
        return Local(
            float(soft.sum()) + 0.5 * float(x @ x),
            matrix.T @ (rest / soft) + x,
            lambda v: matrix.T @ ((matrix @ v) / soft**3) + v,
        )

    found = minimise(local, np.zeros(12), (matrix**2).sum(0) + 1)
    assert np.abs(local(found).gradient / np.sqrt((matrix**2).sum(0) + 1)).max() < 1e-6
    for _ in range(5):
        assert local(found + 1e-3 * rng.normal(size=12)).value > local(found).value


def test_minimise_survives_a_start_far_away():
    def local(x):  # log cosh: Newton's full step overshoots from afar
        return Local(float(np.logaddexp(x, -x).sum()), np.tanh(x), lambda v: v / np.cosh(x) ** 2)

    np.testing.assert_allclose(minimise(local, np.array([3.0, -8.0]), np.ones(2)), 0, atol=1e-6)


def test_too_few_patients_to_choose_a_strength_is_said_so():
    def hopeless(_fit, _held_out):
        return np.full(3, np.nan)

    with pytest.raises(BadInput, match="NOT_ESTIMABLE"):
        choose_strength(hopeless, np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 3.0]))
