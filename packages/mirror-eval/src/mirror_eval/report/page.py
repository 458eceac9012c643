"""Sections to HTML: escaped by jinja2, styled and scripted from within, and told by its own policy to load nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mirror_eval.figures.theme import Drawing
from mirror_eval.report.blocks import Figure, Section, Table
from mirror_eval.report.sections.summary import Summary


def render(store_name: str, run: str, top: Summary, sections: Sequence[Section]) -> str:
    """The page. Figures and tables are numbered in their order."""
    style, script = _resource("style.css"), _resource("script.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["drawing"] = _markup
    environment.filters["data_uri"] = _data_uri
    template = environment.from_string(_resource("template.html.j2"))
    return template.render(
        store_name=store_name,
        run=run,
        top=top,
        sections=sections,
        numbers=_numbers(sections),
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
    )


def policy(style: str, script: str) -> str:
    """Content-Security-Policy: nothing from anywhere but this style sheet, this script, and pictures in the page."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (files("mirror_eval.report") / name).read_text(encoding="utf-8")


def _markup(panel: Drawing) -> Markup:
    """The drawing as it stands: `figures.theme` made it, and escaped the text within."""
    return Markup(panel.svg)


def _data_uri(text: str) -> str:
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()


def _numbers(sections: Sequence[Section]) -> dict[str, int]:
    """Number of each figure and of each table, by id."""
    numbers: dict[str, int] = {}
    figures = tables = 0
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                numbers[block.id] = figures = figures + 1
            elif isinstance(block, Table):
                numbers[block.id] = tables = tables + 1
    return numbers
