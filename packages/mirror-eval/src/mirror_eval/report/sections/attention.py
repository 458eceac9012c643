"""Section: where on the slide the model looked."""

from __future__ import annotations

import pandas as pd

from mirror_eval.figures.slides import attention_panel, thumbnail_panel
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Key, Section, Table, csv_text
from mirror_eval.report.evidence import Evidence, Missing, SlideShown

PARTS = {"train": "training patient", "validation": "validation patient", "test": "test patient"}
LEGEND = (  # the page's classes v0 to v4 hold five steps of `figures.slides.COLOURS`
    Key("least attention", "v0", "■"),
    Key("lower quartile", "v1", "■"),
    Key("median", "v2", "■"),
    Key("upper quartile", "v3", "■"),
    Key("most", "v4", "■"),
)


def attention(evidence: Evidence) -> Section:
    """A slide or two of each subtype under its attention, and where its top tiles lie."""
    if isinstance(evidence.attention, Missing):
        return Section("attention", "Attention", "", (Absent("Attention on slides", evidence.attention.reason),))
    lead = (
        "How much each tile weighs in the slide's embedding. Attention says where the network looked, not why; numbers "
        "mark the tiles with most of it."
    )
    blocks: list[Block] = [_figure(k, slide, evidence) for k, slide in enumerate(evidence.attention)]
    blocks.append(_table(evidence.attention))
    return Section("attention", "Attention", lead, tuple(blocks))


def _figure(index: int, slide: SlideShown, evidence: Evidence) -> Figure:
    part = PARTS.get(evidence.fold.part_of().get(slide.patient_id, ""), "patient outside the split")
    what = f"slide {slide.slide_id}" + (f", {slide.subtype}" if slide.subtype else "")
    tiles = len(slide.map.weights)
    width = f" of {slide.tile_um:g} µm" if slide.tile_um else ""
    top = [f"{slide.map.relative[k]:.1f}" for k in slide.map.top]
    alt = f"Attention over {what}: {tiles} tiles; the marked ones weigh {', '.join(top)} times an even share."
    panels = (
        thumbnail_panel(f"slide-{index}", "slide", slide.map, f"Thumbnail of {what}, the top tiles framed."),
        attention_panel(f"attention-{index}", "attention", slide.map, alt),
    )
    caption = (
        f"{what[:1].upper()}{what[1:]}; {part} of fold {evidence.shown_fold}; {tiles:,} tiles{width}, coloured by the "
        "rank of their weight "
        f"from least to most. Framed: the {len(slide.map.top)} tiles with most attention."
    )
    frame = pd.DataFrame({"x": slide.coords[:, 0], "y": slide.coords[:, 1], "weight": slide.map.weights})
    frame.insert(0, "slide_id", slide.slide_id)
    return Figure(f"attention-{index}", caption, panels, LEGEND, csv_text(frame))


def _table(slides: tuple[SlideShown, ...]) -> Table:
    rows = [
        (
            Cell(slide.slide_id),
            Cell(str(number), sort=number),
            Cell(f"{int(slide.coords[tile, 0]):,}", sort=float(slide.coords[tile, 0])),
            Cell(f"{int(slide.coords[tile, 1]):,}", sort=float(slide.coords[tile, 1])),
            Cell(f"{slide.map.relative[tile]:.2f} ×", sort=float(slide.map.relative[tile])),
        )
        for slide in slides
        for number, tile in enumerate(slide.map.top, start=1)
    ]
    columns = ("slide", "mark", "x (level-0 px)", "y (level-0 px)", "weight against an even share")
    return Table("top-tiles", "The marked tiles, to find them in a slide viewer.", columns, tuple(rows))
