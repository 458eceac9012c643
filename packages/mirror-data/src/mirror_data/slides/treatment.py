"""What is done to a slide's tiles between reading and encoding, fitted to the slide where it has to be."""

from __future__ import annotations

from functools import partial

from mirror_data.slides.quality import QualityParameters, judge_tiles
from mirror_data.slides.stream import Treatment


def treatment_of(mpp: float, quality: QualityParameters | None) -> Treatment:
    """Judge and normaliser for the tiles of a slide.

    Args:
        mpp: micrometres per pixel of the tiles.
        quality: None if no tile is to be judged.
    """
    return Treatment(judge=None if quality is None else partial(judge_tiles, mpp=mpp, parameters=quality))
