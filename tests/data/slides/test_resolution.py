"""Whose word on the pixel size counts."""

from __future__ import annotations

import math

import pytest
from mirror_data.errors import BadSlide
from mirror_data.slides.resolution import is_plausible, parse_number, resolve_mpp

OPENSLIDE = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}
APERIO = {"aperio.MPP": "0,4990"}
TIFF = {"tiff.XResolution": "50800", "tiff.YResolution": "50800", "tiff.ResolutionUnit": "inch"}


@pytest.mark.parametrize(
    ("properties", "stated", "override", "expected"),
    [
        (OPENSLIDE | APERIO | TIFF, 1.0, 2.0, (0.255, "openslide.mpp")),
        (APERIO | TIFF, 1.0, 2.0, (0.499, "aperio")),
        (TIFF, 1.0, 2.0, (0.5, "tiff")),
        (TIFF | {"tiff.ResolutionUnit": "centimeter"}, None, None, (10_000 / 50_800, "tiff")),
        ({}, 1.0, 2.0, (1.0, "slides-table")),
        ({}, None, 2.0, (2.0, "override")),
        ({"openslide.mpp-x": "0", "openslide.mpp-y": "0"} | APERIO, None, None, (0.499, "aperio")),
        ({"openslide.mpp-x": "0.5", "openslide.mpp-y": "1.0"}, 0.5, None, (0.5, "slides-table")),
        (TIFF | {"tiff.ResolutionUnit": "none"}, None, 0.7, (0.7, "override")),
    ],
)
def test_order(properties, stated, override, expected):
    found = resolve_mpp(properties, stated=stated, override=override)
    assert (found.mpp, found.source) == (pytest.approx(expected[0]), expected[1])


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"openslide.mpp-x": "0.5"},
        {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.53"},
        {"aperio.MPP": "nan"},
        {"aperio.MPP": "inf"},
        {"aperio.MPP": "half"},
        {"tiff.XResolution": "72", "tiff.YResolution": "72", "tiff.ResolutionUnit": "inch"},
        {"tiff.XResolution": "0", "tiff.YResolution": "0", "tiff.ResolutionUnit": "inch"},
    ],
)
def test_refused(properties):
    with pytest.raises(BadSlide) as caught:
        resolve_mpp(properties, file="a.svs")
    assert caught.value.code == "NO_MPP"
    assert caught.value.file == "a.svs"
    assert "--mpp-override" in (caught.value.hint or "")


def test_refusal_says_what_was_found():
    with pytest.raises(BadSlide) as caught:
        resolve_mpp({"aperio.MPP": "352.8"}, stated=0.0)
    assert caught.value.got == "aperio 352.8 x 352.8; slides-table 0 x 0"


def test_plausible():
    assert is_plausible(0.25, 0.262)
    assert not is_plausible(0.25, 0.263)
    assert not is_plausible(0.05, 0.05)
    assert not is_plausible(20, 20)


def test_parse_number():
    assert parse_number(" 0,25 ") == 0.25
    assert parse_number("  ") is None
    assert math.isnan(parse_number("1,2,3") or 0)
