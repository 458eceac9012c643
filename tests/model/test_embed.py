from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.errors import StoreError
from mirror_data.store import (
    Run,
    Store,
    check,
    read_attention,
    read_embeddings,
    read_features,
    read_tiling,
    schema,
    write_run,
)
from mirror_model.batches import token_order
from mirror_model.cohort import find_features
from mirror_model.config import read_config
from mirror_model.embed import embed_fold
from mirror_model.jobs import TrainJob
from mirror_model.preparation import load_expression
from mirror_model.runs import train_fold
from mirror_model.trained import load_trained, trained_folds


def trained(store: Store, settings: tuple[str, ...], *more: str, fold: int = 0, run: str = "run") -> None:
    train_fold(TrainJob(store.url, run, "mirror", "main", fold, read_config(None, [*settings, "epochs=1", *more])))


def test_every_patient_with_a_modality_is_embedded(store: Store, small_settings: tuple[str, ...]) -> None:
    trained(store, small_settings)
    outcome = embed_fold(store.url, "run", 0)
    assert (outcome.status, outcome.slide, outcome.rna, outcome.attention) == ("embedded", 34, 34, 0)
    slide, rna = (read_embeddings(store, "run", 0, modality) for modality in ("slide", "rna"))
    assert list(slide.patient_ids) == sorted(slide.patient_ids)
    assert {"P03", "P30"}.isdisjoint(slide.patient_ids)
    assert {"P05", "P31"}.isdisjoint(rna.patient_ids)
    assert slide.values.shape == rna.values.shape == (34, 24)
    assert check(store).findings == ()


@pytest.mark.parametrize("more", [(), ("model.pool=attention", "model.mean_skip=true", "data.standardise_tiles=true")])
def test_an_embedding_is_what_the_network_says_of_the_whole_bag(
    store: Store, small_settings: tuple[str, ...], more: tuple[str, ...]
) -> None:
    trained(store, small_settings, *more)
    embed_fold(store.url, "run", 0, attention=True)
    found = read_embeddings(store, "run", 0, "slide")
    model = load_trained(store, "run", 0)
    bags, fitted = find_features(store).of(tuple(found.patient_ids)), model.preparation
    for patient in ("P00", "P07"):  # P07 has two slides, one bag
        tiles = np.concatenate([read_features(store, b.slide_id, "grid", "toy").values for b in bags[patient]])
        tiles = tiles.astype(np.float32)
        if fitted.tile_mean is not None:
            tiles = (tiles - fitted.tile_mean) * fitted.tile_scale
        with torch.no_grad():
            encoded = model.network.slide(torch.from_numpy(tiles)[None], torch.tensor([len(tiles)]), weights=True)
        np.testing.assert_allclose(found.values[found.patient_ids.index(patient)], encoded.embedding[0], atol=1e-5)
        start = 0
        for bag in bags[patient]:
            own = encoded.weights[0, start : start + bag.rows].numpy()
            start += bag.rows
            stored = read_attention(store, "run", 0, bag.slide_id)
            np.testing.assert_allclose(stored.weights, own / own.sum(), atol=1e-5)
            assert stored.weights.sum() == pytest.approx(1, abs=1e-5)
            assert len(stored.weights) == read_tiling(store, bag.slide_id, "grid").rows
    table = load_expression(store)
    rna = read_embeddings(store, "run", 0, "rna")
    with torch.no_grad():
        expected = model.network.rna(torch.from_numpy(fitted.expression(table))).embedding
    assert rna.patient_ids == table.patient_ids
    np.testing.assert_allclose(rna.values, expected, atol=1e-5)


def test_attention_lands_on_the_stored_rows_whatever_the_token_order(
    store: Store, small_settings: tuple[str, ...]
) -> None:
    trained(store, small_settings, "data.token_order=hilbert")
    embed_fold(store.url, "run", 0, attention=True)
    features = find_features(store)
    bag = next(b for b in features.bags if b.patient_id == "P00")
    order = token_order(read_tiling(store, bag.slide_id, "grid").coords, "hilbert")
    assert order is not None
    tiles = read_features(store, bag.slide_id, "grid", "toy").values[order].astype(np.float32)
    network = load_trained(store, "run", 0).network
    with torch.no_grad():
        weights = network.slide(torch.from_numpy(tiles)[None], torch.tensor([bag.rows]), weights=True).weights[0]
    stored = read_attention(store, "run", 0, bag.slide_id).weights
    np.testing.assert_allclose(stored[order], weights, atol=1e-5)


def test_beyond_the_cap_tiles_are_evenly_spaced_and_others_weigh_nothing(
    store: Store, small_settings: tuple[str, ...]
) -> None:
    trained(store, small_settings, "data.embed_tiles=4")
    embed_fold(store.url, "run", 0, attention=True)
    for bag in find_features(store).bags:
        weights = read_attention(store, "run", 0, bag.slide_id).weights
        assert (weights > 0).sum() == min(4, bag.rows)
        assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_what_is_there_is_skipped_and_what_is_stale_is_made_again(
    store: Store, small_settings: tuple[str, ...]
) -> None:
    trained(store, small_settings)
    embed_fold(store.url, "run", 0)
    first = store.document("runs/run/fold_0/embeddings/slide").hash
    assert embed_fold(store.url, "run", 0).status == "skipped"
    assert embed_fold(store.url, "run", 0, attention=True).attention == 36
    assert embed_fold(store.url, "run", 0, attention=True).status == "skipped"
    assert embed_fold(store.url, "run", 0, overwrite=True).status == "embedded"
    assert store.document("runs/run/fold_0/embeddings/slide").hash == first  # the same bytes again
    store.delete("slides/P00-0")
    again = embed_fold(store.url, "run", 0)
    assert (again.status, again.slide) == ("embedded", 33)


def test_nystrom_is_embedded_one_by_one(store: Store, small_settings: tuple[str, ...]) -> None:
    trained(store, small_settings, "model.attention=nystrom", "data.bag=fixed")
    assert embed_fold(store.url, "run", 0).slide == 34


def test_a_checkpoint_that_is_not_the_runs_own_is_refused(
    store: Store, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    trained(store, small_settings)
    with pytest.raises(StoreError) as missing:
        embed_fold(store.url, "run", 0, checkpoints=str(tmp_path / "elsewhere"))
    assert missing.value.code == "MISSING"
    trained(store, small_settings, "seed=5", run="other")
    runs = tmp_path / "toy.runs"
    (runs / "run").rename(runs / "kept")
    (runs / "other").rename(runs / "run")
    with pytest.raises(StoreError) as mismatch:
        embed_fold(store.url, "run", 0)
    assert mismatch.value.code == "MISMATCH"


def test_a_run_of_other_software_is_refused(store: Store) -> None:
    foreign = Run("foreign", 0, "ours", "main", {"layers": 2}, "0" * 64)
    write_run(store, foreign, parents=store.parents(schema.split("main")))
    with pytest.raises(StoreError, match="not trained by") as refused:
        embed_fold(store.url, "foreign", 0)
    assert (refused.value.code, refused.value.key) == ("MISMATCH", "runs/foreign/fold_0")


def test_only_trained_folds_can_be_asked_for(store: Store, small_settings: tuple[str, ...]) -> None:
    trained(store, small_settings, fold=1)
    assert trained_folds(store, "run", "all") == [1]
    for run, fold in (("run", "0"), ("run", "x"), ("absent", "all")):
        with pytest.raises(StoreError) as missing:
            trained_folds(store, run, fold)
        assert missing.value.code == "MISSING"
