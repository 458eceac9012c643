from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from mirror_eval.calibration import Reliability
from mirror_eval.figures.curves import (
    DAYS_PER_YEAR,
    Line,
    RocSeries,
    kaplan_meier_panel,
    lines_panel,
    reliability_panel,
    roc_panel,
    scores_panel,
    survival_reliability_panel,
)
from mirror_eval.figures.genes import gene_panel, selection_panel, spread_panel
from mirror_eval.figures.maps import overlap_panel, scatter_panel, similarity_panel
from mirror_eval.figures.slides import attention_map, attention_panel, thumbnail_panel
from mirror_eval.figures.theme import BLUE, GREY, PALETTE, VARIABLES, Drawing, class_styles, drawing, to_svg
from mirror_eval.kaplan_meier import kaplan_meier
from mirror_eval.survival_calibration import SurvivalReliability

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<img src=x onerror=alert(1)> & $x_1$"


def texts(panel: Drawing) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(panel.svg).iter(f"{SVG}text")]


def draw_one(name: str, title: str = "title") -> Drawing:
    with drawing(2, 2) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=BLUE)
        axes.scatter([0.2, 0.5], [0.1, 0.4], color=PALETTE[1], marker="^", alpha=0.4)
        axes.imshow(np.zeros((3, 3)), extent=(0, 1, 0, 1), interpolation="none")
        axes.set_title(title)
        return to_svg(figure, name, f"alt of {title}")


def test_svg_is_whole_and_needs_no_inline_style():
    panel = draw_one("first")
    root = ElementTree.fromstring(panel.svg)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "alt of title"
    assert (panel.width, panel.height) == (192, 192)
    assert root.attrib["width"] == "192"
    for element in root.iter():
        assert "style" not in element.attrib
        assert element.tag not in (f"{SVG}style", f"{SVG}script", f"{SVG}metadata")
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(one.startswith("first-") for one in ids)
    for reference in re.findall(r'(?:url\(#|href="#)([^)"]+)', panel.svg):
        assert reference in ids


def test_named_colours_become_variables_with_their_light_value():
    svg = draw_one("colours").svg
    assert f"var(--blue, {BLUE})" in svg
    assert "var(--ink, " in svg
    outside = re.sub(r"var\([^)]*\)", "", svg)
    assert not any(colour in outside for colour in VARIABLES)


def test_same_drawing_same_bytes_other_name_other_ids():
    assert draw_one("a").svg == draw_one("a").svg
    assert draw_one("a").svg != draw_one("b").svg


def test_text_is_text_whatever_it_holds():
    panel = draw_one("evil", EVIL)
    assert EVIL in texts(panel)
    assert "<img" not in panel.svg


def test_palette_is_told_apart_by_shape_too():
    styles = class_styles([f"class {k}" for k in range(7)])
    assert len({colour for colour, _ in styles.values()}) == len({marker for _, marker in styles.values()}) == 7


def test_mean_roc_of_two_folds():
    perfect = (np.array([0, 0, 1.0]), np.array([0, 1, 1.0]))
    useless = (np.array([0, 1.0]), np.array([0, 1.0]))
    mean = RocSeries("b", (perfect, useless)).mean()
    assert mean[0] == pytest.approx(0.5, abs=1e-6)
    assert mean[100] == pytest.approx(0.75)
    assert np.trapezoid(mean, np.linspace(0, 1, 201)) == pytest.approx(0.75, abs=0.01)
    panel = roc_panel("roc", EVIL, [RocSeries(EVIL, (perfect, useless))], "roc")
    assert texts(panel).count(EVIL) == 2


def test_kaplan_meier_shows_numbers_at_risk():
    time = np.array([1, 2, 3, 4, 5, 6]) * DAYS_PER_YEAR
    event = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    curve = kaplan_meier(time, event)
    shown = texts(kaplan_meier_panel("km", "both", [("low risk", curve), ("high risk", curve)], "p = 0.5", "alt"))
    ticks = shown[: shown.index("years")]
    assert ticks == ["0", "1", "2", "3", "4", "5", "6"]
    at_risk = [int(text) for text in shown[shown.index("at risk") - 16 :] if text.isdigit()]
    assert at_risk == [6, 6, 5, 4, 3, 2, 1] * 2
    assert "p = 0.5" in shown


@pytest.mark.parametrize("count", [1, 3])
def test_every_other_panel_is_well_formed(count):
    rng = np.random.default_rng(0)
    classes = [EVIL, "b", "c"][:count]
    labels = [classes[k % count] for k in range(12)]
    sizes = [(name, labels.count(name)) for name in classes]
    nan = float("nan")
    observed, low, high = np.array([0.2, 0.6, nan]), np.array([0.1, 0.4, nan]), np.array([0.3, 0.7, nan])
    lived = SurvivalReliability(np.array([0.1, 0.5, 0.9]), observed, low, high, np.array([5, 7, 1]))
    bins = Reliability(np.array([0.1, 0.8]), np.array([0.2, 0.9]), np.array([5, 7]))
    lines = [Line(EVIL, np.arange(3.0), np.arange(3.0), BLUE), Line("chance", np.arange(3.0), np.ones(3), GREY)]
    panels = [
        reliability_panel("reliability", EVIL, bins, "ECE", "alt", BLUE),
        survival_reliability_panel("survival", EVIL, lived, "gap", "alt", BLUE),
        lines_panel("lines", EVIL, lines, ("x", "y"), "alt"),
        scores_panel("scores", EVIL, [(name, [0.4, 0.6], 0.5, 0.3, 0.7) for name in classes], 0.2, "alt"),
        scatter_panel(
            "scatter", EVIL, rng.normal(size=(12, 2)), labels, rng.random(12) < 0.5, class_styles(classes), "alt"
        ),
        similarity_panel("similarity", EVIL, rng.normal(size=(12, 12)), sizes, "alt"),
        gene_panel("genes", rng.normal(size=(4, 12)), [EVIL, "B", "C", "D"], sizes, [True, False] * 2, "alt"),
        spread_panel("spread", rng.normal(size=(2, 12)), [EVIL, "B"], labels, classes, EVIL, "alt"),
        selection_panel("curve", np.array([9, 3, 1]), np.array([0.5, 0.9, 0.7]), np.full(3, 0.1), 3, EVIL, "alt"),
        overlap_panel("overlap", ["slide", "RNA"], [((True, True), 9), ((True, False), 3)], "alt"),
    ]
    for panel in panels:
        assert ElementTree.fromstring(panel.svg).attrib["aria-label"] == "alt"
        assert any(EVIL in text for text in texts(panel)) or panel.name == "overlap"
    assert "9" in texts(panels[-1])
    assert "3 genes, 0.900" in texts(panels[-2])  # the best of the sizes, whatever their order


def test_attention_lies_where_the_tiles_are():
    thumbnail = np.full((30, 40, 3), 200, np.uint8)
    coords = np.array([[0, 0], [1000, 0], [0, 1000]], dtype=np.int32)
    shown = attention_map(thumbnail, (4000, 3000), coords, 1000.0, np.array([0.2, 0.7, 0.1], np.float32), top=2)
    assert shown.corners.tolist() == [[0, 0], [10, 0], [0, 10]]
    assert shown.side == (10.0, 10.0)
    assert shown.top.tolist() == [1, 0]
    assert shown.relative == pytest.approx([0.6, 2.1, 0.3], rel=1e-6)
    panel = attention_panel("attention", EVIL, shown, "alt")
    assert [text for text in texts(panel) if text.isdigit()] == ["1", "2"]
    images = list(ElementTree.fromstring(panel.svg).iter(f"{SVG}image"))
    assert len(images) == 2
    assert texts(thumbnail_panel("slide", "slide", shown, "alt")) == ["slide"]


def test_large_thumbnails_are_thinned():
    coords = np.array([[0, 0]], dtype=np.int32)
    shown = attention_map(np.zeros((1500, 3000, 3), np.uint8), (30000, 15000), coords, 256.0, np.ones(1, np.float32))
    assert max(shown.thumbnail.shape) <= 720
    assert shown.side[0] == pytest.approx(256 * 600 / 30000)
