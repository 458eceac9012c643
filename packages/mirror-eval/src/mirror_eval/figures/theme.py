"""Colours, axes and SVG of every figure.

A figure is drawn once, in named colours. `to_svg` writes each as ``var(--name, #light)``: on the report's page the
style sheet gives the variables a value for light and one for dark; anywhere else the fallback, the light colour, holds.
Styles become attributes, so that the page's Content-Security-Policy need not allow inline styles. Bytes follow from the
drawing alone: no date, and ids from the figure's name.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID, SURFACE = "#1b1f24", "#59626d", "#e3e6ea", "#fefefe"

# The hues of Okabe and Ito's palette (2008), darkened until each stands out from paper by 3 to 1 (their yellow, orange
# and sky do not), and moved apart until any two differ in any common colour vision (their purple and our grey did not).
# In the order in which classes take them.
BLUE, VERMILION, GREEN, ORANGE = "#0072b2", "#b83b01", "#0aa06c", "#c0813f"
PURPLE, SKY, YELLOW, GREY = "#8a2c55", "#448fe0", "#9b9401", "#77858c"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, YELLOW)
MARKERS = ("o", "^", "s", "D", "v", "P", "X")  # shape says the same as colour
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), "-", (0, (5, 2)), (0, (1.5, 1.5)))

MODALITY_COLOUR = {"slide": GREEN, "rna": PURPLE, "both": BLUE, "stored": BLUE}
MODALITY_NAME = {"slide": "slides only", "rna": "RNA only", "both": "slides + RNA", "stored": "stored predictions"}

VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    SURFACE: "surface",
    BLUE: "blue",
    VERMILION: "vermilion",
    GREEN: "green",
    ORANGE: "orange",
    PURPLE: "purple",
    SKY: "sky",
    YELLOW: "yellow",
    GREY: "grey",
}

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NUMERIC = ("d", "x", "y", "transform", "width", "height")
_FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
_RC = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # an id may hold a dollar sign
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.8,
    "image.interpolation": "nearest",
    "image.composite_image": False,
}


@dataclass(frozen=True)
class Drawing:
    """One panel of a figure, ready for a page.

    ``svg`` holds ``role="img"`` and ``alt`` as its accessible name; width and height are in CSS pixels.
    """

    name: str
    svg: str
    alt: str
    width: int
    height: int


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches, to be drawn and turned into SVG inside the block."""
    with mpl.rc_context(_RC):
        yield Figure(figsize=(width, height), layout="constrained")


def class_styles(classes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each class, by their order."""
    return {c: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, c in enumerate(classes)}


def unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    """Both axes from 0 to 1, square."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x_label, ylabel=y_label, aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", ".25", ".5", ".75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", ".25", ".5", ".75", "1"])


def to_svg(figure: Figure, name: str, alt: str, *, photographs: int = 0) -> Drawing:
    """The figure as SVG that a page can hold as it stands.

    Args:
        figure: drawn inside a `drawing` block, and converted inside it.
        name: unique on the page; ids start with it.
        alt: what the figure shows, in words, for those who do not see it.
        photographs: how many of the first images are pictures, to be smoothed when enlarged; others keep hard pixels.
    """
    file = io.StringIO()
    salt = hashlib.sha256(name.encode()).hexdigest()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(file.getvalue())
    for photograph in list(root.iter(f"{{{_SVG}}}image"))[:photographs]:
        photograph.attrib.pop("style", None)
    _clean(root, name)
    width, height = (round(float(side) * 96 / 72) for side in root.attrib["viewBox"].split()[2:])
    for gone in ("width", "height", "version"):
        root.attrib.pop(gone, None)
    root.attrib |= {"width": str(width), "height": str(height)}
    root.attrib |= {"role": "img", "aria-label": alt, "stroke-linejoin": "round", "font-family": _FONT}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    text = ElementTree.tostring(root, encoding="unicode")
    return Drawing(name, re.sub(r"\s*\n\s*", " ", text), alt, width, height)


def _clean(root: ElementTree.Element, name: str) -> None:
    """Drop metadata and style sheets, make styles attributes, name the colours, make ids the figure's own."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for key, value in _declarations(element.attrib.pop("style", "")):
            if key != "font-family":  # that of the page holds
                element.attrib[key] = value.removesuffix("px") if key == "font-size" else value
    referred = {id_ for element in root.iter() for value in element.attrib.values() if (id_ := _reference(value))}
    renamed = {id_: f"{name}-{k}" for k, id_ in enumerate(sorted(referred))}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.attrib[key] = _attribute(key, value, renamed)
        for empty in ("transform", "id"):  # figure_1, axes_1, text_7: nothing refers to them
            if element.attrib.get(empty) == "":
                del element.attrib[empty]


def _attribute(key: str, value: str, renamed: dict[str, str]) -> str:
    if key == "id":
        return renamed.get(value, "")
    if value in VARIABLES:
        return f"var(--{VARIABLES[value]}, {value})"
    if id_ := _reference(value):
        return value.replace(id_, renamed[id_])
    if key in _NUMERIC:
        return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"rotate\(-0 [^)]*\)\s*", "", value))
    return value


def _reference(value: str) -> str | None:
    """The id that an attribute refers to, ``#id`` or ``url(#id)``; a colour in hexadecimal is too short to be one."""
    found = re.fullmatch(r"url\(#(.+)\)|#([A-Za-z]\w*_\w+|[mp][0-9a-f]{10}|image[0-9a-f]+)", value)
    return (found[1] or found[2]) if found else None


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    for part in style.split(";"):
        key, colon, value = part.partition(":")
        if colon:
            yield key.strip(), value.strip()
