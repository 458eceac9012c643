"""Pictures of single tiles: read from the slide's file where it is at hand, else cut out of the stored thumbnail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from mirror_data.errors import BadInput, BadSlide
from mirror_data.opaque import AS_THEY_ARE, Naming
from mirror_data.store import Slide

from mirror_eval.attention import SlideAttention

LEAST_PX = 24  # width of a tile on a thumbnail below which nobody recognises anything
MOST_PX = 512  # width of a picture read from a file


@dataclass(frozen=True)
class TilePictures:
    """Pictures of some tiles, uint8 (h, w, 3) each, in the order asked for.

    ``source``: "slide", as the encoder saw them but for stain normalisation; or "thumbnail".
    """

    images: tuple[np.ndarray, ...]
    source: Literal["slide", "thumbnail"]


@dataclass(frozen=True)
class SlideFiles:
    """The slide files of a folder, by slide id; ids that more than one file has are in ``repeated``."""

    folder: Path
    paths: Mapping[str, Path]
    repeated: frozenset[str]

    def of(self, slide_id: str) -> Path:
        """The file of a slide.

        Raises:
            BadSlide: ``NOT_FOUND``, ``DUPLICATE_ID``.
        """
        if slide_id in self.paths:
            return self.paths[slide_id]
        if slide_id in self.repeated:
            hint = "leave one of them there"
            raise BadSlide("DUPLICATE_ID", "the slide has two files", file=self.folder, key=slide_id, hint=hint)
        hint = "add it, name another folder, or leave --slides out"
        raise BadSlide("NOT_FOUND", "the slide's file is not there", file=self.folder, key=slide_id, hint=hint)


def slide_files(place: str | Path, naming: Naming = AS_THEY_ARE) -> SlideFiles:
    """Find the slide files in a folder and below it (or one file).

    Args:
        naming: how the store names slides.

    Raises:
        BadInput: ``NOT_FOUND`` if there is no such place, ``EMPTY`` if no file in it is called like a slide.
    """
    from mirror_data.slides.sources import find_slides

    place = Path(place)
    if not place.exists():
        raise BadInput("NOT_FOUND", "there is no such folder of slides", file=place, key="--slides")
    found = find_slides([place], naming=naming)
    repeated = frozenset(failure.id for failure in found.failures if failure.code == "DUPLICATE_ID")
    if not found.slides and not repeated:
        raise BadInput("EMPTY", "the folder holds no slide files", file=place, key="--slides")
    return SlideFiles(place, {source.slide_id: source.path for source in found.slides}, repeated)


def from_thumbnail(shown: SlideAttention, tiles: Sequence[int]) -> TilePictures:
    """Cut tiles out of the stored thumbnail.

    Raises:
        BadSlide: ``NO_THUMBNAIL``; ``TOO_COARSE`` if a tile is less than 24 pixels wide there.
    """
    thumbnail, slide_id = shown.slide.thumbnail, shown.slide.slide_id
    hint = "name the folder of the slide files with --slides"
    if thumbnail is None or shown.slide.size is None:
        raise BadSlide("NO_THUMBNAIL", "the store has no thumbnail of this slide", key=slide_id, hint=hint)
    scale = np.array([thumbnail.shape[1], thumbnail.shape[0]]) / shown.slide.size
    width = shown.tile_px_level0 * scale
    if width.min() < LEAST_PX:
        message = f"a tile is only {width.min():.0f} pixels wide on the stored thumbnail"
        raise BadSlide("TOO_COARSE", message, key=slide_id, expected=f"at least {LEAST_PX}", hint=hint)
    first = np.rint(shown.coords[list(tiles)] * scale).astype(int)
    last = np.rint(shown.coords[list(tiles)] * scale + width).astype(int)
    cut = [thumbnail[y:y_end, x:x_end] for (x, y), (x_end, y_end) in zip(first, last, strict=True)]
    return TilePictures(tuple(cut), "thumbnail")


def from_file(path: Path, shown: SlideAttention, tiles: Sequence[int]) -> TilePictures:
    """Read tiles from the slide's file, which must be the one that was tiled.

    Raises:
        BadSlide: ``MISMATCH`` if it is another file than the store was made from; whatever `open_slide` raises.
        BadInput: ``NOT_INSTALLED`` without mirror-data's extra for slides.
    """
    try:
        import openslide  # noqa: F401
        from mirror_data.slides.grid import read_tile
        from mirror_data.slides.reader import check_file, open_slide
    except ImportError as error:
        hint = "install mirror-data with its extra, mirror-data[slides], or leave --slides out"
        raise BadInput("NOT_INSTALLED", f"reading slide files needs {error.name}", key="--slides", hint=hint) from None
    check_file(path)
    _same(path, shown.slide, size_bytes=path.stat().st_size)
    # A pixel size matters here only if the store was told one that the file lacks.
    with open_slide(path, stated_mpp=shown.slide.mpp, mpp_override=1.0) as reader:
        _same(path, shown.slide, quickhash=reader.properties.get("openslide.quickhash-1"), size=reader.size)
        width = shown.tile_px_level0
        pixels = min(shown.tiling.tile_px or round(width), MOST_PX)
        fine = [k for k, level in enumerate(reader.levels) if level.downsample * pixels <= width * 1.01]
        level = max(fine, key=lambda k: reader.levels[k].downsample, default=0)
        how = {"level": level, "tile_px_level0": width, "tile_px": pixels}
        return TilePictures(tuple(read_tile(reader, *map(int, shown.coords[tile]), **how) for tile in tiles), "slide")


def _same(path: Path, slide: Slide, **found: object) -> None:
    """Refuse a file that differs from the recorded one in what both are known of."""
    known = {"size": slide.size, **{name: slide.source.get(name) for name in ("size_bytes", "quickhash")}}
    for name, value in found.items():
        if value is not None and known[name] is not None and value != known[name]:
            hint = "name the folder of the files that were tiled"
            message = "this is not the file that was tiled"
            raise BadSlide(
                "MISMATCH", message, file=path, key=name, expected=known[name], got=value, hint=hint
            )  # fmt: skip


def tile_pictures(shown: SlideAttention, tiles: Sequence[int], files: SlideFiles | None) -> TilePictures:
    """Pictures from the slide's file if files are at hand, else from the thumbnail.

    Raises:
        BadSlide: as `SlideFiles.of`, `from_file` and `from_thumbnail`.
    """
    if files is not None:
        return from_file(files.of(shown.slide.slide_id), shown, tiles)
    return from_thumbnail(shown, tiles)
