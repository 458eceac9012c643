"""Region bags: one .npz of a cohort with feats (sum of M, P), offsets (S + 1) and slide_ids (S); no coordinates."""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from mirror_data.errors import BadInput
from mirror_data.exchange.bags import ForeignBag, Source, as_slide_id
from mirror_data.tables import check_file
from mirror_data.tables.bytes import MAX_RATIO, RATIO_FLOOR_BYTES, bomb


def find(path: str | Path) -> list[Source]:
    """The bags of a file.

    Raises:
        BadInput: ``NOT_FOUND``, ``NOT_A_BAG``, ``BOMB``, ``UNSAFE_FORMAT`` if it holds pickled objects.
    """
    path = Path(path)
    check_file(path)
    _, offsets, slides = _arrays(path)
    if len(offsets) != len(slides) + 1:
        got = f"{len(offsets)} offsets of {len(slides)} slides"
        raise BadInput("NOT_A_BAG", "offsets must be one more than slides", file=path, got=got)
    return [Source(as_slide_id(str(name)), path, item) for item, name in enumerate(slides)]


def read(source: Source) -> ForeignBag:
    """One slide's rows."""
    features, offsets, _ = _arrays(source.path)
    rows = features[offsets[source.item] : offsets[source.item + 1]]
    return ForeignBag(source.slide_id, "import bags", rows)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of all slides, offsets and slide names; read once while the file stays as it is."""
    state = path.stat()
    return _load(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _load(path: Path, _changed: int, _size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > max(RATIO_FLOOR_BYTES, MAX_RATIO * member.compress_size):
                    raise bomb(path)
        with np.load(path, allow_pickle=False) as file:
            features, offsets, slides = file["feats"], file["offsets"], file["slide_ids"]
    except KeyError:
        expected = "arrays feats, offsets, slide_ids"
        raise BadInput("NOT_A_BAG", "the file lacks an array", file=path, expected=expected) from None
    except ValueError as error:
        if "pickle" in str(error).lower():
            message = "the file holds pickled objects, which could run code"
            raise BadInput("UNSAFE_FORMAT", message, file=path) from None
        raise BadInput("NOT_A_BAG", "the file is damaged", file=path) from None
    except (zipfile.BadZipFile, OSError, EOFError):
        raise BadInput("NOT_A_BAG", "this is no .npz file, or it is damaged", file=path) from None
    if features.ndim != 2 or offsets.ndim != 1 or slides.ndim != 1:
        raise BadInput("NOT_A_BAG", "the arrays have wrong shapes", file=path)
    if len(offsets) and (offsets[0] != 0 or offsets[-1] != len(features) or (np.diff(offsets) < 0).any()):
        raise BadInput("NOT_A_BAG", "the offsets do not cut the features", file=path)
    return features, offsets, slides
