"""Attention as it is read: ranks, percentiles, the choice of a fold, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mirror_data.errors import MirrorError
from mirror_data.store import Slide, Store, Tiling, write_tiling
from mirror_eval.attention import attention_run, percentiles, slide_attention, slides_with_attention

from tests.eval.attention_store import GRID, TOP, WEIGHTS, add_attention, attention_of, make_store

SLIDE = Slide("A", "a", (2560, 1920), 0.5)


@pytest.fixture
def store(tmp_path) -> Store:
    return make_store(tmp_path / "cohort.zarr")


def code_of(call, *arguments) -> str:
    with pytest.raises(MirrorError) as caught:
        call(*arguments)
    return caught.value.code


def test_ranks_percentiles_and_shares(store):
    shown = slide_attention(store, attention_run(store, "r"), "A")
    assert shown.weights.sum() == pytest.approx(1, abs=1e-6)
    assert shown.order[:6].tolist() == list(TOP)
    assert shown.rank.tolist() == [12, 11, 9, 8, 7, 6, 5, 4, 1, 3, 2, 10]  # of equal ones the first as it lies
    assert shown.percentile[8] == pytest.approx(100 * 11.5 / 12)
    assert shown.percentile[0] == pytest.approx(100 * 0.5 / 12)
    assert shown.percentile[2] == shown.percentile[11] == pytest.approx(100 * 3 / 12)  # equal weights, one colour
    assert shown.relative == pytest.approx(WEIGHTS * 12, rel=1e-6)
    assert shown.half_share == pytest.approx(2 / 12)  # 40 + 11 of 100
    assert (shown.tile_um, shown.um_per_px, shown.extent) == (128.0, 0.5, (2560, 1920))


def test_even_attention_is_the_median_everywhere():
    shown = attention_of(np.full(12, 1 / 12), SLIDE, GRID, 256.0)
    assert shown.percentile.tolist() == [50.0] * 12
    assert shown.half_share == 0.5
    assert shown.rank.tolist() == list(range(1, 13))


def test_tiles_that_were_not_shown_to_the_network(store):
    """Beyond the cap on tiles a weight of 0 says nothing; below it, it is the least attention."""
    weights = WEIGHTS.copy()
    weights[[0, 4]] = 0
    weights /= weights.sum()
    add_attention(store, "A", 0, weights)
    run = attention_run(store, "r")
    assert slide_attention(store, run, "A").weighed.all()
    capped = replace(run, folds={k: replace(one, config={"data": {"embed_tiles": 10}}) for k, one in run.folds.items()})
    shown = slide_attention(store, capped, "A")
    assert np.flatnonzero(~shown.weighed).tolist() == [0, 4]
    assert shown.rank[[0, 4]].tolist() == [0, 0]
    assert np.isnan(shown.percentile[[0, 4]]).all()
    assert shown.relative[8] == pytest.approx(weights[8] * 10)
    assert sorted(shown.rank[shown.weighed]) == list(range(1, 11))


def test_percentiles_agree_with_counting():
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 6, 40).astype(float)
    below = (weights[None, :] < weights[:, None]).sum(axis=1)
    equal = (weights[None, :] == weights[:, None]).sum(axis=1)
    assert percentiles(weights, np.ones(40, dtype=bool)) == pytest.approx(100 * (below + equal / 2) / 40)


def test_the_fold_that_tests_the_patient(store):
    run = attention_run(store, "r")
    found = {name: slide_attention(store, run, name) for name in "ABCD"}
    assert {name: (one.fold, one.part) for name, one in found.items()} == {
        "A": (0, "test"),
        "B": (1, "validation"),  # tested by no fold: rather validated on than trained on
        "C": (1, "test"),
        "D": (0, "outside"),
    }
    asked = slide_attention(store, run, "A", fold=1)
    assert (asked.fold, asked.part) == (1, "train")
    assert asked.order[0] == 3  # fold 1 has the weights the other way round
    assert code_of(slide_attention, store, run, "A", 7) == "BAD_OPTION"


def test_slides_that_a_run_weighed(store):
    assert slides_with_attention(store, attention_run(store, "r")) == ["../../x", "A", "B", "C", "D", "E"]
    assert code_of(lambda: slides_with_attention(store, attention_run(store, "bare"))) == "MISSING"
    assert code_of(attention_run, store, "nobody") == "MISSING"


def test_what_is_refused(store):
    run = attention_run(store, "r")
    assert code_of(slide_attention, store, run, "Z") == "MISSING"
    assert code_of(slide_attention, store, run, "F") == "MISSING"
    assert code_of(slide_attention, store, run, "E") == "NO_COORDS"
    add_attention(store, "A", 0, WEIGHTS[:5])
    assert code_of(slide_attention, store, run, "A") == "MISMATCH"
    add_attention(store, "A", 0, WEIGHTS * 2)
    assert code_of(slide_attention, store, run, "A") == "MISMATCH"
    write_tiling(store, Tiling("D", "t", 0, GRID[:0], 256, 0.5, 256.0), overwrite=True)
    add_attention(store, "D", 0, WEIGHTS[:0])
    assert code_of(slide_attention, store, run, "D") == "NO_TILES"
