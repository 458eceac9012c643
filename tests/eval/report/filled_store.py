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
NO_RNA, NO_SLIDE = 5, 6  # who lacks what, by place


def patient_ids(count: int) -> list[str]:
    return sorted([EVIL_ID, *(f"P{k:02d}" for k in range(1, count))])


def fill(
    store: Store, *, patients: int = 36, subtypes: int = 2, with_survival: bool = True, with_slides: bool = False
) -> Store:
    """Patients, expression, split, genes and a run whose embeddings know subtype and outlook; slides if asked for."""
    slides = add_slides(store, patients) if with_slides else []
    rng = np.random.default_rng(7)
    kind = np.arange(patients) % max(subtypes, 1)
    outlook = rng.normal(size=patients)
    _fill_patients(store, rng, kind, outlook, with_survival)
    genes, kept_ids = _fill_expression(store, rng, kind)
    for k, fold in enumerate(_fill_split(store, rng, patients)):
        _fill_genes(store, k, genes, tuple(p for p in fold.train if p in kept_ids))
        _fill_run(store, k, np.column_stack([kind, outlook]), bool(slides))
        for slide_id in slides:
            weights = rng.gamma(1.0, size=TILES).astype(np.float32)
            attention = Attention(RUN, k, slide_id, "256px", weights / weights.sum())
            write_attention(store, attention, parents=store.parents(schema.run(RUN, k)))
    return store


def _fill_patients(
    store: Store, rng: np.random.Generator, kind: np.ndarray, outlook: np.ndarray, with_survival: bool
) -> None:
    count = len(kind)
    time = np.ceil(900 * np.exp(-0.8 * outlook - 0.5 * kind + 0.3 * rng.normal(size=count))) + 1
    event = (rng.random(count) < 0.7).astype(float)
    index = pd.Index(patient_ids(count), name="patient_id")
    table = pd.DataFrame({"subtype": [f"type {k}" for k in kind]}, index=index)
    if with_survival:
        table["time_days"], table["event"] = time, event
        table.iloc[3, [1, 2]] = np.nan
    write_patients(store, Patients(table, {"rows": count, "dropped": {"no id": 2}}))


def _fill_expression(
    store: Store, rng: np.random.Generator, kind: np.ndarray
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the genes, and the patients who have expression: all but one."""
    genes = tuple(f"GENE{k:03d}" for k in range(60))
    values = rng.normal(size=(len(kind), 60)).astype(np.float32)
    values[:, :8] += 2 * kind[:, None]
    ids = patient_ids(len(kind))
    has_rna = [k for k in range(len(kind)) if k != NO_RNA]
    kept_ids = tuple(ids[k] for k in has_rna)
    symbols = ("=cmd()", "<b>X</b>", *genes[2:])
    write_expression(store, Expression(kept_ids, kept_ids, genes, symbols, values[has_rna], "log2(tpm+0.001)"))
    return genes, kept_ids


def _fill_split(store: Store, rng: np.random.Generator, patients: int) -> list[Fold]:
    ids, order = patient_ids(patients), rng.permutation(patients)
    folds = []
    for k in range(FOLDS):
        test = set(order[k::FOLDS])
        rest = [p for p in order if p not in test]
        parts = (rest[4:], rest[:4], test)
        folds.append(Fold(*(tuple(sorted(ids[p] for p in part)) for part in parts)))
    write_split(store, Split("main", tuple(folds), {"method": "stratified"}, 0), parents={})
    return folds


def _fill_genes(store: Store, k: int, genes: tuple[str, ...], fitted_on: tuple[str, ...]) -> None:
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
        fitted_on=fitted_on,
        parameters={"step": 1},
    )
    write_genes(store, selection, parents=store.parents(schema.PATIENTS, schema.RNA, schema.split("main")))


def _fill_run(store: Store, k: int, seen: np.ndarray, with_slides: bool) -> None:
    """Embeddings that hold what is ``seen`` (n, 2), subtype and outlook, and noise."""
    sources = store.parents(schema.PATIENTS, schema.RNA, schema.split("main"), schema.genes("kept", k))
    if with_slides:
        sources |= store.parents(schema.all_features("256px", "toy"))
    config = {"epochs": 3, "batch_size": 8, "seed": 0, "optimiser": {"lr": 1e-3, "name": "adam"}, "model": {"dim": 8}}
    run = Run(RUN, k, "mirror", "main", config, "ab" * 32, {"loss": 1.5}, {"torch": "2"})
    write_run(store, run, parents=sources)
    ids = patient_ids(len(seen))
    for modality, mixing, absent in (("slide", 0, NO_SLIDE), ("rna", 1, NO_RNA)):
        noise = np.random.default_rng([k, mixing]).normal(size=(len(seen), 8))
        embedded = noise * 0.5
        embedded[:, :2] += seen * (2.0, 1.0)
        embedded[:, 2 + mixing] += seen[:, 1]
        rows = [p for p in range(len(seen)) if p != absent]
        array = embedded[rows].astype(np.float32)
        record = Embeddings(RUN, k, modality, tuple(ids[p] for p in rows), array)
        write_embeddings(store, record, parents=store.parents(schema.run(RUN, k)))
        aligned = replace(record, values=array[:, :2] + 0.1 * array[:, 2:4], aligned=True)
        write_embeddings(store, aligned, parents=store.parents(schema.run(RUN, k)))


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
