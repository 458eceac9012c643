"""A small store with tile weights, for the tests of heatmaps: no torch, no slide files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mirror_data.store import (
    Attention,
    Fold,
    Run,
    Slide,
    Split,
    Store,
    Tiling,
    create_store,
    schema,
    write_attention,
    write_run,
    write_slide,
    write_split,
    write_tiling,
)
from mirror_eval.attention import SlideAttention

SIZE = (2560, 1920)  # level-0 pixels, 0.5 um each
GRID = np.array([(x * 320, 320 + y * 256) for y in range(3) for x in range(4)], dtype=np.int32)  # 12 tiles with gaps
WEIGHTS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 40, 10, 11, 3], dtype=np.float32) / 100  # two equal; tile 8 has most
TOP = (8, 10, 9, 7, 6, 5)
FOLDS = (Fold(("b",), ("c",), ("a",)), Fold(("a",), ("b",), ("c",)))
PALE = 240  # grey level of the thumbnails


def make_store(place: Path) -> Store:
    """Run ``r`` of two folds. Slides, by patient: A (a), B (b: no test part), C (c: no thumbnail), D (d: outside the
    split), E (a: tiles without places), F (a: no attention); ``../../x`` (a)."""
    store = create_store(place)
    write_split(store, Split("s", FOLDS, {}, 0))
    for fold in (0, 1):
        write_run(store, Run("r", fold, "mirror", "s", {"data": {"embed_tiles": 100}}, "0" * 64), parents={})
        write_run(store, Run("bare", fold, "linear", "s", {}, "0" * 64), parents={})
    for name in ("A", "B", "C", "D", "E", "F", "../../x"):
        patient = name.lower() if name in "ABCD" else "a"
        picture = None if name == "C" else np.full((120, 160, 3), PALE, np.uint8)
        write_slide(store, Slide(name, patient, SIZE, 0.5, "aperio", "test", {}, None, None, {}, picture))
        coords = None if name == "E" else GRID
        write_tiling(store, Tiling(name, "t", len(GRID), coords, 256, 0.5, None if name == "E" else 256.0))
        for fold in (0, 1) if name != "F" else ():
            add_attention(store, name, fold, WEIGHTS if fold == 0 else WEIGHTS[::-1].copy())
    return store


def add_attention(store: Store, slide_id: str, fold: int, weights: np.ndarray, run: str = "r") -> None:
    parents = store.parents(schema.run(run, fold))
    write_attention(store, Attention(run, fold, slide_id, "t", weights), parents=parents, overwrite=True)


def attention_of(
    weights: np.ndarray, slide: Slide, coords: np.ndarray, tile_px_level0: float, weighed: np.ndarray | None = None
) -> SlideAttention:
    """Attention that no store holds."""
    tiling = Tiling(slide.slide_id, "t", len(coords), coords, 256, 0.5, tile_px_level0)
    weighed = np.ones(len(coords), dtype=bool) if weighed is None else weighed
    return SlideAttention(slide, tiling, "r", 0, "test", weights.astype(float), weighed)
