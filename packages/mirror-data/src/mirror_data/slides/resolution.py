"""How many micrometres a level-0 pixel is wide, and who says so.

Tried in this order, the first believable value wins:

1. ``openslide.mpp``  the properties openslide.mpp-x and openslide.mpp-y
2. ``aperio``         the property aperio.MPP (a decimal comma is read as a point)
3. ``tiff``           tiff.XResolution and tiff.YResolution with tiff.ResolutionUnit
4. ``slides-table``   what the caller's table states for this slide
5. ``override``       what the caller states for all slides that have nothing better

Believable means finite, above 0.05 and below 20 um (no scanner is outside; 72 dpi, the resolution of a file that knows
none, is 353 um), and x within 5 % of y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mirror_data.errors import BadSlide
from mirror_data.units import MPP

LEAST_MPP = 0.05
MOST_MPP = 20.0
MAX_ANISOTROPY = 0.05
_MICRONS_PER_UNIT = {"inch": 25_400.0, "centimeter": 10_000.0}


@dataclass(frozen=True)
class Resolution:
    """Micrometres per level-0 pixel and its source, as named in the module's table."""

    mpp: MPP
    source: str


def resolve_mpp(
    properties: Mapping[str, str],
    *,
    stated: float | None = None,
    override: float | None = None,
    file: object = None,
) -> Resolution:
    """Resolution of a slide.

    Args:
        properties: the slide's properties, in OpenSlide's names.
        stated: the slides table's value for this slide.
        override: the value for slides without one.
        file: named in the error.

    Raises:
        BadSlide: ``NO_MPP``, listing what was found and refused.
    """
    refused: list[str] = []
    readers: list[tuple[str, Callable[[], tuple[float, float] | None]]] = [
        ("openslide.mpp", lambda: _pair(properties, "openslide.mpp-x", "openslide.mpp-y")),
        ("aperio", lambda: _pair(properties, "aperio.MPP", "aperio.MPP")),
        ("tiff", lambda: _from_tiff(properties)),
        ("slides-table", lambda: None if stated is None else (stated, stated)),
        ("override", lambda: None if override is None else (override, override)),
    ]
    for source, read in readers:
        found = read()
        if found is None:
            continue
        if is_plausible(*found):
            return Resolution(MPP(sum(found) / 2), source)
        refused.append(f"{source} {found[0]:g} x {found[1]:g}")
    raise BadSlide(
        "NO_MPP",
        "the slide does not say how wide its pixels are" if not refused else "the slide's pixel size is not believable",
        file=file,
        expected=f"x and y within {MAX_ANISOTROPY:.0%} of each other, between {LEAST_MPP} and {MOST_MPP:g} um",
        got="; ".join(refused) or "nothing",
        hint="state it: a column mpp in --slides-table, or --mpp-override",
    )


def is_plausible(x: float, y: float) -> bool:
    """Whether a scanner could have made pixels of ``x`` by ``y`` micrometres."""
    sides = (x, y)
    sound = all(math.isfinite(side) and LEAST_MPP < side < MOST_MPP for side in sides)
    return sound and max(sides) - min(sides) <= MAX_ANISOTROPY * min(sides)


def parse_number(text: str) -> float | None:
    """A number whose decimal sign is a point or a comma; NaN for text that is none, None for no text."""
    if not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return math.nan


def _pair(properties: Mapping[str, str], x: str, y: str) -> tuple[float, float] | None:
    sides = parse_number(properties.get(x, "")), parse_number(properties.get(y, ""))
    if sides[0] is None and sides[1] is None:
        return None
    return sides[0] if sides[0] is not None else math.nan, sides[1] if sides[1] is not None else math.nan


def _from_tiff(properties: Mapping[str, str]) -> tuple[float, float] | None:
    unit = _MICRONS_PER_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    found = _pair(properties, "tiff.XResolution", "tiff.YResolution")
    if unit is None or found is None:
        return None
    return unit / found[0] if found[0] else math.inf, unit / found[1] if found[1] else math.inf
