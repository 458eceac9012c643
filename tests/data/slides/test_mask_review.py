"""Which slides come first on the contact sheet, and in what words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mirror_data.slides.mask_review import (
    CONCERNS,
    SlideFacts,
    dropped_words,
    percent,
    review,
    robust_z,
    slide_facts,
)
from mirror_data.slides.quality import QualityCounts
from mirror_data.store import Slide, Tiling

SOUND = SlideFacts(
    "S", (1000, 800), 0.5, "aperio", "openslide 4.0.1", 8.0, 0.4, 12.0, 0.0, 0.0, tiles=50, candidates=90, dropped=None
)


def cohort(*shares: float) -> list[SlideFacts]:
    return [replace(SOUND, slide_id=f"S{k:02d}", tissue_share=share) for k, share in enumerate(shares)]


def kinds(slides: list[SlideFacts]) -> list[tuple[str, list[str]]]:
    return [(one.facts.slide_id, [concern.kind for concern in one.concerns]) for one in review(slides)]


def test_facts_of_a_slide():
    mask = np.zeros((10, 20), np.uint8)
    mask[0, :10] = mask[1:3, 3:5] = 1  # 14 pixels; 10 of the 56 along the border
    found = {"candidates": 40, "judged": 9, "dropped": {"empty": 1, "pen": 0, "blurred": 2}}
    tiling = Tiling("S", "t", 6, np.zeros((6, 2), np.int32), parameters={"found": found})
    slide = Slide("S", "P", (320, 160), 0.5, "aperio", "r", tissue_parameters={"found": {"transparent_share": 0.25}})
    facts = slide_facts(slide, mask, 8.0, tiling)
    assert facts.tissue_share == pytest.approx(14 / 200)
    assert facts.tissue_mm2 == pytest.approx(14 * 64e-6)
    assert facts.border_share == pytest.approx(10 / 56)
    assert (facts.tiles, facts.candidates, facts.transparent_share) == (6, 40, 0.25)
    assert facts.dropped == QualityCounts(kept=6, empty=1, pen=0, blurred=2)
    bare = slide_facts(Slide("S", "P"), mask, 8.0, None)
    assert (bare.tiles, bare.candidates, bare.dropped, bare.transparent_share, bare.size) == (None,) * 5


def test_robust_z_by_hand():
    shares = (0.5, 0.5, 0.5, 0.6, 0.4, 0.7, 0.3, 0.2, 0.9)
    logits = np.log(np.array(shares) / (1 - np.array(shares)))
    spread = np.median(np.abs(logits)) / 0.6745  # the median logit is 0
    found = robust_z(cohort(*shares, 0.0))
    assert found[-1] is None
    np.testing.assert_allclose(np.array(found[:-1], float), logits / spread)


def test_a_small_cohort_has_no_outliers():
    assert robust_z(cohort(*[0.5] * 6, 0.001, 0.0)) == [None] * 8
    assert kinds(cohort(*[0.5] * 6, 0.001))[0] == ("S00", [])


def test_outliers_come_first_the_farthest_before_the_others():
    assert kinds(cohort(0.45, 0.5, 0.55, 0.5, 0.02, 0.5, 0.48, 0.52, 0.995))[:3] == [
        ("S08", ["outlier"]),
        ("S04", ["outlier"]),
        ("S00", []),
    ]
    words = review(cohort(*[0.5] * 9, 0.0042))[0].concerns[0].words
    assert words.startswith("0.42 % of it is tissue, unusually little for this cohort (robust z -")


def test_slides_nearly_alike_have_no_outliers():
    assert not any(one.concerns for one in review(cohort(*[0.5] * 20, 0.6)))


def test_every_concern_in_order_of_urgency():
    slides = [
        replace(SOUND, slide_id="fine"),
        replace(SOUND, slide_id="judged", dropped=QualityCounts(50, 1, 2, 3)),
        replace(SOUND, slide_id="g", dropped=QualityCounts(50, 10, 1, 60)),
        replace(SOUND, slide_id="f", border_share=0.51),
        replace(SOUND, slide_id="d", transparent_share=0.7),
        replace(SOUND, slide_id="c", tiles=0),
        replace(SOUND, slide_id="b", tiles=0, dropped=QualityCounts(0, 0, 2, 30)),
        replace(SOUND, slide_id="a", tissue_share=0.0, tissue_mm2=0.0, tiles=0),
        replace(SOUND, slide_id="untiled", tiles=None, candidates=None),
    ]
    reviewed = review(slides)
    assert [one.facts.slide_id for one in reviewed] == ["a", "b", "c", "d", "f", "g", "fine", "judged", "untiled"]
    told = {one.facts.slide_id: [concern.words for concern in one.concerns] for one in reviewed}
    assert told["a"] == ["No tissue was found: blank, very pale, or not the slide it should be."]
    assert told["b"] == ["12.0 mm² of tissue, but not one tile was kept; dropped: 30 blurred, 2 pen."]
    assert told["c"] == ["12.0 mm² of tissue, but not one tile holds enough of it."]
    assert told["d"] == ["70 % of the slide is transparent: part of it may be missing."]
    assert told["f"] == ["51 % of the border counts as tissue: glass may have been taken for tissue."]
    assert told["g"] == ["59 % of the tiles were dropped: 60 blurred, 10 empty, 1 pen."]
    assert {concern.kind for one in reviewed for concern in one.concerns} == set(CONCERNS) - {"outlier"}


def test_a_slide_may_have_several():
    slides = [*cohort(*[0.4] * 9), replace(SOUND, slide_id="all", tissue_share=1.0, border_share=1.0)]
    assert kinds(slides)[0] == ("all", ["outlier", "border"])


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.456, "46 %"), (0.0952, "9.5 %"), (0.0999, "10 %"), (0.000421, "0.042 %")],
)
def test_percent(share, text):
    assert percent(share) == text


def test_dropped_words():
    assert dropped_words(QualityCounts(5, 0, 1200, 3)) == "1,200 pen, 3 blurred"
    assert dropped_words(QualityCounts(5)) == ""
