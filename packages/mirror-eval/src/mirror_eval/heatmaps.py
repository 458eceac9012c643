"""Attention of slides as files: a PNG for the eye, and GeoJSON that QuPath opens on the slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from mirror_data.errors import BadInput, BadSlide, Exit, some
from mirror_data.exchange.qupath import write_features
from mirror_data.ids import to_key
from mirror_data.progress import progress
from mirror_data.runner import Failure, Result, run_units
from mirror_data.store import Store, open_store, schema
from mirror_data.whole import unwritable, write_whole

from mirror_eval.attention import (
    PART_NAMES,
    AttentionRun,
    SlideAttention,
    attention_run,
    slide_attention,
    slides_with_attention,
)
from mirror_eval.attention_features import attention_features
from mirror_eval.prediction_tables import check_folder
from mirror_eval.tile_pictures import SlideFiles, TilePictures, slide_files, tile_pictures

TOP = 6
_KINDS = {".png": "png", ".geojson": "geojson", ".json": "geojson"}


@dataclass(frozen=True)
class HeatmapOptions:
    """What is drawn, and where it goes.

    ``out`` is a folder, for SLIDE-attention.png and SLIDE-attention.geojson of each slide; or, of one slide, a file
    whose ending says which of the two is wanted.
    """

    out: Path
    fold: int | None = None  # None: the fold that tests the slide's patient
    slides: Path | None = None  # folder of the slide files, to read the top tiles from
    top: int = TOP  # tiles that are marked and shown

    def __post_init__(self) -> None:
        if not 1 <= self.top <= 24:
            raise BadInput("BAD_OPTION", "number of tiles to mark", key="--top", expected="1 to 24", got=self.top)


@dataclass(frozen=True)
class TopTile:
    """A tile that was marked."""

    mark: int
    x: int  # level-0 pixels of the slide
    y: int
    weight: float
    relative: float  # over an even share
    percentile: float


@dataclass(frozen=True)
class Heatmap:
    """What was written of one slide."""

    slide_id: str
    run: str
    fold: int
    part: str  # of the slide's patient in that fold: "train", "validation", "test", "outside"
    tiles: int
    not_weighed: int  # of them
    tile_um: float | None
    half_share: float  # least share of the tiles that hold half of the attention
    top: tuple[TopTile, ...]
    pictures: str | None  # of the top tiles: from the "slide", the "thumbnail"; None: not shown
    reason: str | None  # why they are not shown
    png: Path | None
    map_px: tuple[int, int, int, int] | None  # left, top, width and height of the map in the PNG
    geojson: Path | None


@dataclass(frozen=True)
class HeatmapReport:
    """What became of the slides, each in the order of their ids."""

    slides: tuple[Heatmap, ...]
    failures: tuple[Failure, ...]
    exit: int


def write_heatmaps(
    store: Store, run: str, slide_ids: Sequence[str], options: HeatmapOptions, workers: int = 1
) -> HeatmapReport:
    """Write the attention of slides; one that cannot be drawn costs itself alone.

    Args:
        slide_ids: none for all slides that the run weighed.
        workers: slides drawn at once, each in its own process.

    Raises:
        StoreError: ``MISSING`` without the run, or if it weighed no slide.
        BadInput: ``NOT_FOUND`` for an unknown slide or a folder that is not there, ``BAD_OPTION``, ``BAD_PATH``.
        Nothing was written then.
    """
    found = attention_run(store, run)
    chosen = _chosen(store, slide_ids) if slide_ids else slides_with_attention(store, found)
    if options.fold is not None and options.fold not in found.folds:
        expected = some(sorted(found.folds), 12)
        raise BadInput("BAD_OPTION", "the run has no such fold", key="--fold", expected=expected, got=options.fold)
    files = slide_files(options.slides, store.naming) if options.slides is not None else None
    if workers < 1:
        raise BadInput("BAD_OPTION", "at least one worker is needed", key="--workers", got=workers)
    made = _prepare(store, options.out, len(chosen))
    unit = partial(_one, store.url, found, options, files)
    with progress("heatmap", len(chosen), "slides") as bar:
        results: list[Result[Heatmap]] = run_units(
            unit, chosen, name=str, workers=workers, done=lambda result: bar.advance()
        )
    done = tuple(result.outcome for result in results if result.outcome is not None)
    failures = tuple(result.failure for result in results if result.failure is not None)
    if made and not done:
        options.out.rmdir()
    if not failures:
        return HeatmapReport(done, failures, Exit.OK)
    return HeatmapReport(done, failures, Exit.SOME_FAILED if done else max(result.exit for result in results))


def _one(
    store_url: str, run: AttentionRun, options: HeatmapOptions, files: SlideFiles | None, slide_id: str
) -> Heatmap:
    return write_heatmap(slide_attention(open_store(store_url), run, slide_id, options.fold), options, files)


def write_heatmap(shown: SlideAttention, options: HeatmapOptions, files: SlideFiles | None = None) -> Heatmap:
    """Write one slide's files; each appears whole or not at all.

    Raises:
        BadInput: ``UNWRITABLE``. BadSlide: if ``files`` does not have the slide, or cannot be read.
    """
    png, geojson = _places(options.out, shown.slide.slide_id)
    top = shown.order[: options.top]
    pictures, reason = _pictures(shown, top, files)
    drawn = None
    if png is not None:
        from mirror_eval.figures.heatmap import MOST_PX, draw_heatmap
        from mirror_eval.figures.slides import map_of

        images = pictures.images if pictures is not None else ()
        shape = map_of(shown, options.top, MOST_PX)
        drawn = draw_heatmap(shape, shown.slide.slide_id, _subtitle(shown), _notes(shown, pictures, reason), images)
    if geojson is not None:
        write_features(geojson, attention_features(shown, options.top))
    if png is not None and drawn is not None:
        write_whole(png, drawn.png)
    return Heatmap(
        slide_id=shown.slide.slide_id,
        run=shown.run,
        fold=shown.fold,
        part=shown.part,
        tiles=shown.tiling.rows,
        not_weighed=int((~shown.weighed).sum()),
        tile_um=shown.tile_um,
        half_share=shown.half_share,
        top=tuple(_top_tile(shown, mark, tile) for mark, tile in enumerate(top.tolist(), start=1)),
        pictures=pictures.source if pictures is not None else None,
        reason=reason,
        png=png,
        map_px=drawn.map_px if drawn is not None else None,
        geojson=geojson,
    )


def _pictures(
    shown: SlideAttention, top: np.ndarray, files: SlideFiles | None
) -> tuple[TilePictures | None, str | None]:
    """Pictures of the top tiles, or why there are none; files that were named must serve."""
    try:
        return tile_pictures(shown, top.tolist(), files), None
    except BadSlide as error:
        if files is not None:
            raise
        return None, f"{error.message}; {error.hint}"


def _top_tile(shown: SlideAttention, mark: int, tile: int) -> TopTile:
    x, y = map(int, shown.coords[tile])
    weight, relative, percentile = (float(a[tile]) for a in (shown.weights, shown.relative, shown.percentile))
    return TopTile(mark, x, y, weight, relative, percentile)


# For the eye --------------------------------------------------------------------------------------------------------


def _subtitle(shown: SlideAttention) -> str:
    width = f" of {shown.tile_um:g} µm" if shown.tile_um else ""
    return f"run {shown.run}, fold {shown.fold}: {PART_NAMES[shown.part]}  ·  {shown.tiling.rows:,} tiles{width}"


def _notes(shown: SlideAttention, pictures: TilePictures | None, reason: str | None) -> str:
    colour = (
        "Colour: how many percent of the slide's tiles have less attention; in brackets the weight there, 1× is an "
        f"even share. Half of the attention lies on {shown.half_share:.0%} of the tiles (50% if all weighed alike)."
    )
    notes = [colour]
    if not shown.weighed.all():
        notes.append(f"{int((~shown.weighed).sum()):,} tiles were not shown to the network and have no colour.")
    if pictures is not None:
        where = "the slide's file" if pictures.source == "slide" else "the stored thumbnail"
        notes.append(f"Framed: the {len(pictures.images)} tiles with most attention, shown from {where}.")
    else:
        notes.append(f"Framed: the tiles with most attention; not shown by themselves: {reason}.")
    notes.append("Attention says where the network looked, not why.")
    return " ".join(notes)


# Files --------------------------------------------------------------------------------------------------------------


def _chosen(store: Store, slide_ids: Sequence[str]) -> list[str]:
    """Ids of the slides to draw, sorted."""
    unknown = sorted({one for one in slide_ids if not store.has(schema.slide(one))})
    if unknown:
        message = f"{len(unknown)} of the slides are not in the store"
        hint = "give slide ids: names of slide files without their ending"
        raise BadInput("NOT_FOUND", message, file=store.url, key="SLIDE_ID", got=some(unknown), hint=hint)
    keys = {to_key(one) for one in slide_ids}
    return sorted(str(store.document(f"slides/{key}").attributes["slide_id"]) for key in keys)


def _is_file(out: Path) -> bool:
    return out.suffix.lower() in _KINDS and not out.is_dir()


def _places(out: Path, slide_id: str) -> tuple[Path | None, Path | None]:
    """Where PNG and GeoJSON of a slide go; None for one that is not wanted."""
    if _is_file(out):
        wanted = _KINDS[out.suffix.lower()]
        return (out if wanted == "png" else None), (out if wanted == "geojson" else None)
    name = f"{to_key(slide_id)}-attention"
    return out / f"{name}.png", out / f"{name}.geojson"


def _prepare(store: Store, out: Path, slides: int) -> bool:
    """Refuse a place that could not end well; make the folder. Returns whether it is new."""
    if "://" not in store.url:
        place, inside = out.resolve(), Path(store.url).resolve()
        if place == inside or inside in place.parents:
            raise BadInput("BAD_OPTION", "the files must lie outside the store", file=out, key="--out")
    check_folder(out)
    if _is_file(out):
        if slides > 1:
            hint = "name a folder"
            raise BadInput("BAD_OPTION", f"one file cannot hold {slides} slides", file=out, key="--out", hint=hint)
        return False
    new = not out.is_dir()
    try:
        out.mkdir(exist_ok=True)
    except FileExistsError:
        hint = "name a folder, or a file that ends in .png or .geojson"
        raise BadInput("BAD_PATH", "this is a file, a folder was expected", file=out, key="--out", hint=hint) from None
    except OSError as error:
        raise unwritable(out, error) from None
    return new
