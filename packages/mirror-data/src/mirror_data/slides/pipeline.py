"""One slide from file to features: tissue, grid, one streaming pass, then three records committed in order.

Nothing of a slide is written before all of it is known, so a slide that fails half way leaves nothing behind. What is
committed with equal parameters is used as it stands (`committed`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mirror_data import store as stores
from mirror_data.errors import BadSlide, StoreError
from mirror_data.runner import usable_cores
from mirror_data.slides.committed import FOUND, committed_slide, committed_tiling, is_current
from mirror_data.slides.direct import Opened, open_fastest
from mirror_data.slides.encoders import Encoder, EncoderSpec, load_encoder
from mirror_data.slides.grid import lay_grid
from mirror_data.slides.options import RegionOptions, TileOptions
from mirror_data.slides.quality import Verdict, count_verdicts
from mirror_data.slides.reader import SlideReader, check_file
from mirror_data.slides.regions import Regions, qupath_origin, region_mask, regions_of
from mirror_data.slides.sources import SlideSource
from mirror_data.slides.stream import encode_tiles
from mirror_data.slides.tissue import TissueParameters, find_tissue
from mirror_data.slides.treatment import StainFit, fit_slide, stain_record, treatment_of
from mirror_data.store import Features, Slide, Store, Tiling, schema


@dataclass(frozen=True)
class SlideJob:
    """One slide to tile, as it crosses to a worker."""

    source: SlideSource
    store_url: str
    options: TileOptions
    workers: int = 1  # processes that share the machine


@dataclass(frozen=True)
class SlideOutcome:
    """A slide that is in the store."""

    slide_id: str
    tiles: int
    skipped: bool  # it was there already
    mpp: float
    mpp_source: str
    dropped: Mapping[str, int]  # tiles left out after judging them, by reason


def tile_slide(job: SlideJob, report: Callable[[int], None] = lambda tiles: None) -> SlideOutcome:
    """Tile one slide into the store.

    Args:
        report: told the number of tiles of each encoded batch.

    Raises:
        BadSlide: the slide cannot be used: the codes of `mirror_data.slides.reader` and, if asked for, of
            `mirror_data.slides.regions`; ``TOO_COARSE``, ``STAIN_NOT_FOUND``, ``NOT_FINITE``, or ``CHANGED`` if the
            file is edited meanwhile.
        StoreError: ``MISMATCH`` if the slide is committed with other parameters and ``overwrite`` is not set.
        Busy: another process is tiling this slide.
    """
    source, options = job.source, job.options
    check_file(source.path)
    before = _stamp(source.path)
    store = stores.open_store(job.store_url)
    with (
        store.claim(f"tile {source.slide_id}"),
        open_fastest(source.path, stated_mpp=source.stated_mpp, mpp_override=options.mpp_override) as opened,
    ):
        encoder = encoder_of(options.encoder, job.workers)
        plan = _plan(store, opened, source, options, encoder)
        if not plan.skipped:
            plan, values = _encode(plan, opened.reader, options, encoder, report)
            if _stamp(source.path) != before:
                raise BadSlide("CHANGED", "the file changed while it was read", file=source.path, hint="run again")
            _commit(store, plan, values, options.overwrite)
        reader, tiling = opened.reader, plan.tiling
        dropped = tiling.parameters.get(FOUND, {}).get("dropped", {})
        return SlideOutcome(source.slide_id, tiling.rows, plan.skipped, reader.mpp, reader.mpp_source, dropped)


@functools.lru_cache(maxsize=1)
def encoder_of(spec: EncoderSpec, workers: int) -> Encoder:
    """The encoder, loaded once a process; ``workers`` processes share the cores."""
    import torch

    torch.set_num_threads(max(1, min(torch.get_num_threads(), usable_cores() // workers)))
    return load_encoder(spec.name, spec.weights, spec.precision, spec.device)


@dataclass(frozen=True)
class _Plan:
    """The records of a slide; ``new_...`` are not in the store yet."""

    slide: Slide
    new_slide: bool
    tiling: Tiling  # if new, its tiles may still be judged
    new_tiling: bool
    features: Features  # without values
    skipped: bool  # nothing is left to do


def _plan(store: Store, opened: Opened, source: SlideSource, options: TileOptions, encoder: Encoder) -> _Plan:
    """What is committed and what is to be made."""
    overwrite = options.overwrite
    slide = committed_slide(store, _bare_slide(opened, source, options), overwrite)
    new_slide = slide.tissue is None
    if new_slide:
        slide = _with_tissue(slide, opened.reader, options.tissue)
    regions = None if options.regions is None else _read_regions(opened.reader, source, options.regions)
    tiling = _bare_tiling(slide.slide_id, options, regions)
    if not new_slide:
        tiling = committed_tiling(store, tiling, overwrite)
    new_tiling = tiling.coords is None
    if new_tiling:
        tiling = _with_tiles(tiling, opened.reader, slide, options, regions)
    features = Features(
        slide_id=slide.slide_id,
        tiling=tiling.name,
        encoder=options.features,
        values=np.zeros((0, encoder.width), np.float16),
        weights_sha256=encoder.weights_sha256,
        transform=_transform(encoder, options),
        precision=encoder.precision,
    )
    asked = {name: getattr(features, name) for name in ("encoder", "weights_sha256", "transform", "precision")}
    path = schema.features(slide.slide_id, tiling.name, features.encoder)
    present = not new_tiling and is_current(store, path, asked, overwrite)
    return _Plan(slide, new_slide, tiling, new_tiling, features, present and not overwrite)


def _transform(encoder: Encoder, options: TileOptions, stain: StainFit | None = None) -> dict[str, Any]:
    """What is done to a tile before the encoder sees it."""
    return {**encoder.transform.record(), **stain_record(options.stain, stain)}


def _bare_slide(opened: Opened, source: SlideSource, options: TileOptions) -> Slide:
    """The slide's record but for its tissue."""
    reader = opened.reader
    origin = qupath_origin(reader.properties)
    return Slide(
        slide_id=source.slide_id,
        patient_id=source.patient_id,
        size=reader.size,
        mpp=reader.mpp,
        mpp_source=reader.mpp_source,
        reader=reader.name if opened.reason is None else f"{reader.name} (not read directly: {opened.reason})",
        source={
            **({} if source.is_opaque else {"name": source.path.name}),
            "size_bytes": source.path.stat().st_size,
            "quickhash": reader.properties.get("openslide.quickhash-1"),
            **({"qupath_origin": list(origin)} if any(origin) else {}),
        },
        tissue_parameters=asdict(options.tissue),
    )


def _with_tissue(slide: Slide, reader: SlideReader, parameters: TissueParameters) -> Slide:
    tissue = find_tissue(reader, parameters)
    found = {"threshold": tissue.threshold, "transparent_share": tissue.transparent_share}
    return replace(
        slide,
        tissue=tissue.mask,
        thumbnail=tissue.thumbnail,
        tissue_mpp=tissue.mpp,
        tissue_parameters={**slide.tissue_parameters, FOUND: found},
    )


def _read_regions(reader: SlideReader, source: SlideSource, options: RegionOptions) -> Regions:
    origin = qupath_origin(reader.properties)
    named = source.own_id or source.slide_id
    found = regions_of(options.place, named, reader.size, classes=options.classes, origin=origin)
    return replace(found, file=f"{source.slide_id}{Path(found.file).suffix}") if source.is_opaque else found


def _bare_tiling(slide_id: str, options: TileOptions, regions: Regions | None) -> Tiling:
    """The tiling's record but for its tiles."""
    grid = options.grid
    drawn = {} if regions is None else {"regions": regions.record()}
    return Tiling(
        slide_id=slide_id,
        name=options.tiling,
        rows=0,
        coords=None,
        tile_px=grid.tile_px,
        mpp=grid.mpp,
        overlap=grid.overlap,
        min_tissue=grid.min_tissue,
        parameters=options.tiling_parameters() | drawn,
    )


def _with_tiles(
    tiling: Tiling, reader: SlideReader, slide: Slide, options: TileOptions, regions: Regions | None
) -> Tiling:
    if slide.tissue is None or slide.tissue_mpp is None:
        raise StoreError("MISMATCH", "the slide in the store has no tissue mask", key=slide.slide_id)
    mask = slide.tissue
    if regions is not None:
        mask = mask & region_mask(regions, (mask.shape[0], mask.shape[1]), slide.tissue_mpp / reader.mpp)
    grid = lay_grid(reader, mask, slide.tissue_mpp, options.grid)
    return replace(
        tiling,
        rows=len(grid.coords),
        coords=grid.coords,
        tile_px_level0=grid.tile_px_level0,
        read_level=grid.read_level,
        parameters={**tiling.parameters, FOUND: {"candidates": grid.candidates}},
    )


def _encode(
    plan: _Plan,
    reader: SlideReader,
    options: TileOptions,
    encoder: Encoder,
    report: Callable[[int], None],
) -> tuple[_Plan, np.ndarray]:
    """The features of a plan, and the plan with the tiles that were kept and what was found while reading them."""
    stain = fit_slide(reader, plan.slide, plan.tiling, options)
    treatment = treatment_of(options, stain, judge=plan.new_tiling)
    before = reader.transparent
    encoded = encode_tiles(
        reader, plan.tiling, encoder, batch_size=options.batch_size, treatment=treatment, report=report
    )
    plan = replace(plan, features=replace(plan.features, transform=_transform(encoder, options, stain)))
    if plan.new_tiling:
        plan = replace(plan, tiling=_judged(plan.tiling, encoded.verdicts, reader.transparent - before))
    return plan, encoded.features


def _judged(tiling: Tiling, verdicts: np.ndarray, transparent_px: int) -> Tiling:
    """A tiling without the tiles that were not kept, and with the counts of what was found."""
    if tiling.coords is None:
        return tiling
    found = {**tiling.parameters[FOUND], "transparent_px": transparent_px}
    if "quality" in tiling.parameters:
        found |= {"judged": len(verdicts), "dropped": count_verdicts(verdicts).dropped()}
    coords = tiling.coords[verdicts == Verdict.KEPT]
    return replace(tiling, rows=len(coords), coords=coords, parameters={**tiling.parameters, FOUND: found})


def _commit(store: Store, plan: _Plan, values: np.ndarray, overwrite: bool) -> None:
    """Write what is new, top down; if it replaces something, all of it at once."""
    tiling = schema.tiling(plan.slide.slide_id, plan.tiling.name)
    features = schema.features(plan.slide.slide_id, plan.tiling.name, plan.features.encoder)
    top = schema.slide(plan.slide.slide_id) if plan.new_slide else tiling if plan.new_tiling else features
    with store.replacing(top) if overwrite and store.has(top) else contextlib.nullcontext(store) as place:
        if plan.new_slide:
            stores.write_slide(place, plan.slide)
        if plan.new_tiling:
            stores.write_tiling(place, plan.tiling)
        stores.write_features(place, replace(plan.features, values=values))


def _stamp(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino
