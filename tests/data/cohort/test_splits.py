"""Folds: even over strata, whole sites, published ones, and patients on both sides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.cohort.splits import SplitOptions, draw_split, import_split
from mirror_data.cohort.strata import deal, deal_groups, draw_order, strata_of
from mirror_data.errors import BadInput
from mirror_data.store import Patients, check, create_store, open_store, read_split, write_patients


def patients(count: int = 200, seed: int = 0) -> Patients:
    rng = np.random.default_rng(seed)
    ids = pd.Index([f"P{i:03d}" for i in range(count)], name="patient_id")
    time = rng.uniform(10, 4000, count)
    event = (rng.random(count) < 0.3).astype(float)
    time[:5] = event[:5] = np.nan
    table = pd.DataFrame(
        {
            "subtype": rng.choice(["A", "B", None], count, p=[0.7, 0.2, 0.1]),
            "time_days": time,
            "event": event,
            "site": rng.choice(list("abcdefghijkl"), count),
        },
        index=ids,
    )
    return Patients(table)


@given(st.integers(1, 120), st.lists(st.floats(0.05, 1), min_size=2, max_size=6), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_a_deal_is_even(count, weights, seed):
    strata = {f"p{i}": "abc"[i % 7 % 3] for i in range(count)}
    part_of = deal(strata, weights, seed, "x")
    assert set(part_of) == set(strata)
    wanted = np.array(weights) / sum(weights) * count
    got = Counter(part_of.values())
    assert all(abs(got[k] - wanted[k]) <= len(weights) for k in range(len(weights)))


def test_a_deal_depends_on_nothing_but_seed_and_ids():
    assert draw_order(["a", "b", "c", "d"], 0, "x") == draw_order(["d", "c", "b", "a"], 0, "x")
    assert draw_order(list("abcdefgh"), 0, "x") != draw_order(list("abcdefgh"), 1, "x")
    with_more = draw_order(["a", "b", "c", "z"], 0, "x")
    with_more.remove("z")
    assert with_more == draw_order(["a", "b", "c"], 0, "x")
    assert draw_order(["a", "b", "c"], 7, "test") == ["a", "c", "b"]  # the same on every machine, for ever


def test_drawn_folds_test_everybody_once_and_keep_the_shares():
    people = patients()
    split = draw_split(people, SplitOptions("s", folds=5, validation=0.15, stratify="subtype+event", seed=3))
    tested = [p for fold in split.folds for p in fold.test]
    assert sorted(tested) == list(people.patient_ids)
    table = people.table
    for fold in split.folds:
        assert len(fold.test) == 40
        assert len(fold.train) + len(fold.validation) == 160
        assert len(fold.validation) == 24
        for part, size in ((fold.test, 40), (fold.validation, 24)):
            share = (table.loc[list(part), "subtype"] == "B").mean()
            assert abs(share - (table["subtype"] == "B").mean()) < 2.5 / size
    assert split.drawn["stratified_by"] == "subtype+event"
    again = draw_split(people, SplitOptions("s", folds=5, validation=0.15, stratify="subtype+event", seed=3))
    assert again == split
    assert draw_split(people, SplitOptions("s", stratify="subtype+event", seed=4)).folds != split.folds


def test_sites_stay_whole():
    people = patients()
    split = draw_split(people, SplitOptions("s", folds=4, group="site"))
    site = people.table["site"]
    for fold in split.folds:
        sets = [set(site[list(part)]) for part in (fold.train, fold.validation, fold.test)]
        assert not sets[0] & sets[1]
        assert not sets[0] & sets[2]
        assert not sets[1] & sets[2]
        assert 30 <= len(fold.test) <= 70
        assert 5 <= len(fold.validation) <= 45
    with pytest.raises(BadInput, match="BAD_OPTION"):
        deal_groups({"a": "", "b": ""}, {"a": "x", "b": "x"}, [1, 1], 0, "x")
    lost = Patients(people.table.assign(site=None))
    with pytest.raises(BadInput, match="BAD_OPTION"):
        draw_split(lost, SplitOptions("s", group="site"))


def test_strata_of_event_and_time():
    table = pd.DataFrame(
        {"event": [1, 1, 0, 0, np.nan], "time_days": [1, 9, 5, 6, np.nan]}, index=pd.Index(list("abcde"))
    )
    found = strata_of(table, "event")
    assert found == {
        "a": "|1|quarter 0",
        "b": "|1|quarter 2",
        "c": "|0|quarter 0",
        "d": "|0|quarter 2",
        "e": "|missing|",
    }
    assert set(strata_of(table, "none").values()) == {""}
    for by in ("subtype", "time_days", "x"):
        with pytest.raises(BadInput, match="BAD_OPTION"):
            strata_of(table, by)


def write_folds(folder: Path, parts: dict[str, list[list[str]]]) -> Path:
    folder.mkdir()
    for k in range(len(next(iter(parts.values())))):
        frame = pd.DataFrame({name: pd.Series(folds[k]) for name, folds in parts.items()})
        frame.to_csv(folder / f"splits_{k}.csv")
        (folder / f"splits_{k}_bool.csv").write_text(",train,val\nx,True,False\n")
    return folder


IDS = [f"TCGA-AA-{i:04d}" for i in range(30)]


def test_published_train_and_val_become_train_validation_and_test(tmp_path: Path):
    source = write_folds(tmp_path / "f", {"train": [IDS[:20], IDS[10:]], "val": [IDS[20:], IDS[:10]]})
    split = import_split([source], None, SplitOptions("s", validation=0.2))
    assert [fold.test for fold in split.folds] == [tuple(IDS[20:]), tuple(IDS[:10])]
    for fold, train in zip(split.folds, (IDS[:20], IDS[10:]), strict=True):
        assert sorted(fold.train + fold.validation) == train
        assert len(fold.validation) == 4
    assert split.drawn["files"] == ["splits_0.csv", "splits_1.csv"]


def test_published_three_parts_stay_and_slides_become_patients(tmp_path: Path):
    slides = [f"{name}-01Z-00-DX1" for name in IDS]
    parts = {"train": [slides[:20] + slides[:3]], "val": [slides[20:25]], "test": [slides[25:]]}
    source = write_folds(tmp_path / "f", parts)
    known = Patients(pd.DataFrame(index=pd.Index(IDS[2:], name="patient_id")))
    split = import_split([source / "splits_0.csv"], known, SplitOptions("s"))
    (fold,) = split.folds
    assert (fold.train, fold.validation, fold.test) == (tuple(IDS[2:20]), tuple(IDS[20:25]), tuple(IDS[25:]))
    assert (split.drawn["listed"], split.drawn["not_in_store"], split.drawn["validation"]) == (30, 2, "published")


def test_patients_on_both_sides_are_counted_and_refused(tmp_path: Path, capsys):
    source = write_folds(tmp_path / "f", {"train": [IDS[:20], IDS[:22]], "val": [IDS[20:], IDS[20:]]})
    store = create_store(tmp_path / "s.zarr")
    write_patients(store, Patients(pd.DataFrame(index=pd.Index(IDS, name="patient_id"))))
    arguments = ["split", "--store", str(tmp_path / "s.zarr"), "--name", "p", "--from", str(source)]
    assert run(cli, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("PATIENT_LEAK")
    assert "fold 0: 0, fold 1: 2" in error
    assert "TCGA" not in error
    assert store.keys("splits") == []


def test_what_is_no_fold(tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, code in ((empty, "NOT_FOUND"), (tmp_path / "gone.csv", "NOT_FOUND")):
        with pytest.raises(BadInput, match=code):
            import_split([source], None, SplitOptions("s"))
    path = tmp_path / "f.csv"
    path.write_text(",train,val\n0,True,False\n1,False,True\n")
    with pytest.raises(BadInput, match="BAD_COLUMN"):
        import_split([path], None, SplitOptions("s"))
    path.write_text(",training,test\n0,a,b\n")
    with pytest.raises(BadInput, match="MISSING_COLUMN"):
        import_split([path], None, SplitOptions("s"))
    path.write_text(",train,val\n0,a,b\n")
    with pytest.raises(BadInput, match="NO_OVERLAP"):
        import_split([path], patients(), SplitOptions("s"))


@pytest.mark.parametrize(
    "more",
    [["--folds", "1"], ["--validation", "0.95"], ["--validation", "-0.1"], ["--stratify", "gone"], ["--folds", "150"]],
)
def test_wrong_options(tmp_path: Path, capsys, more):
    store = create_store(tmp_path / "s.zarr")
    write_patients(store, patients())
    assert run(cli, ["split", "--store", str(tmp_path / "s.zarr"), "--name", "x", *more]) == 2
    assert capsys.readouterr().err.startswith("BAD_OPTION")


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "a\0b", "x" * 300, ".."])
def test_names_that_are_none(tmp_path: Path, name: str):
    with pytest.raises(BadInput, match="BAD_PATH"):
        draw_split(patients(), SplitOptions(name))


def test_the_command(tmp_path: Path, capsys):
    store = create_store(tmp_path / "s.zarr")
    arguments = ["split", "--store", str(tmp_path / "s.zarr"), "--name", "main", "--json"]
    assert run(cli, arguments) == 2
    assert "MISSING" in capsys.readouterr().err
    write_patients(store, patients())
    assert run(cli, arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tested"] == 200
    assert [fold["test"] for fold in told["folds"]] == [40] * 5
    assert told["drawn"]["stratified_by"] == "subtype"
    assert run(cli, arguments) == 0  # the same again
    assert run(cli, [*arguments, "--seed", "1"]) == 2
    assert run(cli, [*arguments, "--seed", "1", "--overwrite"]) == 0
    assert read_split(open_store(tmp_path / "s.zarr"), "main").seed == 1
    assert check(store).findings == ()
    write_patients(store, patients(seed=1), overwrite=True)
    assert [finding.code for finding in check(store).findings] == ["STALE"]


def test_real_folds(shared: Path):
    split = import_split([shared / "data/splits/tcga_brca"], None, SplitOptions("published"))
    assert [len(fold.test) for fold in split.folds] == [192, 191, 191, 191, 191]
    assert [len(fold.validation) for fold in split.folds] == [115] * 5
    with pytest.raises(BadInput, match="PATIENT_LEAK") as caught:
        import_split([shared / "data/splits/tcga_rcc_with_leaks"], None, SplitOptions("x"))
    assert caught.value.got == "fold 0: 15, fold 1: 10, fold 2: 3, fold 3: 10, fold 4: 13"
