"""Fill a store as a trained run leaves it, with synthetic records; ids try to be markup."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from mirror_data.store import (
    Attention,
    Embeddings,
    Expression,
    Features,
    Fold,
    GeneSelection,
    Patients,
    Predictions,
    Run,
    Slide,
    Split,
    Store,
    Tiling,
    read_patients,
    read_run,
    read_split,
    schema,
    write_attention,
    write_embeddings,
    write_expression,
    write_features,
    write_genes,
    write_patients,
    write_predictions,
    write_run,
    write_slide,
    write_split,
    write_tiling,
)

RUN = "first"
EVIL_ID = "P00<img src=x onerror=alert(1)>"
EVIL_SLIDE = 'S00"><script>alert(2)</script>'
FOLDS = 3
TILES = 30


def patient_ids(count: int) -> list[str]:
    return sorted([EVIL_ID, *(f"P{k:02d}" for k in range(1, count))])


def fill(
    store: Store, *, patients: int = 36, subtypes: int = 2, with_survival: bool = True, with_slides: bool = False
) -> Store:
    """Patients, expression, split, genes and a run whose embeddings know subtype and outlook; slides if asked for."""
    slides = add_slides(store, patients) if with_slides else []
    rng = np.random.default_rng(7)
    ids = patient_ids(patients)
    kind = np.arange(patients) % max(subtypes, 1)
    outlook = rng.normal(size=patients)
    time = np.ceil(900 * np.exp(-0.8 * outlook - 0.5 * kind + 0.3 * rng.normal(size=patients))) + 1
    event = (rng.random(patients) < 0.7).astype(float)
    table = pd.DataFrame({"subtype": [f"type {k}" for k in kind]}, index=pd.Index(ids, name="patient_id"))
    if with_survival:
        table["time_days"], table["event"] = time, event
        table.iloc[3, [1, 2]] = np.nan
    write_patients(store, Patients(table, {"rows": patients, "dropped": {"no id": 2}}))

    genes = tuple(f"GENE{k:03d}" for k in range(60))
    values = rng.normal(size=(patients, 60)).astype(np.float32)
    values[:, :8] += 2 * kind[:, None]
    has_rna = [k for k in range(patients) if k != 5]
    kept_ids = tuple(ids[k] for k in has_rna)
    symbols = ("=cmd()", "<b>X</b>", *genes[2:])
    write_expression(store, Expression(kept_ids, kept_ids, genes, symbols, values[has_rna], "log2(tpm+0.001)"))

    order = rng.permutation(patients)
    folds = []
    for k in range(FOLDS):
        test = set(order[k::FOLDS])
        rest = [p for p in order if p not in test]
        parts = (rest[4:], rest[:4], test)
        folds.append(Fold(*(tuple(sorted(ids[p] for p in part)) for part in parts)))
    write_split(store, Split("main", tuple(folds), {"method": "stratified"}, 0), parents={})

    for k, fold in enumerate(folds):
        flags = np.zeros(60, dtype=np.uint8)
        flags[:3] = 1
        selection = GeneSelection(
            name="kept",
            fold=k,
            kept=genes[:12],
            gene_ids=genes,
            ranking=np.array([1] * 10 + list(range(2, 52)), dtype=np.int32),
            cancer=flags,
            stability=np.linspace(1, 0, 60).astype(np.float32),
            curve=pd.DataFrame({"genes": [60, 10], "score": [0.8, 0.9], "sd": [0.1, 0.05]}),
            fitted_on=tuple(p for p in fold.train if p in kept_ids),
            parameters={"step": 1},
        )
        parents = store.parents(schema.PATIENTS, schema.RNA, schema.split("main"))
        write_genes(store, selection, parents=parents)
        sources = store.parents(schema.PATIENTS, schema.RNA, schema.split("main"), schema.genes("kept", k))
        if slides:
            sources |= store.parents(schema.all_features("256px", "toy"))
        config = {
            "epochs": 3,
            "batch_size": 8,
            "seed": 0,
            "optimiser": {"lr": 1e-3, "name": "adam"},
            "model": {"dim": 8},
        }
        write_run(
            store, Run(RUN, k, "mirror", "main", config, "ab" * 32, {"loss": 1.5}, {"torch": "2"}), parents=sources
        )
        seen = np.column_stack([kind, outlook])
        for modality, mixing, absent in (("slide", 0, 6), ("rna", 1, 5)):
            noise = np.random.default_rng([k, mixing]).normal(size=(patients, 8))
            embedded = noise * 0.5
            embedded[:, :2] += seen * (2.0, 1.0)
            embedded[:, 2 + mixing] += outlook
            rows = [p for p in range(patients) if p != absent]
            array = embedded[rows].astype(np.float32)
            record = Embeddings(RUN, k, modality, tuple(ids[p] for p in rows), array)
            write_embeddings(store, record, parents=store.parents(schema.run(RUN, k)))
            aligned = replace(record, values=array[:, :2] + 0.1 * array[:, 2:4], aligned=True)
            write_embeddings(store, aligned, parents=store.parents(schema.run(RUN, k)))
        for slide_id in slides:
            weights = rng.gamma(1.0, size=TILES).astype(np.float32)
            attention = Attention(RUN, k, slide_id, "256px", weights / weights.sum())
            write_attention(store, attention, parents=store.parents(schema.run(RUN, k)))
    return store


def add_run(store: Store, name: str, *, patients: int = 36, width: int = 6) -> None:
    """Another run on the same folds, whose embeddings are noise: no aligned vectors, no attention."""
    for k in range(FOLDS):
        write_run(store, replace(read_run(store, RUN, k), name=name, method="noise"), parents={})
        for side, modality in enumerate(("slide", "rna")):
            values = np.random.default_rng([9, k, side]).normal(size=(patients, width)).astype(np.float32)
            write_embeddings(store, Embeddings(name, k, modality, tuple(patient_ids(patients)), values), parents={})


def add_predictions(store: Store, name: str) -> None:
    """A run on the same folds without embeddings, which predicts subtype and survival itself, and well."""
    patients, split = read_patients(store).table, read_split(store, "main")
    for k in range(FOLDS):
        write_run(store, replace(read_run(store, RUN, k), name=name), parents={})
        part = split.folds[k].part_of()
        rows = patients.loc[sorted(part)].dropna().reset_index()
        table = rows[["patient_id"]].assign(part=[part[p] for p in rows["patient_id"]])
        chance = np.where(rows["subtype"] == "type 1", 0.8, 0.3)
        probabilities = table.assign(**{"prob_type 0": 1 - chance, "prob_type 1": chance})
        risks = table.assign(risk=-np.log(rows["time_days"].astype(float)))
        parents = store.parents(schema.run(name, k))
        write_predictions(store, Predictions(name, k, "subtype", probabilities), parents=parents)
        write_predictions(store, Predictions(name, k, "survival", risks), parents=parents)


def add_slides(store: Store, patients: int) -> list[str]:
    """A slide of each of ten patients, with thumbnail, tiles and features; returns the slides' ids."""
    rng = np.random.default_rng(8)
    ids, made = patient_ids(patients), []
    for p, patient in enumerate(ids[:6] + ids[-4:]):
        slide_id = EVIL_SLIDE if patient == EVIL_ID else f"S{p:02d}"
        tissue = np.zeros((60, 80), np.uint8)
        tissue[10:50, 10:70] = 1
        picture = np.where(tissue[..., None] == 1, rng.integers(120, 200, (60, 80, 3)), 244).astype(np.uint8)
        slide = Slide(slide_id, patient, (2560, 1920), 0.5, "aperio", "test", {}, tissue, 16.0, {}, picture)
        write_slide(store, slide)
        grid = [(x * 320, 320 + y * 256) for y in range(5) for x in range(1, 7)]
        coords = np.array(grid, dtype=np.int32)
        write_tiling(store, Tiling(slide_id, "256px", TILES, coords, 256, 0.5, 256.0, 0, 0.25, 0, {}))
        features = Features(slide_id, "256px", "toy", rng.normal(size=(TILES, 4)).astype(np.float16), "cd" * 32)
        write_features(store, features, parents=store.parents(schema.tiling(slide_id, "256px")))
        made.append(slide_id)
    return made
