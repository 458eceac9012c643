"""Classification metrics against scikit-learn, weights included."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_eval import classification as ours
from sklearn import metrics as theirs


@st.composite
def predictions(draw):
    """Labels of 2 to 4 classes, each present, probabilities with ties, and integer weights."""
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(classes, 40))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    label = np.r_[np.arange(classes), rng.integers(0, classes, size=n - classes)]
    chance = rng.integers(1, 5, size=(n, classes)).astype(float)
    weight = rng.integers(0, 3, size=n).astype(float)
    weight[:classes] = 1.0
    return label, chance / chance.sum(1, keepdims=True), weight


@settings(max_examples=50, deadline=None)
@given(predictions())
def test_equal_scikit_learn(drawn):
    label, chance, weight = drawn
    classes, guess = chance.shape[1], chance.argmax(1)
    by = {"sample_weight": weight}
    assert ours.accuracy(label, guess, weight=weight) == pytest.approx(theirs.accuracy_score(label, guess, **by))
    expected = theirs.balanced_accuracy_score(label, guess, **by)
    assert ours.balanced_accuracy(label, guess, classes, weight=weight) == pytest.approx(expected)
    seen = weight > 0  # a class of weight 0 is absent
    expected = theirs.f1_score(label[seen], guess[seen], average="macro", sample_weight=weight[seen])
    assert ours.macro_f1(label, guess, classes, weight=weight) == pytest.approx(expected)
    assert ours.matthews(label, guess, classes, weight=weight) == pytest.approx(
        theirs.matthews_corrcoef(label, guess, **by), abs=1e-12
    )
    positive, score = label == 1, chance[:, 1]
    assert ours.auroc(positive, score, weight=weight) == pytest.approx(theirs.roc_auc_score(positive, score, **by))
    expected = theirs.average_precision_score(positive, score, **by)
    assert ours.auprc(positive, score, weight=weight) == pytest.approx(expected)
    if classes == 2:
        expected = theirs.roc_auc_score(label, score, **by)
        assert ours.brier_score(label, chance, weight=weight) == pytest.approx(
            theirs.brier_score_loss(label, score, **by)
        )
    else:
        expected = np.mean([theirs.roc_auc_score(label == k, chance[:, k], **by) for k in range(classes)])
        assert ours.macro_auroc(label, chance) == pytest.approx(theirs.roc_auc_score(label, chance, multi_class="ovr"))
    assert ours.macro_auroc(label, chance, weight=weight) == pytest.approx(expected)
    expected = np.mean([theirs.average_precision_score(label == k, chance[:, k], **by) for k in range(classes)])
    assert ours.macro_auprc(label, chance, weight=weight) == pytest.approx(expected)
    expected = theirs.brier_score_loss(label, chance, labels=range(classes), scale_by_half=True, **by)
    assert ours.brier_score(label, chance, weight=weight) == pytest.approx(expected)
    np.testing.assert_allclose(ours.confusion(label, guess, classes), theirs.confusion_matrix(label, guess))


def test_rows_of_weights_give_one_value_each():
    rng = np.random.default_rng(0)
    label, chance = rng.integers(0, 3, size=50), rng.dirichlet(np.ones(3), size=50)
    weight = rng.integers(0, 3, size=(7, 50))
    for metric in (ours.macro_auroc, ours.macro_auprc, ours.brier_score):
        rows = [metric(label, chance, weight=row) for row in weight]
        np.testing.assert_allclose(metric(label, chance, weight=weight), rows)
    for metric in (ours.balanced_accuracy, ours.macro_f1, ours.matthews):
        rows = [metric(label, chance.argmax(1), 3, weight=row) for row in weight]
        np.testing.assert_allclose(metric(label, chance.argmax(1), 3, weight=weight), rows)
    assert ours.accuracy(label, chance.argmax(1), weight=weight).shape == (7,)
    assert np.ndim(ours.accuracy(label, chance.argmax(1))) == 0


def test_by_hand():
    positive, score = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.8, 0.1])
    assert ours.auroc(positive, score) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert ours.auprc(positive, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert ours.brier_score(np.array([0, 1]), np.array([[0.7, 0.3], [0.4, 0.6]])) == pytest.approx((0.09 + 0.16) / 2)


def test_an_absent_class_is_nan_for_areas_and_left_out_of_means():
    label, chance = np.array([0, 0, 1]), np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    assert np.isnan(ours.auroc(np.zeros(3, bool), chance[:, 0]))
    assert np.isnan(ours.auprc(np.zeros(3, bool), chance[:, 0]))
    assert np.isnan(ours.macro_auroc(label, chance))
    assert ours.balanced_accuracy(label, chance.argmax(1), 3) == 1.0
    assert ours.macro_f1(label, chance.argmax(1), 3) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(3, 4))
def test_a_fold_without_a_class_is_scored_as_scikit_learn_does_on_the_classes_there(seed, n, classes):
    rng = np.random.default_rng(seed)
    label, chance = rng.integers(0, classes - 1, size=n), rng.dirichlet(np.ones(classes), size=n)
    guess = chance.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes predicted but never true
        balanced = theirs.balanced_accuracy_score(label, guess)
        f1 = theirs.f1_score(label, guess, average="macro", zero_division=0)
        matthews = theirs.matthews_corrcoef(label, guess)
    assert ours.balanced_accuracy(label, guess, classes) == pytest.approx(balanced)
    assert ours.macro_f1(label, guess, classes) == pytest.approx(f1)
    assert ours.matthews(label, guess, classes) == pytest.approx(matthews, abs=1e-12)
    assert ours.accuracy(label, guess) == pytest.approx(theirs.accuracy_score(label, guess))
    assert np.isnan(ours.macro_auroc(label, chance))
    assert np.isnan(ours.macro_auprc(label, chance))
    expected = theirs.brier_score_loss(label, chance, labels=range(classes), scale_by_half=True)
    assert ours.brier_score(label, chance) == pytest.approx(expected)


def test_constant_predictions_have_no_correlation():
    assert ours.matthews(np.array([0, 1, 1]), np.array([1, 1, 1]), 2) == 0.0


def test_names_instead_of_numbers_and_nan_scores_are_refused():
    with pytest.raises(ValueError, match="class numbers"):
        ours.accuracy(np.array(["a", "b"]), np.array(["a", "b"]))
    with pytest.raises(ValueError, match="finite"):
        ours.auroc(np.array([True, False]), np.array([np.nan, 1.0]))
