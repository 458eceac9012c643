"""Where a run looked on a slide: the weight of each tile, with its place, as the store has them.

Shapes: N tiles of a slide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mirror_data.errors import BadInput, BadSlide, StoreError, some
from mirror_data.store import Run, Slide, Store, Tiling, read_attention, read_run, read_slide, read_tiling, schema
from scipy import stats

from mirror_eval.run_data import committed_folds

OUTSIDE = "outside"  # of the split: the network was neither fitted nor tested on this patient
PART_NAMES = {  # by preference: where no fold tests a patient, one that never saw them
    "test": "test patient",
    OUTSIDE: "patient outside the split",
    "validation": "validation patient",
    "train": "training patient",
}
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class AttentionRun:
    """The committed folds of a run, and the part of each of them that a patient stands in."""

    name: str
    folds: Mapping[int, Run]
    parts: Mapping[int, Mapping[str, str]]

    def part(self, fold: int, patient_id: str) -> str:
        """ "train", "validation", "test" or "outside"."""
        return self.parts[fold].get(patient_id, OUTSIDE)


@dataclass(frozen=True)
class SlideAttention:
    """Attention of one fold of a run over one slide.

    ``weights`` float64 (N,), at least 0, sums to 1, rows as the tiling's. ``weighed`` bool (N,): False for tiles that
    the network was not shown, because the slide has more of them than ``data.embed_tiles``.
    """

    slide: Slide
    tiling: Tiling
    run: str
    fold: int
    part: str  # of the slide's patient in this fold
    weights: np.ndarray
    weighed: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """Indices of the weighed tiles, most attention first; equal ones as they lie."""
        order = np.argsort(-self.weights, kind="stable")
        return order[self.weighed[order]]

    @cached_property
    def rank(self) -> np.ndarray:
        """int (N,): 1 for the tile with most attention; 0 for those that were not weighed."""
        rank = np.zeros(len(self.weights), dtype=int)
        rank[self.order] = np.arange(1, len(self.order) + 1)
        return rank

    @cached_property
    def percentile(self) -> np.ndarray:
        """As `percentiles`."""
        return percentiles(self.weights, self.weighed)

    @cached_property
    def relative(self) -> np.ndarray:
        """float64 (N,): weight over an even share, 1 is average."""
        return self.weights * self.weighed.sum()

    @cached_property
    def half_share(self) -> float:
        """The least share of the weighed tiles that hold half of the attention: 0.5 if all weigh the same."""
        sums = np.cumsum(self.weights[self.order])
        return float(np.searchsorted(sums, 0.5 * sums[-1] * (1 - 1e-9)) + 1) / len(sums)

    @property
    def tile_um(self) -> float | None:
        """Width of a tile in micrometres."""
        if self.tiling.tile_px and self.tiling.mpp:
            return self.tiling.tile_px * self.tiling.mpp
        return self.tile_px_level0 * self.slide.mpp if self.slide.mpp else None

    @property
    def um_per_px(self) -> float | None:
        """Micrometres per level-0 pixel."""
        return self.slide.mpp or (self.tile_um / self.tile_px_level0 if self.tile_um else None)

    @property
    def coords(self) -> np.ndarray:
        """int32 (N, 2): x and y of each tile's top left in level-0 pixels."""
        assert self.tiling.coords is not None  # `slide_attention` refuses others
        return self.tiling.coords

    @property
    def tile_px_level0(self) -> float:
        """Width of a tile in level-0 pixels."""
        assert self.tiling.tile_px_level0 is not None
        return self.tiling.tile_px_level0

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height in level-0 pixels: of the slide, or of what the tiles cover where its size is unknown."""
        if self.slide.size is not None:
            return self.slide.size
        width, height = np.ceil(self.coords.max(axis=0) + self.tile_px_level0).astype(int)
        return int(width), int(height)


def percentiles(weights: np.ndarray, weighed: np.ndarray) -> np.ndarray:
    """Where each tile stands among those of its slide.

    Args:
        weights: (N,). weighed: bool (N,), which tiles count.

    Returns:
        float64 (N,), 0 to 100: how many percent of the tiles have less attention, half of its equals and itself
        counted; NaN for tiles that do not count.
    """
    found = np.full(len(weights), np.nan)
    found[weighed] = 100 * (stats.rankdata(weights[weighed]) - 0.5) / max(int(weighed.sum()), 1)
    return found


def attention_run(store: Store, run: str) -> AttentionRun:
    """The folds of a run.

    Raises:
        StoreError: ``MISSING`` if the store has no such run, ``MISMATCH``.
    """
    numbers, folds = committed_folds(store, run)
    parts = {number: folds[number].part_of() for number in numbers}
    return AttentionRun(run, {number: read_run(store, run, number) for number in numbers}, parts)


def slides_with_attention(store: Store, run: AttentionRun) -> list[str]:
    """Ids of the slides whose tiles any fold weighed, sorted.

    Raises:
        StoreError: ``MISSING`` if there is none.
    """
    places = [f"{schema.run(run.name, fold)}/attention" for fold in run.folds]
    found = {
        str(store.document(f"{place}/{key}").attributes["slide_id"]) for place in places for key in store.keys(place)
    }
    if not found:
        raise _no_attention(run.name, f"runs/{run.name}", "the run holds no attention")
    return sorted(found)


def slide_attention(store: Store, run: AttentionRun, slide_id: str, fold: int | None = None) -> SlideAttention:
    """What one fold made of one slide.

    Args:
        fold: None for the one that tests the slide's patient; where none does, or it weighed no tiles, one whose
            network never saw the patient, then one that only validated on them, then any. ``part`` says which.

    Raises:
        StoreError: ``MISSING`` without slide or attention, ``MISMATCH`` if weights and tiles do not belong together.
        BadSlide: ``NO_COORDS`` if the store does not know where the tiles lie, ``NO_TILES`` if there are none.
        BadInput: ``BAD_OPTION`` if the run has no such fold.
    """
    if not store.has(schema.slide(slide_id)):
        raise StoreError(
            "MISSING", "the store has no such slide", key=slide_id, hint="mirror-data info shows its slides"
        )
    slide = read_slide(store, slide_id)
    chosen = _choose_fold(store, run, slide, fold)
    path = schema.attention(run.name, chosen, slide.slide_id)
    attention = read_attention(store, run.name, chosen, slide.slide_id)
    tiling = read_tiling(store, slide.slide_id, attention.tiling)
    _check(slide, tiling, attention.weights, path)
    weights = attention.weights.astype(np.float64)
    cap = run.folds[chosen].config.get("data", {}).get("embed_tiles")
    weighed = weights > 0 if cap and tiling.rows > cap else np.ones(tiling.rows, dtype=bool)
    return SlideAttention(slide, tiling, run.name, chosen, run.part(chosen, slide.patient_id), weights, weighed)


def _choose_fold(store: Store, run: AttentionRun, slide: Slide, fold: int | None) -> int:
    if fold is not None and fold not in run.folds:
        expected = some(sorted(run.folds), 12)
        raise BadInput("BAD_OPTION", "the run has no such fold", key="--fold", expected=expected, got=fold)
    asked = sorted(run.folds) if fold is None else [fold]
    having = [number for number in asked if store.has(schema.attention(run.name, number, slide.slide_id))]
    if not having:
        key = schema.run(run.name, asked[0]) if fold is not None else f"runs/{run.name}"
        raise _no_attention(run.name, key, "the run did not weigh the tiles of this slide")
    return min(having, key=lambda number: (list(PART_NAMES).index(run.part(number, slide.patient_id)), number))


def _no_attention(run: str, key: str, message: str) -> StoreError:
    hint = f"run mirror-model embed --attention --run {run}; not every method weighs tiles"
    return StoreError("MISSING", message, key=key, hint=hint)


def _check(slide: Slide, tiling: Tiling, weights: np.ndarray, path: str) -> None:
    if len(weights) != tiling.rows:
        expected, got = f"{tiling.rows} tiles", f"{len(weights)} weights"
        hint = "the slide was tiled again: embed it again with --attention"
        raise StoreError("MISMATCH", "weights and tiles do not match", key=path, expected=expected, got=got, hint=hint)
    if not tiling.rows:
        raise BadSlide("NO_TILES", "the slide has no tiles, so nothing was looked at", key=slide.slide_id)
    if tiling.coords is None or not tiling.tile_px_level0:
        hint = "tile the slide with mirror-data tile, or import tiles with their coordinates"
        raise BadSlide(
            "NO_COORDS", "the store does not know where this slide's tiles lie", key=slide.slide_id, hint=hint
        )
    if weights.min() < 0 or abs(float(weights.sum(dtype=np.float64)) - 1) > _SUM_TOLERANCE:
        expected, got = "at least 0, summing to 1", f"sum {weights.sum(dtype=np.float64):.6g}"
        raise StoreError("MISMATCH", "these weights are no attention", key=path, expected=expected, got=got)
