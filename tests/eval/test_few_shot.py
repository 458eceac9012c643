"""Support sets: without replacement, balanced, with events."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_eval.few_shot import Shots


def test_every_set_holds_k_different_patients_a_class():
    stratum = np.repeat([0, 1, 2], [40, 15, 10])
    sets = Shots(10, 25).sets(stratum, 0)
    assert len(sets) == 25
    for chosen in sets:
        assert len(set(chosen)) == 30
        np.testing.assert_array_equal(np.bincount(stratum[chosen]), [10, 10, 10])
        assert (np.diff(chosen) > 0).all()
    assert len({tuple(chosen) for chosen in sets}) > 1


def test_sets_depend_on_the_seed_alone():
    stratum = np.repeat([0, 1], 30)
    first, again, other = (Shots(5).sets(stratum, seed) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_every_set_holds_an_event():
    needs = np.zeros(60, bool)
    needs[[3, 40]] = True
    for chosen in Shots(5).sets(np.repeat([0, 1], 30), 0, needs=needs):
        assert needs[chosen].any()


@pytest.mark.parametrize(("shots", "draws"), [(0, 20), (5, 19)])
def test_too_few_shots_or_sets_are_refused(shots, draws):
    with pytest.raises(BadInput) as raised:
        Shots(shots, draws)
    assert raised.value.code == "BAD_OPTION"


def test_a_class_with_fewer_patients_than_shots_is_refused():
    with pytest.raises(BadInput) as raised:
        Shots(10).sets(np.repeat([0, 1], [30, 9]), 0)
    assert (raised.value.code, raised.value.expected) == ("NOT_ESTIMABLE", "at most 9")
    with pytest.raises(BadInput) as raised:
        Shots(5).sets(np.repeat([0, 1], 30), 0, needs=np.zeros(60, bool))
    assert raised.value.code == "NOT_ESTIMABLE"
