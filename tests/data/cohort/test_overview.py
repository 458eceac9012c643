"""What ``info`` tells of a store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.cohort.members import members, wanted_patients
from mirror_data.cohort.overview import overview
from mirror_data.cohort.splits import SplitOptions, add_split
from mirror_data.store import (
    Expression,
    Features,
    Patients,
    Run,
    Slide,
    Tiling,
    create_store,
    write_expression,
    write_features,
    write_patients,
    write_run,
    write_slide,
    write_tiling,
)


def fill(path: Path):
    store = create_store(path)
    for name, patient in (("s1", "A"), ("s2", "A"), ("s3", "B"), ("s4", "Z")):
        write_slide(store, Slide(name, patient))
        coords = np.zeros((3, 2), np.int32) if name != "s4" else None
        write_tiling(store, Tiling(name, "20x", 3, coords, tile_px=256, mpp=0.5))
        if name != "s3":
            write_features(store, Features(name, "20x", "enc", np.zeros((3, 8), np.float16)))
    ids = ("A", "B", "C")
    write_expression(store, Expression(ids, ids, ("g1", "g2"), ("g1", ""), np.zeros((3, 2), np.float32), "zscore"))
    index = pd.Index(["A", "B", "D", "E"], name="patient_id")
    table = {
        "subtype": ["x", None, "y", None],
        "time_days": [1.0, 2, np.nan, np.nan],
        "event": [1.0, 0, np.nan, np.nan],
    }
    write_patients(store, Patients(pd.DataFrame(table, index=index)))
    return store


def test_everything_is_counted(tmp_path: Path, capsys):
    store = fill(tmp_path / "s.zarr")
    add_split(store, SplitOptions("main", folds=2, validation=0, stratify="none"))
    write_run(store, Run("r", 0, "mirror", "main", {}, "0" * 64), parents=store.parents("splits/main"))
    info = overview(store)
    assert info.slides == 4
    with_features, without = info.bags[1], info.bags[0]
    assert (with_features.encoder, with_features.slides, with_features.tiles, with_features.width) == ("enc", 3, 9, 8)
    assert with_features.with_coords == 2
    assert (without.encoder, without.slides) == (None, 1)
    assert info.rna is not None
    assert (info.rna.patients, info.rna.genes) == (3, 2)
    assert info.clinical is not None
    assert (info.clinical.patients, info.clinical.with_outcome, info.clinical.events) == (4, 2, 1)
    assert info.clinical.subtypes == {"x": 1, "y": 1}
    assert info.joins == {
        "slides + expression + outcome + subtype": 1,
        "slides + expression + outcome": 1,
        "clinical row only": 1,
        "expression": 1,
        "slides": 1,
        "subtype": 1,
    }
    assert sum(info.joins.values()) == len(members(store).all()) == 6
    assert [(s.name, s.folds, s.tested, s.stale) for s in info.splits] == [("main", 2, 4, False)]
    assert [(r.name, r.folds, r.method) for r in info.runs] == [("r", (0,), "mirror")]
    table = pd.DataFrame(index=pd.Index(["A"], name="patient_id"))
    write_patients(store, Patients(table), overwrite=True)
    assert overview(store).splits[0].stale
    assert run(cli, ["info", "--store", str(tmp_path / "s.zarr"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["slides"] == 4
    assert run(cli, ["info", "--store", str(tmp_path / "s.zarr")]) == 0
    assert "split main: 2 folds, drawn, 4 patients tested; STALE" in capsys.readouterr().out


def test_an_empty_store_and_none(tmp_path: Path, capsys):
    info = overview(create_store(tmp_path / "s.zarr"))
    assert (info.slides, info.bags, info.rna, info.clinical, info.joins) == (0, (), None, None, {})
    assert run(cli, ["info", "--store", str(tmp_path / "s.zarr")]) == 0
    assert "expression: none" in capsys.readouterr().out
    assert run(cli, ["info", "--store", str(tmp_path / "gone.zarr")]) == 2
    assert capsys.readouterr().err.startswith("NOT_A_STORE")


def test_whom_a_table_is_read_for(tmp_path: Path):
    known = frozenset({"A", "B"})
    assert wanted_patients("auto", known).patients == known
    assert wanted_patients("auto", frozenset()).patients is None
    assert wanted_patients("all", known).patients is None
    path = tmp_path / "list.csv"
    path.write_text("case_id,x\nTCGA-3C-AALI-01A,1\nQ,2\n")
    assert wanted_patients(str(path), known).patients == {"TCGA-3C-AALI", "Q"}
