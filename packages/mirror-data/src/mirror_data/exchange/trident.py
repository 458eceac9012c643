"""TRIDENT: ``features_{encoder}/{slide}.h5`` with features and coords, ``patches/{slide}_patches.h5`` beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirror_data.errors import BadInput
from mirror_data.exchange.bags import ForeignBag, Source, as_slide_id
from mirror_data.exchange.hdf5 import attributes, first_number, open_hdf5, read_dataset
from mirror_data.tables import check_file

_MPP_AT_ONE = 10.0  # micrometres per pixel times magnification


def find(path: str | Path) -> list[Source]:
    """The bags of a features folder, or of one file of it.

    Raises:
        BadInput: ``NOT_FOUND``, ``BAD_OPTION`` for a job folder that holds several features folders.
    """
    path = Path(path)
    if not path.is_dir():
        check_file(path)
        files = [path]
    else:
        folders = sorted(folder for folder in path.glob("features_*") if folder.is_dir())
        if len(folders) > 1:
            got = ", ".join(folder.name for folder in folders)
            raise BadInput("BAD_OPTION", "the folder holds features of several encoders; name one", file=path, got=got)
        files = sorted((folders[0] if folders else path).glob("*.h5"))
    found = []
    for file in files:
        patches = file.parent.parent / "patches" / f"{file.stem}_patches.h5"
        slide = as_slide_id(file.name.removesuffix("_patches.h5") + ".h5" if "_patches" in file.name else file.name)
        found.append(Source(slide, file, 0, patches if patches.is_file() else None))
    return found


def read(source: Source) -> ForeignBag:
    """One bag, or the coordinates alone of a patches file.

    Raises:
        BadSlide: ``NOT_A_BAG``, ``UNSAFE_FORMAT``, ``BOMB``, ...
    """
    with open_hdf5(source.path) as file:
        features = read_dataset(file, "features", source.path, required=False)
        coords = read_dataset(file, "coords", source.path)
        known: Mapping[str, Any] = attributes(file, "coords")
    if source.extra is not None:
        with open_hdf5(source.extra) as file:
            known = {**attributes(file, "coords"), **known}
    target, size = first_number(known.get("target_magnification")), first_number(known.get("patch_size"))
    width, height = first_number(known.get("level0_width")), first_number(known.get("level0_height"))
    level0 = first_number(known.get("level0_magnification"))
    return ForeignBag(
        source.slide_id,
        "import trident",
        None if features is None else features.reshape(-1, features.shape[-1]),
        coords,
        slide_size=(round(width), round(height)) if width and height else None,
        tile_px=None if size is None else round(size),
        mpp=None if target is None else _MPP_AT_ONE / target,
        tile_px_level0=first_number(known.get("patch_size_level0")),
        overlap=round(first_number(known.get("overlap")) or 0),
        parameters={"level0_magnification": level0} if level0 else {},
    )
