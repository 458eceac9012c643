"""A small store with a run, for the tests of evaluation: no torch, no slides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_data.store import (
    Embeddings,
    Fold,
    Patients,
    Predictions,
    Run,
    Split,
    Store,
    create_store,
    schema,
    write_embeddings,
    write_patients,
    write_predictions,
    write_run,
    write_split,
)

PATIENTS = 160
FOLDS = 4
WIDTH = 6


def planted_table(patients: int = PATIENTS, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Outcomes and the two factors (n, 2) behind them: the first shared by both modalities, the second RNA's own.

    The subtype follows the first, survival both. Patients 0 to 4 have no subtype, 5 to 7 no outcome.
    """
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(patients, 2))
    hazard = np.exp(0.9 * factors[:, 0] + 0.6 * factors[:, 1])
    death, leaving = rng.exponential(900 / hazard), rng.exponential(1200, size=patients)
    table = pd.DataFrame(index=pd.Index([f"P{k:03d}" for k in range(patients)], name="patient_id"))
    table["subtype"] = np.where(factors[:, 0] + 0.5 * rng.normal(size=patients) > 0.4, "ILC", "IDC").astype(object)
    table["time_days"] = np.ceil(np.minimum(death, leaving)) + 1
    table["event"] = (death <= leaving).astype(float)
    table.iloc[:5, 0] = None
    table.iloc[5:8, 1:] = np.nan
    return table, factors


@pytest.fixture(scope="session")
def run_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """See `planted_store`."""
    return planted_store(tmp_path_factory.mktemp("eval") / "cohort.zarr")


def planted_store(path: Path) -> Store:
    """Runs ``planted`` (embeddings), ``told`` (predictions) and ``slides`` (slides, two folds) of a four-fold split.

    Patients 10 to 13 have no slide, 14 to 16 no RNA, 17 neither.
    """
    store = create_store(path)
    table, factors = planted_table()
    write_patients(store, Patients(table))
    ids = np.array(table.index)
    part = np.arange(PATIENTS) % FOLDS
    folds = []
    for k in range(FOLDS):
        rest = np.flatnonzero(part != k)
        held = rest[::6]
        train = np.setdiff1d(rest, held)
        folds.append(Fold(tuple(ids[train]), tuple(ids[held]), tuple(ids[part == k])))
    write_split(store, Split("four", tuple(folds), seed=0))
    lacking = {"slide": {*range(10, 14), 17}, "rna": {*range(14, 17), 17}}
    for k in range(FOLDS):
        write_run(store, Run("planted", k, "mirror", "four", {}, "0" * 64), parents=store.parents(schema.split("four")))
        write_run(store, Run("told", k, "abmil", "four", {}, "0" * 64), parents=store.parents(schema.split("four")))
        rng = np.random.default_rng(k)
        for modality, seen in (("slide", factors[:, :1]), ("rna", factors)):
            values = rng.normal(size=(PATIENTS, WIDTH)) * 0.7
            values[:, : seen.shape[1]] += seen
            kept = np.array([i for i in range(PATIENTS) if i not in lacking[modality]])
            found = Embeddings("planted", k, modality, tuple(ids[kept]), values[kept].astype(np.float32))
            write_embeddings(store, found, parents=store.parents(schema.run("planted", k)))
            if modality == "slide" and k < 2:
                write_run(store, Run("slides", k, "mirror", "four", {}, "0" * 64), parents={})
                write_embeddings(store, replace(found, run="slides"), parents={})
        chance = 1 / (1 + np.exp(-2 * factors[:, 0]))
        told = pd.DataFrame({"patient_id": ids, "part": [folds[k].part_of()[i] for i in ids]})
        parents = store.parents(schema.run("told", k))
        classes = told.assign(prob_IDC=1 - chance, prob_ILC=chance)
        write_predictions(store, Predictions("told", k, "subtype", classes), parents=parents)
        risks = told.assign(risk=factors[:, 0])
        write_predictions(store, Predictions("told", k, "survival", risks), parents=parents)
    return store
