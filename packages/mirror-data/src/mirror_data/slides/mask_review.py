"""Which slides' tissue masks a person should look at, and why.

A slide stands out against its cohort by the share of it that is tissue: the robust z of the share's logit, 0.6745 times
its distance to the median over the median distance (Iglewicz & Hoaglin 1993, who give the limit 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirror_data.slides.committed import FOUND
from mirror_data.slides.quality import QualityCounts
from mirror_data.store import Slide, Tiling

MOST_Z = 3.5
LEAST_COHORT = 8  # slides with tissue; fewer make no cohort to stand out of
LEAST_SPREAD = 0.3  # of logits, in place of a smaller one: among slides of 0.5, 0.25 and 0.75 are outliers, 0.6 not
MOST_BORDER = 0.5  # share of the mask's border that is tissue
MOST_TRANSPARENT = 0.5  # share of the slide's overview
MOST_DROPPED = 0.5  # share of the tiles that were judged

# What may be wrong, the most urgent first, in the words of the page's filter.
CONCERNS = {
    "empty": "no tissue found",
    "no-tiles": "tissue, but no tile",
    "transparent": "mostly transparent",
    "outlier": "unusual share of tissue",
    "border": "tissue along the border",
    "dropped": "most tiles dropped",
}


@dataclass(frozen=True)
class SlideFacts:
    """Numbers of one slide; those of tiles are None where it has no tiling."""

    slide_id: str
    size: tuple[int, int] | None  # width, height in level-0 pixels
    mpp: float | None
    mpp_source: str | None
    reader: str | None
    mask_mpp: float
    tissue_share: float  # of the mask's pixels
    tissue_mm2: float
    border_share: float  # of the pixels along the mask's border, how many are tissue
    transparent_share: float | None  # of the overview
    tiles: int | None
    candidates: int | None  # tiles that fit on the slide, with tissue or without
    dropped: QualityCounts | None  # of the tiles with enough tissue; None: they were not judged


@dataclass(frozen=True)
class Concern:
    """One reason to look at a slide."""

    kind: str  # a key of CONCERNS
    words: str


@dataclass(frozen=True)
class Reviewed:
    """A slide and the reasons to look at it, none for most."""

    facts: SlideFacts
    z: float | None  # of its share of tissue in the cohort; None without tissue or without a cohort
    concerns: tuple[Concern, ...]


def slide_facts(slide: Slide, mask: np.ndarray, mask_mpp: float, tiling: Tiling | None) -> SlideFacts:
    """The numbers of a slide.

    Args:
        mask: uint8 (h, w), 1 = tissue; with its micrometres per pixel.
        tiling: None if it has none.
    """
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    found = {} if tiling is None else tiling.parameters.get(FOUND, {})
    dropped = found.get("dropped")
    return SlideFacts(
        slide_id=slide.slide_id,
        size=slide.size,
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        reader=slide.reader,
        mask_mpp=mask_mpp,
        tissue_share=float(mask.mean()),
        tissue_mm2=float(mask.sum(dtype=np.int64)) * mask_mpp**2 / 1e6,
        border_share=float(border.mean()),
        transparent_share=slide.tissue_parameters.get(FOUND, {}).get("transparent_share"),
        tiles=None if tiling is None else tiling.rows,
        candidates=found.get("candidates"),
        dropped=None if tiling is None or dropped is None else QualityCounts(kept=tiling.rows, **dropped),
    )


def review(slides: Sequence[SlideFacts]) -> list[Reviewed]:
    """Judge each slide by itself and against the others: first those to look at, the most urgent first, then the rest
    by id."""
    reviewed = [
        Reviewed(facts, z, tuple(_concerns(facts, z))) for facts, z in zip(slides, robust_z(slides), strict=True)
    ]
    order = list(CONCERNS)

    def urgency(one: Reviewed) -> tuple[int, float, str]:
        if not one.concerns:
            return len(order), 0.0, one.facts.slide_id
        first = one.concerns[0].kind
        return order.index(first), -abs(one.z or 0) if first == "outlier" else 0.0, one.facts.slide_id

    return sorted(reviewed, key=urgency)


def robust_z(slides: Sequence[SlideFacts]) -> list[float | None]:
    """Robust z of the logit of each slide's share of tissue, among the slides that have any.

    Returns:
        None for a slide without tissue, and for all where fewer than 8 have tissue.
    """
    shares = np.array([facts.tissue_share for facts in slides])
    some = shares > 0
    if some.sum() < LEAST_COHORT:
        return [None] * len(slides)
    inside = np.clip(shares[some], 1e-4, 1 - 1e-4)
    logits = np.log(inside / (1 - inside))
    distances = logits - np.median(logits)
    spread = max(float(np.median(np.abs(distances))) / 0.6745, LEAST_SPREAD)
    values = iter((distances / spread).tolist())
    return [next(values) if has else None for has in some.tolist()]


def _concerns(facts: SlideFacts, z: float | None) -> list[Concern]:
    """In the order of CONCERNS."""
    found: list[Concern] = []
    if facts.tissue_share == 0:
        found.append(Concern("empty", "No tissue was found: blank, very pale, or not the slide it should be."))
    elif facts.tiles == 0:
        found.append(
            Concern("no-tiles", f"{facts.tissue_mm2:.1f} mm² of tissue, but not one tile{_all_dropped(facts)}.")
        )
    if facts.transparent_share is not None and facts.transparent_share > MOST_TRANSPARENT:
        words = f"{percent(facts.transparent_share)} of the slide is transparent: part of it may be missing."
        found.append(Concern("transparent", words))
    if z is not None and abs(z) > MOST_Z:
        kind = "little" if z < 0 else "much"
        words = f"{percent(facts.tissue_share)} of it is tissue, unusually {kind} for this cohort (robust z {z:+.1f})."
        found.append(Concern("outlier", words))
    if facts.border_share > MOST_BORDER:
        words = f"{percent(facts.border_share)} of the border counts as tissue: glass may have been taken for tissue."
        found.append(Concern("border", words))
    if facts.dropped is not None and facts.tiles:
        lost = sum(facts.dropped.dropped().values())
        if lost > MOST_DROPPED * (lost + facts.tiles):
            share = percent(lost / (lost + facts.tiles))
            found.append(Concern("dropped", f"{share} of the tiles were dropped: {dropped_words(facts.dropped)}."))
    return found


def _all_dropped(facts: SlideFacts) -> str:
    words = "" if facts.dropped is None else dropped_words(facts.dropped)
    return f" was kept; dropped: {words}" if words else " holds enough of it"


def dropped_words(counts: QualityCounts) -> str:
    """``40 blurred, 3 pen``, the most frequent first; nothing for none."""
    ordered = sorted(counts.dropped().items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered if count)


def percent(share: float) -> str:
    """A share to two digits: ``45 %``, ``0.42 %``."""
    if share <= 0 or share >= 0.0995:
        return f"{share * 100:.0f} %"
    digits = min(6, 1 - math.floor(math.log10(share * 100)))
    return f"{share * 100:.{digits}f} %"
