"""From patients to batches: bags read once and kept, tiles drawn without replacement, both modalities side by side.

Shapes: B patients of a batch, Bs of them with slides, Br with RNA, N most tiles of a bag, P tile features, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from mirror_data.store import Expression, Modality, Store, read_features, read_tiling
from torch import Tensor

from mirror_model.cohort import Bag, FeatureSet
from mirror_model.config import DataConfig
from mirror_model.draws import Draw, MeanDraw
from mirror_model.preparation import Preparation
from mirror_model.streams import NO_NOISE, Noise, NoiseSizes
from mirror_model.tasks import Targets

TokenOrder = Literal["raster", "hilbert", "none"]
_HILBERT_BITS = 16
_BATCH_TILES = 32_768  # tiles of a batch outside training, padding included


@dataclass(frozen=True)
class Batch:
    """Patients of one step. A patient who lacks a modality is in the other's rows only."""

    patient_ids: tuple[str, ...]  # B
    slide_of: Tensor  # (Bs,) place in the batch of each row of ``tiles``
    rna_of: Tensor  # (Br,) place in the batch of each row of ``expression``
    tiles: Tensor | None  # float32 (Bs, N, P); rows beyond a bag's own count are zero
    counts: Tensor | None  # (Bs,), always on the CPU
    expression: Tensor | None  # float32 (Br, G)
    paired_slide: Tensor  # rows of ``tiles`` of the patients with both, and
    paired_rna: Tensor  # the same patients' rows of ``expression``
    targets: Targets | None = None  # of all B, in supervised training
    noise: Noise = NO_NOISE

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        kinds = Tensor | Targets | Noise
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, kinds) and k != "counts"}
        return replace(self, **moved)


class Bags:
    """Tile features of slides, in token order. What fits the budget is read once; the rest is read at every use."""

    def __init__(self, store: Store, features: FeatureSet, order: TokenOrder, budget_bytes: float) -> None:
        self.store, self.features, self.order = store, features, order
        self.left = budget_bytes
        self.kept: dict[str, np.ndarray] = {}
        self.means: dict[tuple[Bag, ...], np.ndarray] = {}
        self.orders: dict[str, np.ndarray | None] = {}

    def read(self, bag: Bag) -> np.ndarray:
        """Features float16 (rows, P) of a slide, rows in token order."""
        values = self.kept.get(bag.slide_id)
        if values is not None:
            return values
        values = read_features(self.store, bag.slide_id, self.features.tiling, self.features.encoder).values
        rows = self.row_order(bag)
        if rows is not None:
            values = values[rows]
        if values.nbytes <= self.left:
            self.left -= values.nbytes
            self.kept[bag.slide_id] = values
        return values

    def mean(self, bags: tuple[Bag, ...]) -> np.ndarray:
        """Mean of all tiles of a patient's slides: float32 (P,). Read once, whatever the budget."""
        if bags not in self.means:
            total = sum(self.read(bag).astype(np.float64).sum(0) for bag in bags)
            self.means[bags] = np.asarray(total / sum(bag.rows for bag in bags), dtype=np.float32)
        return self.means[bags]

    def row_order(self, bag: Bag) -> np.ndarray | None:
        """Stored row of each row that `read` returns; None for the stored order."""
        if bag.slide_id not in self.orders:
            coords = read_tiling(self.store, bag.slide_id, self.features.tiling).coords
            self.orders[bag.slide_id] = None if coords is None else token_order(coords, self.order)
        return self.orders[bag.slide_id]


def token_order(coords: np.ndarray, order: TokenOrder) -> np.ndarray | None:
    """Rows of ``coords`` (N, 2) x, y in raster or Hilbert order; None where that is the order they have."""
    if order == "none":
        return None
    key = np.lexsort((coords[:, 0], coords[:, 1])) if order == "raster" else np.argsort(hilbert(coords), kind="stable")
    return None if bool((key == np.arange(len(key))).all()) else key


def hilbert(coords: np.ndarray) -> np.ndarray:
    """Distance of each point (N, 2) along a Hilbert curve through its slide: near on it is near on the glass."""
    spread = np.maximum(np.ptp(coords, axis=0).max(), 1)
    x, y = ((coords - coords.min(0)) * ((1 << _HILBERT_BITS) - 1) // spread).astype(np.int64).T
    distance = np.zeros(len(coords), dtype=np.int64)
    for bit in range(_HILBERT_BITS - 1, -1, -1):
        size = 1 << bit
        right, up = (x & size) > 0, (y & size) > 0
        distance += size * size * ((3 * right) ^ up)
        flip = ~up & right
        x, y = np.where(flip, size - 1 - (x & (size - 1)), x), np.where(flip, size - 1 - (y & (size - 1)), y)
        x, y = np.where(up, x, y), np.where(up, y, x)  # the curve turns in its lower quadrants
    return distance


class PatientData:
    """Patients of one part of a fold, ready to be cut into batches.

    Args:
        needs: modalities that a patient must have to be among them; either is enough where none is named.
    """

    def __init__(
        self,
        patient_ids: Sequence[str],
        bags: Bags,
        expression: Expression,
        preparation: Preparation,
        needs: tuple[Modality, ...] = (),
    ) -> None:
        held = bags.features.of(tuple(patient_ids))
        rows = {patient: k for k, patient in enumerate(expression.patient_ids)}
        there = {"slide": held.keys(), "rna": rows.keys()}
        enough = set.intersection(*(set(there[m]) for m in needs)) if needs else held.keys() | rows.keys()
        known = sorted(set(patient_ids) & enough)
        self.patient_ids = tuple(known)
        self.missing = len(set(patient_ids)) - len(known)  # patients who lack what is needed
        self.targets: Targets | None = None  # of every patient, set for supervised training
        self.bags, self.preparation = bags, preparation
        self.slides = [held.get(patient, ()) for patient in known]
        self.rna_row = np.array([rows.get(patient, -1) for patient in known], dtype=np.int64)
        with_rna = self.rna_row[self.rna_row >= 0]
        self.rna = torch.from_numpy(preparation.expression(_rows(expression, with_rna)))
        self.rna_row[self.rna_row >= 0] = np.arange(len(with_rna))
        self.paired = int(sum(bool(s) and r >= 0 for s, r in zip(self.slides, self.rna_row, strict=True)))

    def __len__(self) -> int:
        return len(self.patient_ids)

    def batch(
        self,
        members: np.ndarray,
        draw: Draw | MeanDraw,
        streams: Sequence[np.random.Generator] = (),
        noise: NoiseSizes | None = None,
    ) -> Batch:
        """The batch of the patients at places ``members`` (B,) of ``patient_ids``; ``draw`` takes their tiles.

        Args:
            streams: B, each patient's own, where ``draw`` or ``noise`` needs chance.
            noise: what the network wants drawn for each patient.
        """
        slide_of = [k for k, m in enumerate(members) if self.slides[m]]
        rna_of = [k for k, m in enumerate(members) if self.rna_row[m] >= 0]
        own = list(streams) or [None] * len(members)
        drawn = [self._tiles(self.slides[members[k]], draw, own[k]) for k in slide_of]
        slide_row, rna_row = ({k: row for row, k in enumerate(which)} for which in (slide_of, rna_of))
        both = [k for k in slide_of if k in rna_row]
        features, counts = self._stack(drawn) if drawn else (None, None)
        return Batch(
            tuple(self.patient_ids[m] for m in members),
            torch.tensor(slide_of, dtype=torch.long),
            torch.tensor(rna_of, dtype=torch.long),
            features,
            counts,
            self.rna[self.rna_row[members[rna_of]]] if rna_of else None,
            torch.tensor([slide_row[k] for k in both], dtype=torch.long),
            torch.tensor([rna_row[k] for k in both], dtype=torch.long),
            None if self.targets is None else self.targets.rows(members),
            NO_NOISE if noise is None else self._noise(members, noise, list(streams), slide_row, counts),
        )

    def _noise(
        self,
        members: np.ndarray,
        noise: NoiseSizes,
        streams: list[np.random.Generator],
        slide_row: dict[int, int],
        counts: Tensor | None,
    ) -> Noise:
        tiles = [0 if counts is None or k not in slide_row else int(counts[slide_row[k]]) for k in range(len(members))]
        return noise.draw(streams, tiles, [bool(self.rna_row[m] >= 0) for m in members])

    def _tiles(
        self, slides: tuple[Bag, ...], draw: Draw | MeanDraw, stream: np.random.Generator | None
    ) -> list[np.ndarray]:
        if isinstance(draw, MeanDraw):
            return [self.bags.mean(slides)[None]]
        return draw.take([self.bags.read(bag) for bag in slides], stream)

    def _stack(self, drawn: list[list[np.ndarray]]) -> tuple[Tensor, Tensor]:
        counts = [sum(map(len, bags)) for bags in drawn]
        stacked = np.zeros((len(drawn), max(counts), drawn[0][0].shape[1]), dtype=drawn[0][0].dtype)
        for row, bags in enumerate(drawn):
            start = 0
            for values in bags:
                stacked[row, start : start + len(values)] = values
                start += len(values)
        features = torch.from_numpy(stacked).float()
        fitted = self.preparation
        if fitted.tile_mean is not None and fitted.tile_scale is not None:
            features = (features - torch.from_numpy(fitted.tile_mean)) * torch.from_numpy(fitted.tile_scale)
        return features, torch.tensor(counts, dtype=torch.long)


def _rows(table: Expression, rows: np.ndarray) -> Expression:
    ids, samples = (tuple(names[r] for r in rows) for names in (table.patient_ids, table.sample_ids))
    return Expression(ids, samples, table.gene_ids, table.symbols, table.values[rows], table.unit, table.transform)


def epoch_batches(count: int, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All ``count`` patients in random order, in ceil(count / batch_size) batches whose sizes differ by one at most.

    A contrastive loss suffers from a small last batch; dropping it would waste patients.
    """
    return np.array_split(rng.permutation(count), max(1, -(-count // batch_size)))


def size_groups(data: PatientData, config: DataConfig, most: int) -> list[np.ndarray]:
    """All patients in batches of like bag size, at most ``most`` and `_BATCH_TILES` in each, so that little is padding.

    The sizes are those of whole bags, up to ``embed_tiles`` a slide; the mean bag's are 1.
    """
    cap = 0 if config.bag == "mean" else config.embed_tiles
    sizes = np.array([sum(min(bag.rows, cap) for bag in bags) for bags in data.slides])
    groups: list[list[int]] = [[]]
    for member in np.lexsort((np.arange(len(sizes)), sizes)):
        full = len(groups[-1]) == most or (len(groups[-1]) + 1) * sizes[member] > _BATCH_TILES
        if groups[-1] and full:
            groups.append([])
        groups[-1].append(int(member))
    return [np.array(group) for group in groups]


def tile_moments(bags: Bags, patients: dict[str, tuple[Bag, ...]], *, of_means: bool = False) -> np.ndarray:
    """Mean and sd of every tile feature over all tiles of the given patients, or their mean tiles: float64 (2, P)."""
    total, squares, count = np.zeros(bags.features.width), np.zeros(bags.features.width), 0
    for patient in sorted(patients):
        own = patients[patient]
        for part in [bags.mean(own)[None]] if of_means else map(bags.read, own):
            values = part.astype(np.float64)
            total, squares, count = total + values.sum(0), squares + (values**2).sum(0), count + len(values)
    mean = total / max(count, 1)
    return np.stack([mean, np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))])
