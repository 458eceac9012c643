"""Whom was the scaler of the tiles fitted on? To know it every tile has to be read again, so only when asked.

Shapes: N tiles of a patient, P tile features.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from mirror_data.progress import progress
from mirror_data.store import read_features

from mirror_eval.leakage.checkpoint import Checkpoint
from mirror_eval.leakage.cohort import Cohort
from mirror_eval.leakage.fitted import AGAIN, CHECKPOINTS, CLOSE, data_settings, judged, wider_sets
from mirror_eval.leakage.parts import FoldParts
from mirror_eval.leakage.records import Finding, Where
from mirror_eval.leakage.runs import TrainedFold

_SD_FLOOR = 1e-6  # as mirror-model has it


@dataclass(frozen=True)
class PatientSums:
    """What a mean and sd over tiles are made of, a patient at a time."""

    total: np.ndarray  # float64 (P,)
    squares: np.ndarray  # float64 (P,)
    count: int


Sums = dict[tuple[str, str, bool], dict[str, PatientSums]]  # tiling, encoder, of mean tiles -> patient -> sums


def tile_finding(cohort: Cohort, fold: TrainedFold, *, deep: bool, kept: Sums) -> Finding:
    """The scaler of the tiles.

    Args:
        deep: read every tile; otherwise the check is not made, and says so.
        kept: sums of what was read already, filled here.
    """
    data, where = data_settings(fold), fold.where
    if "standardise_tiles" not in data:
        return Finding("tiles", "not recorded", "the run does not say whether tiles were standardised", where)
    if not data["standardise_tiles"]:
        return Finding("tiles", "ok", "tiles are not standardised: nothing was fitted", where)
    if fold.checkpoint is None or fold.parts is None or fold.no_checkpoint:
        return Finding("tiles", "not checked", fold.no_checkpoint, where, CHECKPOINTS)
    if not deep:
        return Finding("tiles", "not checked", "every tile would have to be read again", where, "--deep reads them")
    if cohort.replaced({path: known for path, known in fold.parents.items() if path.startswith("slides/")}):
        return Finding("tiles", "not checked", "the features were replaced since training", where, AGAIN)
    if "tile_mean" not in fold.checkpoint.fitted:
        return Finding("tiles", "not recorded", "the checkpoint holds no scaler of the tiles", where, AGAIN)
    key = (str(fold.run.config["tiling"]), str(fold.run.config["encoder"]), data.get("bag") == "mean")
    if key not in kept:
        kept[key] = _read_sums(cohort, *key)
    return _judged(fold.parts, fold.checkpoint, kept[key], where)


def _judged(parts: FoldParts, checkpoint: Checkpoint, sums: dict[str, PatientSums], where: Where) -> Finding:
    was_mean, was_scale = checkpoint.fitted["tile_mean"], checkpoint.fitted["tile_scale"]

    def fits(patients: frozenset[str]) -> bool:
        own = [sums[patient] for patient in sorted(patients & sums.keys())]
        count = sum(one.count for one in own)
        if not count or own[0].total.shape != was_mean.shape:
            return False
        mean = np.sum([one.total for one in own], axis=0) / count
        sd = np.sqrt(np.maximum(np.sum([one.squares for one in own], axis=0) / count - mean**2, 0))
        sd = np.maximum(sd, _SD_FLOOR)
        near = np.abs(was_mean - mean) <= CLOSE * sd + 1e-6 * np.abs(mean)
        return bool(near.all() and (np.abs(was_scale * sd - 1) <= 10 * CLOSE).all())

    wider = wider_sets(parts, frozenset(sums))
    return judged("tiles", "the scaler of the tiles", fits, (parts.train,), wider, where)


def _read_sums(cohort: Cohort, tiling: str, encoder: str, of_means: bool) -> dict[str, PatientSums]:
    """Sums of every patient's tiles, or of the patient's mean tile."""
    held: dict[str, list[str]] = defaultdict(list)
    for slide in cohort.slides:
        if any((bag.tiling, bag.encoder) == (tiling, encoder) and bag.rows for bag in slide.bags):
            held[slide.patient_id].append(slide.slide_id)
    found = {}
    with progress("audit", len(held), "patients' tiles") as told:
        for patient, slides in held.items():
            bags = (read_features(cohort.store, slide, tiling, encoder).values.astype(float) for slide in slides)
            parts = [(bag.sum(0), (bag**2).sum(0), len(bag)) for bag in bags]
            total, squares, count = (sum(column) for column in zip(*parts, strict=True))
            if of_means:
                mean = np.asarray(total / count, dtype=np.float32).astype(float)
                total, squares, count = mean, mean**2, 1
            found[patient] = PatientSums(np.asarray(total), np.asarray(squares), int(count))
            told.advance()
    return found
