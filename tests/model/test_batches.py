from __future__ import annotations

import numpy as np
import pytest
import torch
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Features, Store, Tiling, write_features, write_tiling
from mirror_model.batches import (
    Bags,
    Batch,
    PatientData,
    epoch_batches,
    hilbert,
    size_groups,
    tile_moments,
    token_order,
)
from mirror_model.cohort import choose_folds, find_features, read_folds
from mirror_model.config import DataConfig
from mirror_model.draws import EvenDraw, MeanDraw, RandomDraw, fixed_rows, random_draw
from mirror_model.preparation import fit_preparation, load_expression
from mirror_model.streams import NoiseSizes, numpy_stream

PATIENTS = tuple(f"P{k:02d}" for k in range(36))


def patient_data(store: Store, patients: tuple[str, ...] = PATIENTS, budget: float = 1e9) -> PatientData:
    table = load_expression(store)
    fitted = fit_preparation(table, patients, table.gene_ids, DataConfig())
    return PatientData(patients, Bags(store, find_features(store), "raster", budget), table, fitted)


def drawn(data: PatientData, members: np.ndarray, seed: int = 0, tiles: int = 12, *, fixed: bool = False) -> Batch:
    return data.batch(members, RandomDraw(tiles, fixed=fixed), [numpy_stream(seed, int(m)) for m in members])


def test_a_batch_holds_each_patient_where_it_has_data(store: Store) -> None:
    data = patient_data(store)
    members = np.array([3, 5, 7, 8])  # without slides, without RNA, with two slides, with both
    batch = drawn(data, members)
    assert batch.patient_ids == ("P03", "P05", "P07", "P08")
    assert batch.slide_of.tolist() == [1, 2, 3]
    assert batch.rna_of.tolist() == [0, 2, 3]
    assert batch.paired_slide.tolist() == [1, 2]
    assert batch.paired_rna.tolist() == [1, 2]
    assert data.paired == 32
    sizes = [bag.rows for bag in data.slides[7]]
    assert len(sizes) == 2
    assert batch.counts.tolist()[1] == sum(min(12, rows) for rows in sizes)
    assert batch.tiles.shape[:2] == (3, int(batch.counts.max()))
    for row, count in enumerate(batch.counts.tolist()):
        assert batch.tiles[row, count:].eq(0).all()


def test_expression_is_the_patients_own(store: Store) -> None:
    data, table = patient_data(store), load_expression(store)
    batch = drawn(data, np.array([8, 3]))
    expected = data.preparation.expression(table)[[table.patient_ids.index("P08"), table.patient_ids.index("P03")]]
    torch.testing.assert_close(batch.expression, torch.from_numpy(expected))


def test_tiles_are_drawn_without_replacement_in_raster_order(store: Store) -> None:
    data = patient_data(store)
    large = next(m for m, bags in enumerate(data.slides) if len(bags) == 1 and bags[0].rows > 15)
    bag = data.bags.read(data.slides[large][0]).astype(np.float32)
    batch = drawn(data, np.array([large]))
    rows = [int(np.flatnonzero((bag == tile.numpy()).all(1))[0]) for tile in batch.tiles[0]]
    assert len(rows) == 12
    assert rows == sorted(set(rows))
    again, other = (drawn(data, np.array([large]), seed).tiles for seed in (0, 1))
    assert torch.equal(batch.tiles, again)
    assert not torch.equal(batch.tiles, other)


def test_a_fixed_bag_repeats_only_what_it_must(store: Store) -> None:
    data = patient_data(store)
    batch = drawn(data, np.arange(8), tiles=25, fixed=True)
    assert batch.counts.tolist() == [25] * 7
    rows = fixed_rows(10, 25, np.random.default_rng(0))
    assert np.bincount(rows).tolist().count(3) == 5
    assert set(np.bincount(rows)) == {2, 3}
    assert (np.diff(rows) >= 0).all()


def test_what_is_drawn_for_a_patient_does_not_depend_on_the_batch(store: Store) -> None:
    data, sizes = patient_data(store), NoiseSizes(slide_mask=True, rna_mask=6, style=4)
    draw, members = RandomDraw(6), np.arange(10)  # P03 lacks slides, P05 lacks RNA
    whole = data.batch(members, draw, [numpy_stream(1, int(m)) for m in members], sizes)
    assert whole.noise.slide_mask.shape == whole.tiles.shape[:2]
    assert [tuple(n.shape) for n in (whole.noise.rna_mask, whole.noise.slide_style, whole.noise.rna_style)] == [
        (9, 6), (9, 4), (9, 4),
    ]  # fmt: skip
    for k, member in enumerate(members):
        alone = data.batch(members[k : k + 1], draw, [numpy_stream(1, int(member))], sizes)
        if alone.tiles is not None:
            row = whole.slide_of.tolist().index(k)
            count = int(alone.counts[0])
            assert torch.equal(alone.tiles[0], whole.tiles[row, :count])
            assert torch.equal(alone.noise.slide_mask[0], whole.noise.slide_mask[row, :count])
            assert torch.equal(alone.noise.slide_style[0], whole.noise.slide_style[row])
        if alone.expression is not None:
            row = whole.rna_of.tolist().index(k)
            assert torch.equal(alone.noise.rna_mask[0], whole.noise.rna_mask[row])
            assert torch.equal(alone.noise.rna_style[0], whole.noise.rna_style[row])
    uniform, normal = whole.noise.slide_mask[whole.tiles.abs().sum(2) > 0], whole.noise.slide_style
    assert 0 <= uniform.min() < 0.2 < 0.8 < uniform.max() < 1
    assert normal.min() < 0 < normal.max()
    assert data.batch(members, draw, [numpy_stream(1, int(m)) for m in members], NoiseSizes()).noise.rna_mask is None


def test_an_even_draw_has_no_chance_in_it() -> None:
    values = np.arange(10)[:, None]
    assert EvenDraw(4).take([values])[0].ravel().tolist() == [0, 2, 5, 7]
    assert EvenDraw(10).take([values])[0] is values


def test_beyond_the_budget_bags_are_read_again(store: Store) -> None:
    kept, none = patient_data(store), patient_data(store, budget=0)
    one, two = (drawn(data, np.arange(10)) for data in (kept, none))
    assert torch.equal(one.tiles, two.tiles)
    assert kept.bags.kept
    assert not none.bags.kept


def test_every_patient_once_an_epoch_in_even_batches() -> None:
    batches = epoch_batches(130, 32, np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(130))
    assert [len(b) for b in batches] == [26] * 5
    assert len(epoch_batches(3, 32, np.random.default_rng(0))) == 1


def test_hilbert_order_visits_neighbours() -> None:
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1).reshape(-1, 2).astype(np.int32) * 4369
    walk = grid[np.argsort(hilbert(grid), kind="stable")]
    assert (np.abs(np.diff(walk, axis=0)).sum(1) == 4369).all()


def test_token_orders() -> None:
    coords = np.array([[0, 512], [512, 0], [0, 0]], dtype=np.int32)
    assert token_order(coords, "raster").tolist() == [2, 1, 0]
    assert token_order(coords[[2, 1, 0]], "raster") is None
    assert token_order(coords, "none") is None


def test_moments_of_the_given_patients_only(store: Store) -> None:
    features = find_features(store)
    bags = Bags(store, features, "raster", 1e9)
    patients = features.of(("P00", "P07"))
    mean, sd = tile_moments(bags, patients)
    rows = np.concatenate([bags.read(bag) for p in ("P00", "P07") for bag in patients[p]]).astype(np.float64)
    np.testing.assert_allclose(mean, rows.mean(0))
    np.testing.assert_allclose(sd, rows.std(0))


def test_the_mean_bag_is_one_tile_of_all_slides_read_once(store: Store) -> None:
    data = patient_data(store, budget=0)
    assert random_draw(DataConfig(bag="mean")) == MeanDraw()
    batch = data.batch(np.array([7, 8]), MeanDraw())
    assert batch.counts.tolist() == [1, 1]
    rows = np.concatenate([data.bags.read(bag) for bag in data.slides[7]]).astype(np.float64)
    np.testing.assert_allclose(batch.tiles[0, 0], rows.mean(0), rtol=1e-6)
    data.bags.read = None  # type: ignore[method-assign]
    assert torch.equal(data.batch(np.array([7]), MeanDraw()).tiles[0], batch.tiles[0])


def test_moments_of_mean_tiles(store: Store) -> None:
    features = find_features(store)
    bags, patients = Bags(store, features, "raster", 1e9), features.of(("P00", "P07", "P08"))
    means = np.stack([bags.mean(own) for own in patients.values()]).astype(np.float64)
    mean, sd = tile_moments(bags, patients, of_means=True)
    np.testing.assert_allclose(mean, means.mean(0))
    np.testing.assert_allclose(sd, means.std(0), atol=1e-7)


def test_who_lacks_what_is_needed_is_counted(store: Store) -> None:
    table = load_expression(store)
    fitted = fit_preparation(table, PATIENTS, table.gene_ids, DataConfig())
    bags = Bags(store, find_features(store), "raster", 1e9)
    found = {needs: PatientData((*PATIENTS, "Q1"), bags, table, fitted, needs) for needs in
             ((), ("slide",), ("rna",), ("slide", "rna"))}  # fmt: skip
    assert [(len(data), data.missing) for data in found.values()] == [(36, 1), (34, 3), (34, 3), (32, 5)]
    assert {"P03", "P30", "P05", "P31"}.isdisjoint(found["slide", "rna"].patient_ids)


def test_like_sizes_share_a_batch(store: Store) -> None:
    data = patient_data(store)
    groups = size_groups(data, DataConfig(), 8)
    assert sorted(np.concatenate(groups).tolist()) == list(range(36))
    assert max(map(len, groups)) == 8
    sizes = [sum(bag.rows for bag in data.slides[m]) for m in np.concatenate(groups)]
    assert sizes == sorted(sizes)
    assert [len(group) for group in size_groups(data, DataConfig(), 1)] == [1] * 36


def test_features_must_be_named_where_there_are_several(store: Store) -> None:
    write_features(store, Features("P00-0", "grid", "timm:other@1", np.zeros((find_rows(store), 4), np.float16)))
    with pytest.raises(BadInput) as several:
        find_features(store)
    assert several.value.code == "BAD_OPTION"
    assert "--tiling grid --encoder timm:other@1" in str(several.value.expected)
    assert "--encoder toy" in str(several.value.expected)
    assert find_features(store, encoder="timm:other@1").width == 4
    with pytest.raises(BadInput, match="no features of that"):
        find_features(store, encoder="none")


def find_rows(store: Store) -> int:
    return next(bag.rows for bag in find_features(store).bags if bag.slide_id == "P00-0")


def test_slides_without_tiles_are_left_out(store: Store) -> None:
    write_tiling(store, Tiling("P00-0", "grid", 0, None), overwrite=True)
    write_features(store, Features("P00-0", "grid", "toy", np.zeros((0, 12), np.float16)), overwrite=True)
    features = find_features(store)
    assert features.empty == 1
    assert "P00" not in features.of(PATIENTS)


def test_missing_things_are_named(store: Store) -> None:
    with pytest.raises(StoreError) as split:
        read_folds(store, "absent")
    assert (split.value.code, split.value.expected) == ("MISSING", "one of: main")
    for wrong in ("2", "-1", "x"):
        with pytest.raises(BadInput, match="no such fold"):
            choose_folds(read_folds(store, "main"), wrong)
    assert choose_folds(read_folds(store, "main"), "all") == [0, 1]
