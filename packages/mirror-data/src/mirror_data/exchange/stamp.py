"""STAMP: ``{extractor}/{slide}.h5`` with feats (N, P) and coords (N, 2) in micrometres."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from mirror_data.errors import BadSlide
from mirror_data.exchange.bags import ForeignBag, Source, as_slide_id
from mirror_data.exchange.hdf5 import attributes, first_number, open_hdf5, read_dataset
from mirror_data.tables import check_file


def find(path: str | Path) -> list[Source]:
    """The bags of an extractor's folder, or of one file.

    Raises:
        BadInput: ``NOT_FOUND``.
    """
    path = Path(path)
    if not path.is_dir():
        check_file(path)
        return [Source(as_slide_id(path.name), path)]
    return [Source(as_slide_id(file.name), file) for file in sorted(path.glob("*.h5"))]


def reader(slide_mpp: float | None):
    """How to read bags of slides of this many micrometres per pixel (None: not known)."""
    return partial(read, slide_mpp=slide_mpp)


def read(source: Source, *, slide_mpp: float | None = None) -> ForeignBag:
    """One bag. Micrometres become level-0 pixels by ``slide_mpp``; without it the tiles are put in raster order and
    their coordinates are left out, for nobody could place them on the slide.

    Raises:
        BadSlide: ``NOT_A_BAG``; ``BAD_VALUE`` if the coordinates are not in micrometres; ...
    """
    with open_hdf5(source.path) as file:
        features = read_dataset(file, "feats", source.path)
        micrometres = read_dataset(file, "coords", source.path)
        known = attributes(file)
    unit = known.get("unit", "um")
    if unit not in ("um", "µm", "micron", "microns", "micrometer", "micrometers"):
        raise BadSlide("BAD_VALUE", "the coordinates are not in micrometres", file=source.path, got=unit)
    side_um, side_px = first_number(known.get("tile_size_um")), first_number(known.get("tile_size_px"))
    extractor = known.get("extractor")
    bag = ForeignBag(
        source.slide_id,
        "import stamp",
        features,
        rank=micrometres,
        tile_px=None if side_px is None else round(side_px),
        mpp=side_um / side_px if side_um and side_px else None,
        parameters={"extractor": extractor} if isinstance(extractor, str) else {},
    )
    if slide_mpp is None or micrometres is None:
        return bag
    return replace(
        bag,
        coords=micrometres.astype(float) / slide_mpp,
        slide_mpp=slide_mpp,
        tile_px_level0=None if side_um is None else side_um / slide_mpp,
    )
