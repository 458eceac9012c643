"""What is done to a slide's tiles between reading and encoding, fitted to the slide where it has to be."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mirror_data.slides.committed import FOUND
from mirror_data.slides.grid import GridParameters, lay_grid, read_tile
from mirror_data.slides.options import Stain, TileOptions
from mirror_data.slides.quality import judge_tiles
from mirror_data.slides.reader import SlideReader
from mirror_data.slides.stain import (
    MACENKO_REFERENCE,
    REINHARD_REFERENCE,
    MacenkoStains,
    ReinhardColours,
    colour_map,
    fit_stain,
)
from mirror_data.slides.stream import Treatment
from mirror_data.store import Slide, Tiling

SAMPLE_SQUARES = 64  # that stains are fitted to
SAMPLE_PX = 256  # width of one
SAMPLE_EVERY = 4  # every fourth pixel of every fourth row: 262,144 pixels in all
StainFit = MacenkoStains | ReinhardColours
_REFERENCES: dict[str, StainFit] = {"macenko": MACENKO_REFERENCE, "reinhard": REINHARD_REFERENCE}


def fit_slide(reader: SlideReader, slide: Slide, tiling: Tiling, options: TileOptions) -> StainFit | None:
    """The stains of a slide, None if none are to be normalised or there is nothing to.

    Squares spread evenly over all the tissue are read for it, so that every tiling of a slide gets the same fit.

    Raises:
        BadSlide: ``STAIN_NOT_FOUND``, ``CORRUPT``.
    """
    if options.stain == "none" or not tiling.rows or slide.tissue is None or slide.tissue_mpp is None:
        return None
    grid = lay_grid(reader, slide.tissue, slide.tissue_mpp, GridParameters(SAMPLE_PX, options.grid.mpp, border="pad"))
    count = len(grid.coords)
    chosen = np.linspace(0, count - 1, min(count, SAMPLE_SQUARES)).round().astype(int)
    read = partial(read_tile, reader, level=grid.read_level, tile_px_level0=grid.tile_px_level0, tile_px=SAMPLE_PX)
    squares = [read(x, y)[::SAMPLE_EVERY, ::SAMPLE_EVERY] for x, y in grid.coords[chosen].tolist()]
    return fit_stain(options.stain, np.stack(squares) if squares else np.zeros((0, 3), np.uint8))


def treatment_of(options: TileOptions, stain: StainFit | None, *, judge: bool) -> Treatment:
    """Judge and normaliser for the tiles of a slide.

    Args:
        stain: what was fitted to the slide; None leaves colours as they are.
        judge: whether the tiling's tiles have still to be judged.
    """
    judging = None
    if judge and options.quality is not None:
        judging = partial(judge_tiles, mpp=options.grid.mpp, parameters=options.quality)
    return Treatment(judging, None if stain is None else colour_map(stain))


def stain_record(method: Stain, fitted: StainFit | None = None) -> Mapping[str, Any]:
    """What the features' record says of normalisation: nothing where there is none."""
    if method == "none":
        return {}
    found = {} if fitted is None else {FOUND: fitted.record()}
    return {"stain": {"method": method, "reference": _REFERENCES[method].record(), **found}}
