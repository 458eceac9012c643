"""CLAM: ``patches/{slide}.h5`` (coords), ``h5_files/{slide}.h5`` (features and coords), ``pt_files/{slide}.pt``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mirror_data.errors import BadInput, BadSlide
from mirror_data.exchange.bags import ForeignBag, Source, as_slide_id
from mirror_data.exchange.hdf5 import attributes, first_number, open_hdf5, read_dataset
from mirror_data.tables import check_file
from mirror_data.versions import require_torch


def find(path: str | Path, patches: str | Path | None = None) -> list[Source]:
    """The bags of a folder or file.

    Args:
        path: a features folder (with h5_files or pt_files in it, or the .h5 or .pt files themselves), a folder of
            coordinate files, or one file.
        patches: folder of the coordinate files, for .pt files and for the tile size.

    Raises:
        BadInput: ``NOT_FOUND``.
    """
    path = Path(path)
    if not path.is_dir():
        check_file(path)
        files = [path]
    else:
        inner = [folder for name in ("h5_files", "pt_files") if (folder := path / name).is_dir()]
        folder = inner[0] if inner else path
        files = sorted(file for file in folder.iterdir() if file.suffix in (".h5", ".pt"))
    return [Source(_slide_of(file), file, 0, _beside(file, patches)) for file in files]


def _slide_of(file: Path) -> str:
    """From the name in the file, which survives renaming, else from the file's."""
    if file.suffix == ".h5":
        with open_hdf5(file) as opened:
            if "coords" in opened and isinstance(name := attributes(opened, "coords").get("name"), str) and name:
                return as_slide_id(name)
    return as_slide_id(file.name)


def _beside(file: Path, patches: str | Path | None) -> Path | None:
    if patches is None:
        return None
    if not Path(patches).is_dir():
        raise BadInput("NOT_FOUND", "there is no such folder", file=patches, key="--patches")
    found = Path(patches) / f"{file.stem}.h5"
    return found if found.is_file() else None


def read(source: Source) -> ForeignBag:
    """One bag, or the coordinates alone where the file has no features.

    Raises:
        BadSlide: ``NOT_A_BAG``, ``UNSAFE_FORMAT``, ``BOMB``, ``MISMATCH``, ...
    """
    features = coords = None
    known: Mapping[str, Any] = {}
    if source.path.suffix == ".pt":
        features = read_tensor(source.path)
    else:
        with open_hdf5(source.path) as file:
            features = read_dataset(file, "features", source.path, required=False)
            coords = read_dataset(file, "coords", source.path, required=features is None)
            known = {} if coords is None else attributes(file, "coords")
    if source.extra is not None:
        with open_hdf5(source.extra) as file:
            grid = read_dataset(file, "coords", source.extra)
            known = {**attributes(file, "coords"), **known}
        if coords is not None and grid is not None and not np.array_equal(coords, grid):
            message = "the coordinates beside the features differ from those of the patches folder"
            raise BadSlide("MISMATCH", message, file=source.path)
        coords = grid
    patch, downsample = first_number(known.get("patch_size")), first_number(known.get("downsample")) or 1.0
    size: Any = known.get("level_dim")
    return ForeignBag(
        source.slide_id,
        "import clam",
        None if features is None else features.reshape(-1, features.shape[-1]),
        coords,
        slide_size=(round(size[0] * downsample), round(size[1] * downsample)) if _is_pair(size) else None,
        tile_px=None if patch is None else round(patch),
        tile_px_level0=None if patch is None else patch * downsample,
        parameters={"patch_level": known["patch_level"]} if "patch_level" in known else {},
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)


def read_tensor(path: Path) -> np.ndarray:
    """The tensor of a .pt file, read without running anything in it.

    Raises:
        BadSlide: ``NEEDS_TORCH``; ``UNSAFE_FORMAT`` if it holds more than plain tensors; ``NOT_A_BAG``.
    """
    try:
        import torch
    except ImportError:
        hint = "install mirror-data[slides], or import the h5 files"
        raise BadSlide("NEEDS_TORCH", "reading .pt files needs torch", file=path, hint=hint) from None
    require_torch()  # an old one's weights_only is no shield
    import pickle

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        message = "the .pt file holds more than tensors and could run code"
        raise BadSlide("UNSAFE_FORMAT", message, file=path, hint="import the h5 files") from None
    except (RuntimeError, OSError, EOFError, ValueError):
        raise BadSlide("NOT_A_BAG", "this is no .pt file, or it is damaged", file=path) from None
    if not isinstance(tensor, torch.Tensor):
        raise BadSlide("NOT_A_BAG", "the .pt file holds no single tensor", file=path, got=type(tensor).__name__)
    return tensor.float().numpy()
