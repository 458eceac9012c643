"""One small interface to whole-slide images, and OpenSlide behind it.

`open_slide` says what is wrong with a file before anything is decoded. The codes it raises, all `BadSlide`:

    NOT_FOUND    no such file, or a link to nowhere
    UNREADABLE   no permission, or the disk fails
    NOT_A_SLIDE  a folder, an empty file, another format, a TIFF without tiles
    TRUNCATED    the file ends before its pixels do
    CORRUPT      directories, compression or pixels that cannot be decoded (also raised by ``read_region``)
    SPARSE       pixels that were never written
    TOO_LARGE    more pixels than a slide can have
    NO_MPP       no believable pixel size (see `mirror_data.slides.resolution`)

The label and macro images, which may show a patient's name, are never touched.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from mirror_data.errors import BadSlide
from mirror_data.slides.resolution import Resolution, resolve_mpp
from mirror_data.slides.tiff_layout import MAX_PIXELS, MAX_SIDE, Directory, read_directories
from mirror_data.versions import require_openslide

ALLOWED_PROPERTIES = (
    "aperio.AppMag",
    "aperio.MPP",
    "openslide.bounds-x",
    "openslide.bounds-y",
    "openslide.mpp-x",
    "openslide.mpp-y",
    "openslide.objective-power",
    "openslide.quickhash-1",
    "openslide.vendor",
    "tiff.ResolutionUnit",
    "tiff.XResolution",
    "tiff.YResolution",
)  # every other property may hold a name, a date or a barcode


@dataclass(frozen=True)
class Level:
    """One resolution of a slide; ``downsample`` 4 means a pixel is 4 level-0 pixels wide."""

    width: int
    height: int
    downsample: float


def true_downsample(base: tuple[int, int], level: tuple[int, int], downsample: float) -> float:
    """The factor between two levels, whole where their sizes allow it.

    OpenSlide divides the sizes, which scanners round to whole pixels: a slide 1021 wide halved twice is 256 wide, and
    1021 / 256 = 3.988 would place the far edge three quarters of a pixel off.
    """
    factor = round(downsample)
    whole = all(side // factor <= part <= -(-side // factor) for side, part in zip(base, level, strict=True))
    return float(factor) if factor and whole else float(downsample)


class SlideReader(Protocol):
    """Pixels of one slide. Safe to read from several threads."""

    name: str  # reader and version
    levels: tuple[Level, ...]  # level 0 is the finest
    mpp: float  # micrometres per level-0 pixel
    mpp_source: str
    properties: Mapping[str, str]  # allow-listed

    @property
    def size(self) -> tuple[int, int]: ...  # width, height at level 0

    @property
    def transparent(self) -> int: ...  # pixels read so far that were composed on white

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray: ...

    def close(self) -> None: ...


class OpenSlideReader:
    """A slide read by OpenSlide."""

    def __init__(self, path: Path, slide: Any, resolution: Resolution) -> None:
        import openslide

        self.path = path
        self.name = f"openslide {openslide.__library_version__}"
        self._factors = slide.level_downsamples  # OpenSlide's own, by which it divides the places it is asked for
        self.levels = tuple(
            Level(side[0], side[1], true_downsample(slide.dimensions, side, factor))
            for side, factor in zip(slide.level_dimensions, self._factors, strict=True)
        )
        self.mpp = float(resolution.mpp)
        self.mpp_source = resolution.source
        self.properties: Mapping[str, str] = allowed(slide.properties)
        self.transparent = 0
        self._counting = threading.Lock()
        self._slide = slide

    @property
    def size(self) -> tuple[int, int]:
        return self.levels[0].width, self.levels[0].height

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Pixels of a rectangle of a level.

        Args:
            x, y: top left in pixels of that level.
            width, height: in pixels of that level. What lies outside the level is white.

        Returns:
            uint8 (height, width, 3), RGB; transparent pixels are composed on white.

        Raises:
            BadSlide: ``CORRUPT``.
        """
        import openslide

        factor = self._factors[level]
        try:
            image = self._slide.read_region((round(x * factor), round(y * factor)), level, (width, height))
        except openslide.OpenSlideError as error:
            raise BadSlide(
                "CORRUPT",
                "a part of the slide cannot be decoded",
                file=self.path,
                key=f"level {level}, x {x}, y {y}",
                got=error,
                hint="copy the file again, or leave it out",
            ) from error
        rgba = np.asarray(image)  # (h, w, 4), not premultiplied
        alpha = rgba[..., 3]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        with self._counting:
            self.transparent += int((alpha < 255).sum())
        opacity = alpha[..., None].astype(np.uint16)
        return ((rgba[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)

    def close(self) -> None:
        self._slide.close()

    def __enter__(self) -> OpenSlideReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def allowed(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties that cannot name a patient."""
    return {name: properties[name] for name in ALLOWED_PROPERTIES if name in properties}


def open_slide(path: Path, *, stated_mpp: float | None = None, mpp_override: float | None = None) -> OpenSlideReader:
    """Open a slide, or say why it cannot be used.

    Args:
        stated_mpp: the slides table's micrometres per level-0 pixel, used if the file has none.
        mpp_override: the same for all slides, used if neither file nor table has any.

    Raises:
        BadSlide: with one of the codes listed at the top of this module.
        BadInput: ``OLD_LIBRARY``, ``NOT_INSTALLED``.
    """
    require_openslide()
    import openslide

    check_file(path)
    directories = read_directories(path)
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise _unsupported(path, directories) from None
    except openslide.OpenSlideError as error:
        raise _refused(path, error) from error
    try:
        _check_pixels(path, slide, directories)
        resolution = resolve_mpp(allowed(slide.properties), stated=stated_mpp, override=mpp_override, file=path)
        return OpenSlideReader(path, slide, resolution)
    except BaseException:
        slide.close()
        raise


def check_file(path: Path) -> None:
    """Refuse what is not a readable, non-empty, regular file."""
    try:
        mode = path.stat()
        if stat.S_ISDIR(mode.st_mode):
            raise BadSlide("NOT_A_SLIDE", "this is a folder", file=path, hint="name the slide files in it")
        if not stat.S_ISREG(mode.st_mode):
            raise BadSlide("NOT_A_SLIDE", "this is not a regular file", file=path)
        if mode.st_size == 0:
            raise BadSlide("NOT_A_SLIDE", "the file is empty", file=path, hint="copy or download it again")
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        message = "the link points to nothing" if path.is_symlink() else "there is no such file"
        raise BadSlide("NOT_FOUND", message, file=path, hint="check the path") from None
    except OSError as error:
        raise BadSlide(
            "UNREADABLE", "the file cannot be read", file=path, got=error.strerror, hint="check its permissions"
        ) from error


def _unsupported(path: Path, directories: tuple[Directory, ...] | None) -> BadSlide:
    if directories and all(directory.tile is None for directory in directories):
        message = "the TIFF is not tiled, so it cannot be read region by region"
        return BadSlide("NOT_A_SLIDE", message, file=path, hint="convert it to a tiled pyramid, for example with vips")
    message = "no reader knows this format"
    return BadSlide("NOT_A_SLIDE", message, file=path, hint="give Aperio, generic TIFF, NDPI, MIRAX, DICOM, ...")


def _refused(path: Path, error: Exception) -> BadSlide:
    """OpenSlide knows the format but not this file: a DICOM that is no slide, or damage."""
    import openslide

    if openslide.OpenSlide.detect_format(path) == "dicom":
        return BadSlide("NOT_A_SLIDE", "the DICOM file is not a whole-slide image", file=path, got=_reason(path, error))
    return BadSlide(
        "CORRUPT", "the slide cannot be opened", file=path, got=_reason(path, error), hint="copy the file again"
    )


def _reason(path: Path, error: Exception) -> str:
    """OpenSlide's words without the path, which the error names already."""
    return str(error).replace(f"{path}", path.name)


def _check_pixels(path: Path, slide: Any, directories: tuple[Directory, ...] | None) -> None:
    width, height = slide.dimensions
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadSlide("TOO_LARGE", "more pixels than a slide can have", file=path, got=f"{width} x {height}")
    vendor = slide.properties.get("openslide.vendor")
    if directories is None or vendor not in ("aperio", "generic-tiff"):
        return  # elsewhere absent tiles are how the format spells blank glass
    for directory in directories:
        # OpenSlide fills the holes of Aperio's lower levels, which a known encoder leaves, from the level above.
        is_base = (directory.width, directory.height) == (width, height)
        if directory.tile and (is_base or vendor == "generic-tiff"):
            empty = int((directory.byte_counts == 0).sum())
            if empty:
                raise BadSlide(
                    "SPARSE",
                    "pixels of the slide were never written",
                    file=path,
                    got=f"{empty} of {len(directory.byte_counts)} tiles are empty",
                    hint="copy or export the slide again",
                )
