"""Colours in numbers: text that can be read on every ground, lines that stand out, hues that anyone can tell apart."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest
from mirror_eval.figures.theme import VARIABLES

STYLE = (files("mirror_eval.report") / "style.css").read_text(encoding="utf-8")
GROUNDS, TEXT = ("paper", "surface", "wash"), ("ink", "muted", "accent")
HUES = ("blue", "vermilion", "green", "orange", "purple", "sky", "yellow", "grey")
# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1: matrices on linear RGB.
VISION = {
    "trichromat": np.eye(3),
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanope": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def themes() -> dict[str, dict[str, str]]:
    """The colour variables of the light and of the dark page, as the style sheet sets them."""
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in STYLE.split("@media")[:2])
    return {"light": light, "dark": dark}


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio, 1 to 21."""
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_measures_themselves():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    red, green = (lab(np.array(VISION["deuteranope"]) @ linear(c)) for c in ("#a94f00", "#6b6b00"))
    assert np.linalg.norm(red - green) < np.linalg.norm(lab(linear("#a94f00")) - lab(linear("#6b6b00"))) / 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_every_ground(theme):
    colours = themes()[theme]
    for text, ground in itertools.product(TEXT, GROUNDS):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def test_no_text_has_a_colour_of_its_own():
    """Every colour of the style sheet's rules is a variable, white paper in print, or a step of the attention map."""
    rules = STYLE.split("* { box-sizing", 1)[1]
    fixed = set(re.findall(r"#[0-9a-f]{3,6}\b", rules))
    assert fixed == {"#fff", "#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"}
    used = set(re.findall(r"[^-]color: var\(--([a-z]+)\)", rules))
    glyphs = set(re.findall(r"\.c-([a-z]+) \{ color", rules))
    assert used - glyphs <= set(TEXT) | {"line"}  # `line` underlines, as text-decoration-color


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_and_dots_stand_out_from_the_page(theme):
    colours = themes()[theme]
    for hue, ground in itertools.product(HUES, ("paper", "surface")):
        assert contrast(colours[hue], colours[ground]) >= 3, (hue, ground)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_any_two_hues_differ_in_any_colour_vision(theme, vision):
    seen = {hue: lab(np.array(VISION[vision]) @ linear(themes()[theme][hue])) for hue in HUES}
    for one, other in itertools.combinations(HUES, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 12, (one, other)


def test_figures_fall_back_to_the_light_page():
    light = themes()["light"]
    assert {name: colour for colour, name in VARIABLES.items() if name in HUES} == {hue: light[hue] for hue in HUES}
    assert {colour for colour, name in VARIABLES.items() if name in ("ink", "muted")} == {light["ink"], light["muted"]}
