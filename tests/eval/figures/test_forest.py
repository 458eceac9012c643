"""The forest plot: what it says, and its files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread
from mirror_data.errors import BadInput
from mirror_eval.compare import Comparison, Difference
from mirror_eval.figures.forest import forest_panel, forest_rows, write_forest

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<img src=x> & $x_1$"


def difference(second: str, value: float, p: float, p_holm: float, cohort: str = "", low: float = 0.0) -> Difference:
    nan = float("nan")
    return Difference(
        cohort=cohort,
        first="ours",
        second=second,
        folds=("0", "1"),
        values=(value, value),
        first_mean=0.7,
        second_mean=0.7 - value,
        difference=value,
        low=value - 0.05 + low,
        high=value + 0.05,
        patients=10,
        left_out=0,
        tested=5,
        fitted=5,
        p_naive=p,
        p_test=p,
        p_holm=p_holm,
        p_bootstrap=p,
        p_bootstrap_holm=p_holm,
        resolvable=0.04 if p < 1 else nan,
        resolvable_power=0.06,
    )


COMPARISON = Comparison(
    "c_harrell",
    "corrected-t",
    "ours",
    100,
    (
        difference("plain", 0.2, 0.0001, 0.0004, "brca"),
        difference(EVIL, -0.013, 0.03, 0.06, "brca"),
        difference("a" * 30 + "b" * 30, 0.01, 1.0, 1.0, "luad", low=float("nan")),
    ),
)


def texts(svg: str | bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_rows_say_what_is_left_of_each_claim():
    rows = forest_rows(COMPARISON)
    assert [row.standing for row in rows] == ["holm", "alone", "none"]
    assert rows[2].label == "a" * 23 + "…" + "b" * 23
    pairs = forest_rows(Comparison("c_harrell", "corrected-t", None, 100, COMPARISON.differences))
    assert pairs[0].label == "ours − plain"


def test_panel_shows_figures_headings_and_legend():
    panel = forest_panel("forest", COMPARISON)
    shown = texts(panel.svg)
    for text in ("brca", "luad", "plain", EVIL, "+.200", "−.013", "+.150 to +.250", "<.001", ".060", "1.000"):
        assert text in shown
    assert sum(text.startswith("p < .05") for text in shown) == 2
    assert "1 have p below .05" in panel.alt
    assert "var(--blue" in panel.svg
    assert panel.svg == forest_panel("forest", COMPARISON).svg


def test_files(tmp_path: Path):
    svg = write_forest(COMPARISON, tmp_path / "f.svg")
    assert "difference in Harrell's C" in texts(svg.read_bytes())
    assert "var(" not in svg.read_text()  # not every viewer knows variables
    png = imread(write_forest(COMPARISON, tmp_path / "f.PNG"))
    assert min(png.shape[:2]) > 300
    assert np.allclose(png[0, 0, :3], 254 / 255, atol=0.01)  # a ground of its own
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(BadInput) as raised:
        write_forest(COMPARISON, tmp_path / "f.pdf")
    assert raised.value.code == "BAD_OPTION"
    with pytest.raises(BadInput) as raised:
        write_forest(COMPARISON, tmp_path / "nowhere" / "f.svg")
    assert raised.value.code == "NOT_FOUND"


def test_everything_drawn_lies_within_the_picture():
    """No text is cut off on the right, where the figures stand: nothing dark touches the border."""
    import io

    from mirror_eval.figures.forest import _png

    image = imread(io.BytesIO(_png(COMPARISON)))[..., :3].min(axis=2)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert edge.min() > 0.9
