"""Attention of a slide as objects of QuPath's, for `mirror_data.exchange.qupath.write_features`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mirror_data.exchange.qupath import Feature, tile_features

from mirror_eval.attention import SlideAttention

MARK_CLASS, MARK_COLOUR = "Attention", (253, 231, 37)


def attention_features(shown: SlideAttention, top: int) -> Iterator[Feature]:
    """A tile object for each weighed tile, in raster order; then an annotation round each of the ``top`` tiles.

    Every object has the measurements ``attention`` (the weight; those of the tiles sum to 1), ``attention_rank`` (1 =
    most), ``attention_percentile`` (0 to 100) and ``attention_times_even_share`` (1 = average). QuPath colours tiles by
    any of them (Measure > Show measurement maps), lists annotations by name, and a double click goes to one.
    """
    yield from _tiles(shown, np.flatnonzero(shown.weighed))
    for mark, tile in enumerate(_tiles(shown, shown.order[:top]), start=1):
        name = f"{MARK_CLASS} {mark}"
        yield Feature(tile.polygon, "annotation", MARK_CLASS, MARK_COLOUR, name, tile.measurements)


def _tiles(shown: SlideAttention, tiles: np.ndarray) -> Iterator[Feature]:
    x, y = shown.slide.source.get("qupath_origin", (0, 0))
    measured = {
        "attention": shown.weights[tiles],
        "attention_rank": shown.rank[tiles],
        "attention_percentile": np.round(shown.percentile[tiles], 3),
        "attention_times_even_share": shown.relative[tiles],
    }
    return tile_features(shown.coords[tiles], shown.tile_px_level0, measured, (int(x), int(y)))
