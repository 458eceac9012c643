"""Bootstrap weights and the score made of them."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_eval.bootstrap import bootstrap_weights, score


def test_the_first_row_is_the_test_set_itself_and_samples_keep_its_size():
    weight = bootstrap_weights(30, 200, (0, 1))
    assert weight.shape == (201, 30)
    assert (weight[0] == 1).all()
    assert (weight.sum(1) == 30).all()
    np.testing.assert_array_equal(weight, bootstrap_weights(30, 200, (0, 1)))
    assert (bootstrap_weights(30, 200, (0, 2)) != weight).any()


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(size=400)
    weight = bootstrap_weights(400, 4000, 0)
    found = score("slide", "mean", {0: [weight @ values / 400]})
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - half, abs=0.01),
        pytest.approx(values.mean() + half, abs=0.01),
    )


def test_folds_are_averaged_within_each_sample():
    folds = {0: [np.array([1.0, 0.0, 2.0])], 3: [np.array([3.0, 4.0, 4.0])]}
    found = score("rna", "x", folds)
    assert found.folds == (1.0, 3.0)
    assert (found.mean, found.sd) == (2.0, 1.0)  # population sd
    assert (found.low, found.high) == (pytest.approx(2.025), pytest.approx(2.975))
    assert found.support_sd is None


def test_support_sets_are_averaged_within_a_fold():
    folds = {0: [np.array([1.0, 1.0]), np.array([3.0, 1.0])], 1: [np.array([2.0, 5.0]), np.array([2.0, 5.0])]}
    found = score("rna", "x", folds)
    assert found.folds == (2.0, 2.0)
    assert found.support_sd == pytest.approx(0.5)


def test_a_fold_that_cannot_be_estimated_is_left_out_and_never_zero():
    found = score("rna", "x", {0: [np.array([np.nan, np.nan])], 1: [np.array([0.6, 0.5])]})
    assert (found.mean, found.sd) == (0.6, 0.0)
    assert np.isnan(found.folds[0])
    nothing = score("rna", "x", {0: [np.array([np.nan])]})
    assert np.isnan([nothing.mean, nothing.sd, nothing.low]).all()
