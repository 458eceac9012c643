"""Units as types, so that a pixel count is never mistaken for a length.

``Microns``      a length on the glass, micrometres
``MPP``          micrometres per pixel
``SlidePixels``  a count of level-0 pixels of a slide
``TilePixels``   a count of pixels of a tile as the encoder sees it
``Days``         a time, days since diagnosis
"""

from __future__ import annotations

from typing import NewType

Microns = NewType("Microns", float)
MPP = NewType("MPP", float)
SlidePixels = NewType("SlidePixels", int)
TilePixels = NewType("TilePixels", int)
Days = NewType("Days", float)

DAYS_PER_MONTH = 365.25 / 12


def slide_pixels(tile: TilePixels, mpp: MPP, slide_mpp: MPP) -> float:
    """Width in level-0 pixels of ``tile`` pixels at ``mpp`` (not rounded)."""
    return tile * mpp / slide_mpp
