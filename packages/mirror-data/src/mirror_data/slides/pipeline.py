"""One slide from file to features: tissue, grid, one streaming pass, then three records committed in order.

Nothing of a slide is written before all of it is known, so a slide that fails half way leaves nothing behind. What is
committed with equal parameters is used as it stands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mirror_data import store as stores
from mirror_data.errors import BadInput, BadSlide, StoreError
from mirror_data.runner import usable_cores
from mirror_data.slides.encoders import Encoder, EncoderSpec, load_encoder
from mirror_data.slides.grid import GridParameters, lay_grid
from mirror_data.slides.reader import SlideReader, check_file, open_slide
from mirror_data.slides.resolution import LEAST_MPP, MOST_MPP, is_plausible
from mirror_data.slides.sources import SlideSource
from mirror_data.slides.stream import encode_tiles
from mirror_data.slides.tissue import TissueParameters, find_tissue
from mirror_data.store import Features, Slide, Store, Tiling, schema
from mirror_data.store.commit import canonical


@dataclass(frozen=True)
class TileOptions:
    """What decides the records of a slide, and how they are made."""

    grid: GridParameters = field(default_factory=GridParameters)
    tissue: TissueParameters = field(default_factory=TissueParameters)
    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    mpp_override: float | None = None  # for slides that state no believable pixel size
    batch_size: int = 32
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise BadInput("BAD_OPTION", "a batch needs at least one tile", key="--batch-size", got=self.batch_size)
        if self.mpp_override is not None and not is_plausible(self.mpp_override, self.mpp_override):
            expected = f"micrometres per pixel between {LEAST_MPP} and {MOST_MPP:g}"
            raise BadInput(
                "BAD_OPTION", "not a pixel size", key="--mpp-override", expected=expected, got=self.mpp_override
            )


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


def tile_slide(job: SlideJob, report: Callable[[int], None] = lambda tiles: None) -> SlideOutcome:
    """Tile one slide into the store.

    Args:
        report: told the number of tiles of each encoded batch.

    Raises:
        BadSlide: the slide cannot be used: the codes of `mirror_data.slides.reader`, ``TOO_COARSE``, ``NOT_FINITE``, or
            ``CHANGED`` if the file is edited meanwhile.
        StoreError: ``MISMATCH`` if the slide is committed with other parameters and ``overwrite`` is not set.
        Busy: another process is tiling this slide.
    """
    source, options = job.source, job.options
    check_file(source.path)
    before = _stamp(source.path)
    store = stores.open_store(job.store_url)
    with (
        store.claim(f"tile {source.slide_id}"),
        open_slide(source.path, stated_mpp=source.stated_mpp, mpp_override=options.mpp_override) as reader,
    ):
        plan = _plan(store, reader, source, options, encoder_of(options.encoder, job.workers))
        skipped = plan.features is not None
        if not skipped:
            values = encode_tiles(reader, plan.tiling, plan.encoder, batch_size=options.batch_size, report=report)
            if _stamp(source.path) != before:
                raise BadSlide("CHANGED", "the file changed while it was read", file=source.path, hint="run again")
            _commit(store, plan, values, options.overwrite)
        return SlideOutcome(source.slide_id, plan.tiling.rows, skipped, reader.mpp, reader.mpp_source)


@functools.lru_cache(maxsize=1)
def encoder_of(spec: EncoderSpec, workers: int) -> Encoder:
    """The encoder, loaded once a process; ``workers`` processes share the cores."""
    import torch

    torch.set_num_threads(max(1, min(torch.get_num_threads(), usable_cores() // workers)))
    return load_encoder(spec.name, spec.weights, spec.precision, spec.device)


@dataclass(frozen=True)
class _Plan:
    """The records of a slide; ``new_...`` are not in the store yet, ``features`` is None until encoded."""

    slide: Slide
    new_slide: bool
    tiling: Tiling
    new_tiling: bool
    features: Mapping[str, Any] | None
    encoder: Encoder


def _plan(store: Store, reader: SlideReader, source: SlideSource, options: TileOptions, encoder: Encoder) -> _Plan:
    """What is committed and what is to be made."""
    slide = _committed_slide(store, _bare_slide(reader, source, options), options)
    new_slide = slide.tissue is None
    if new_slide:
        tissue = find_tissue(reader, options.tissue)
        found = {"threshold": tissue.threshold, "transparent_share": tissue.transparent_share}
        slide = replace(
            slide,
            tissue=tissue.mask,
            thumbnail=tissue.thumbnail,
            tissue_mpp=tissue.mpp,
            tissue_parameters={**slide.tissue_parameters, "found": found},
        )
    tiling = None if new_slide else _committed_tiling(store, slide, options)
    new_tiling = tiling is None
    if tiling is None:
        tiling = _make_tiling(reader, slide, options.grid)
    wanted = {
        "encoder": encoder.name,
        "weights_sha256": encoder.weights_sha256,
        "transform": encoder.transform.record(),
        "precision": encoder.precision,
    }
    path = schema.features(slide.slide_id, tiling.name, encoder.name)
    present = not new_tiling and _is_current(store, path, wanted, options.overwrite)
    return _Plan(slide, new_slide, tiling, new_tiling, wanted if present and not options.overwrite else None, encoder)


def _bare_slide(reader: SlideReader, source: SlideSource, options: TileOptions) -> Slide:
    """The slide's record but for its tissue."""
    return Slide(
        slide_id=source.slide_id,
        patient_id=source.patient_id,
        size=reader.size,
        mpp=reader.mpp,
        mpp_source=reader.mpp_source,
        reader=reader.name,
        source={
            "name": source.path.name,
            "size_bytes": source.path.stat().st_size,
            "quickhash": reader.properties.get("openslide.quickhash-1"),
        },
        tissue_parameters=asdict(options.tissue),
    )


def _committed_slide(store: Store, bare: Slide, options: TileOptions) -> Slide:
    """The slide as committed with equal parameters, else ``bare``."""
    wanted = {
        "patient_id": bare.patient_id,
        "size": bare.size,
        "mpp": bare.mpp,
        "mpp_source": bare.mpp_source,
        "source": bare.source,
        "tissue_parameters": bare.tissue_parameters,
    }
    if not _is_current(store, schema.slide(bare.slide_id), wanted, options.overwrite):
        return bare
    try:
        return stores.read_slide(store, bare.slide_id)
    except StoreError:
        if options.overwrite:
            return bare
        raise


def _committed_tiling(store: Store, slide: Slide, options: TileOptions) -> Tiling | None:
    grid = options.grid
    wanted = {"tile_px": grid.tile_px, "mpp": grid.mpp, "overlap": 0, "min_tissue": grid.min_tissue}
    if not _is_current(store, schema.tiling(slide.slide_id, grid.name), wanted, options.overwrite):
        return None
    try:
        return stores.read_tiling(store, slide.slide_id, grid.name)
    except StoreError:
        if options.overwrite:
            return None
        raise


def _is_current(store: Store, path: str, wanted: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether a record is committed with these attributes; one that differs counts as absent if it may be replaced."""
    if not store.has(path):
        return False
    try:
        attributes = store.document(path).attributes
    except StoreError:
        if overwrite:
            return False
        raise
    found = {name: attributes.get(name) for name in wanted}
    if isinstance(found.get("tissue_parameters"), dict):
        found["tissue_parameters"] = {k: v for k, v in found["tissue_parameters"].items() if k != "found"}
    different = sorted(name for name, value in wanted.items() if canonical(found[name]) != canonical(value))
    if different and not overwrite:
        raise StoreError(
            "MISMATCH",
            "the store holds this with other parameters",
            file=store.url,
            key=path,
            got=f"another {', '.join(different)}",
            hint="use --overwrite to replace it, or another store",
        )
    return not different


def _make_tiling(reader: SlideReader, slide: Slide, parameters: GridParameters) -> Tiling:
    if slide.tissue is None or slide.tissue_mpp is None:
        raise StoreError("MISMATCH", "the slide in the store has no tissue mask", key=slide.slide_id)
    grid = lay_grid(reader, slide.tissue, slide.tissue_mpp, parameters)
    return Tiling(
        slide_id=slide.slide_id,
        name=parameters.name,
        rows=len(grid.coords),
        coords=grid.coords,
        tile_px=parameters.tile_px,
        mpp=parameters.mpp,
        tile_px_level0=grid.tile_px_level0,
        min_tissue=parameters.min_tissue,
        read_level=grid.read_level,
        parameters={"candidates": grid.candidates},
    )


def _commit(store: Store, plan: _Plan, values: Any, overwrite: bool) -> None:
    if plan.new_slide:
        stores.write_slide(store, plan.slide, overwrite=overwrite)
    if plan.new_tiling:
        stores.write_tiling(store, plan.tiling, overwrite=overwrite)
    encoder = plan.encoder
    features = Features(
        slide_id=plan.slide.slide_id,
        tiling=plan.tiling.name,
        encoder=encoder.name,
        values=values,
        weights_sha256=encoder.weights_sha256,
        transform=encoder.transform.record(),
        precision=encoder.precision,
    )
    stores.write_features(store, features, overwrite=overwrite)


def _stamp(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino
