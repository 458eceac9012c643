"""HDF5 files of other people, opened with care: no links to other files, no packed bombs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mirror_data.errors import BadSlide
from mirror_data.tables.bytes import MAX_RATIO, RATIO_FLOOR_BYTES


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The file, read-only.

    Raises:
        BadSlide: ``NOT_FOUND``, ``UNREADABLE``, ``NOT_A_BAG`` if it is no HDF5 file or is damaged.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise BadSlide("NOT_FOUND", "there is no such file", file=path) from None
    except PermissionError:
        raise BadSlide("UNREADABLE", "the file cannot be read", file=path) from None
    except OSError:
        raise BadSlide("NOT_A_BAG", "this is no HDF5 file, or it is damaged", file=path) from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError) as error:
            raise BadSlide("NOT_A_BAG", f"the HDF5 file is damaged: {error}", file=path) from None


def read_dataset(file: Any, name: str, path: Path, *, required: bool = True) -> np.ndarray | None:
    """A dataset of the file itself, whole; None if it is not there and need not be.

    Raises:
        BadSlide: ``NOT_A_BAG``; ``UNSAFE_FORMAT`` for data that lies in another file; ``BOMB``.
    """
    import h5py

    link = file.get(name, getlink=True) if name in file or required else None
    if link is None:
        if required:
            raise BadSlide("NOT_A_BAG", f"the file holds no {name}", file=path, got=", ".join(sorted(file))[:80])
        return None
    if not isinstance(link, h5py.HardLink):
        raise BadSlide("UNSAFE_FORMAT", f"{name} is a link to another place", file=path)
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise BadSlide("NOT_A_BAG", f"{name} is no array", file=path)
    if data.external or data.is_virtual:
        raise BadSlide("UNSAFE_FORMAT", f"{name} lies in another file", file=path)
    if data.nbytes > max(RATIO_FLOOR_BYTES, MAX_RATIO * path.stat().st_size):
        raise BadSlide("BOMB", f"{name} unpacks to more than {MAX_RATIO} times the file's size", file=path)
    return data[...]


def attributes(file: Any, name: str | None = None) -> Mapping[str, Any]:
    """Attributes of the file or one of its datasets, NumPy scalars as Python has them, bytes as text."""
    found = {}
    for key, value in (file if name is None else file[name]).attrs.items():
        plain = value.tolist() if hasattr(value, "tolist") else value
        found[str(key)] = plain.decode(errors="replace") if isinstance(plain, bytes) else plain
    return found


def first_number(value: Any) -> float | None:
    """A number, or the first of a list of them; None for anything else, 0 and below."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None
