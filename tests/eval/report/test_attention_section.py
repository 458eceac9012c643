"""The report's section on attention: the top tiles beside the map, or the reason why they are not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Slide, Store
from mirror_eval.attention import attention_run
from mirror_eval.figures.slides import map_of
from mirror_eval.report.blocks import Absent, Figure, Table
from mirror_eval.report.build import build_report
from mirror_eval.report.evidence import Evidence, Missing, SlideShown
from mirror_eval.report.gather import _slide_shown
from mirror_eval.report.sections.attention import attention
from mirror_eval.tile_pictures import SlideFiles, from_thumbnail

from tests.eval.attention_store import GRID, SIZE, TOP, WEIGHTS, attention_of, make_store
from tests.eval.report.filled_store import RUN


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("attention") / "cohort.zarr")


def test_top_tiles_stand_beside_the_map(full_evidence: Evidence):
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    shown = attention_of(WEIGHTS, Slide("A", "a", SIZE, 0.5, thumbnail=picture), GRID, 256.0)
    drawn = map_of(shown)
    assert drawn.top.tolist() == list(TOP[:5])
    slide = SlideShown(shown, "ductal", drawn, from_thumbnail(shown, drawn.top.tolist()))
    section = attention(replace(full_evidence, attention=(slide,)))
    figure, table = section.blocks
    assert isinstance(figure, Figure)
    assert [panel.name for panel in figure.panels] == ["slide-0", "attention-0", "tiles-0"]
    assert figure.panels[2].svg.count("<image") == 5
    assert "4.80 × even share" in figure.panels[2].svg
    assert "Half of the attention lies on 17% of the tiles" in figure.caption
    assert "test patient of fold 0" in figure.caption
    assert figure.caption.endswith("as they are in the stored thumbnail.")
    assert figure.csv.splitlines()[0] == "slide_id,x,y,weight,rank,percentile"
    assert figure.csv.splitlines()[9] == "A,0,832,0.4,1,95.8333"
    assert isinstance(table, Table)
    assert [cell.text for cell in table.rows[0]] == ["A", "1", "0", "832", "4.80 ×"]


def test_why_top_tiles_are_not_shown(full_evidence: Evidence, store: Store, tmp_path):
    run = attention_run(store, "r")
    coarse = _slide_shown(store, run, 0, "A", {"a": "ductal"}, None)
    absent = _slide_shown(store, run, 0, "D", {}, SlideFiles(tmp_path, {}, frozenset()))
    assert coarse is not None
    assert absent is not None
    assert isinstance(coarse.pictures, Missing)
    assert _slide_shown(store, run, 0, "E", {}, None) is None  # no places
    assert _slide_shown(store, run, 0, "C", {}, None) is None  # no thumbnail
    blocks = attention(replace(full_evidence, attention=(coarse, absent))).blocks
    notes = [block.reason for block in blocks if isinstance(block, Absent)]
    assert notes == [
        "A tile is only 16 pixels wide on the stored thumbnail. Name the folder of the slide files with --slides.",
        "The slide's file is not there. Add it, name another folder, or leave --slides out.",
    ]
    assert [len(block.panels) for block in blocks if isinstance(block, Figure)] == [2, 2]
    assert "patient outside the split of fold 0" in blocks[1].caption


def test_a_folder_of_slides_that_is_none(full_store: Store, tmp_path):
    for folder, code in ((tmp_path / "none", "NOT_FOUND"), (tmp_path, "EMPTY")):
        with pytest.raises(BadInput) as caught:
            build_report(full_store, RUN, slides=folder)
        assert caught.value.code == code
