"""Section: where on the slide the model looked."""

from __future__ import annotations

import pandas as pd

from mirror_eval.attention import PART_NAMES
from mirror_eval.figures.slides import attention_panel, thumbnail_panel, tiles_panel, times
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Key, Section, Table, csv_text
from mirror_eval.report.evidence import Evidence, Missing, SlideShown

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
    blocks: list[Block] = [_figure(k, slide) for k, slide in enumerate(evidence.attention)]
    blocks += _not_shown(evidence.attention)
    blocks.append(_table(evidence.attention))
    return Section("attention", "Attention", lead, tuple(blocks))


def _figure(index: int, slide: SlideShown) -> Figure:
    shown = slide.attention
    what = f"slide {shown.slide.slide_id}" + (f", {slide.subtype}" if slide.subtype else "")
    width = f" of {shown.tile_um:g} µm" if shown.tile_um else ""
    top = [times(shown.relative[k]) for k in slide.map.top]
    tiles = f"{len(shown.weights):,} tiles"
    alt = f"Attention over {what}: {tiles}; the marked ones weigh {', '.join(top)} times an even share."
    panels = [
        thumbnail_panel(f"slide-{index}", "slide", slide.map, f"Thumbnail of {what}, the top tiles framed."),
        attention_panel(f"attention-{index}", "attention", slide.map, alt),
    ]
    caption = (
        f"{what[:1].upper()}{what[1:]}; {PART_NAMES[shown.part]} of fold {shown.fold}; {tiles}{width}, "
        "coloured by the rank of their weight from least to most. Half of the attention lies on "
        f"{shown.half_share:.0%} of the tiles (50% if all weighed alike). Framed: the {len(top)} tiles with most "
        "attention"
    )
    if isinstance(slide.pictures, Missing):
        caption += "."
    else:
        captions = [f"{times} × even share" for times in top]
        alt = f"The {len(top)} tiles of {what} with most attention, from 1 to {len(top)}."
        panels.append(tiles_panel(f"tiles-{index}", "top tiles", slide.pictures.images, captions, alt))
        caption += f", as they are in the {'slide file' if slide.pictures.source == 'slide' else 'stored thumbnail'}."
    return Figure(f"attention-{index}", caption, tuple(panels), LEGEND, csv_text(_weights(slide)))


def _weights(slide: SlideShown) -> pd.DataFrame:
    shown = slide.attention
    frame = pd.DataFrame({"x": shown.coords[:, 0], "y": shown.coords[:, 1], "weight": shown.weights})
    frame["rank"], frame["percentile"] = shown.rank, shown.percentile
    frame.insert(0, "slide_id", shown.slide.slide_id)
    return frame


def _not_shown(slides: tuple[SlideShown, ...]) -> list[Absent]:
    """One note a reason for slides whose top tiles are not shown by themselves."""
    reasons = dict.fromkeys(slide.pictures.reason for slide in slides if isinstance(slide.pictures, Missing))
    return [Absent("The top tiles by themselves", reason) for reason in reasons]


def _table(slides: tuple[SlideShown, ...]) -> Table:
    rows = [
        (
            Cell(shown.slide.slide_id),
            Cell(str(number), sort=number),
            Cell(f"{int(shown.coords[tile, 0]):,}", sort=float(shown.coords[tile, 0])),
            Cell(f"{int(shown.coords[tile, 1]):,}", sort=float(shown.coords[tile, 1])),
            Cell(f"{times(shown.relative[tile])} ×", sort=float(shown.relative[tile])),
        )
        for slide in slides
        for shown in [slide.attention]
        for number, tile in enumerate(slide.map.top, start=1)
    ]
    columns = ("slide", "mark", "x (level-0 px)", "y (level-0 px)", "weight against an even share")
    return Table("top-tiles", "The marked tiles, to find them in a slide viewer.", columns, tuple(rows))
