"""Names, layout and version of the cohort store. ``docs/format.md`` is the normative description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mirror_data.ids import to_key

FORMAT_VERSION = 1
BAG_CHUNK_ROWS = 256  # rows of one inner chunk of a bag
PRIVATE = ".mirror"  # locks and logs; not part of the data tree

RNA = "rna"
PATIENTS = "patients"


def is_record(path: str) -> bool:
    """Whether a path is that of a record with records below it (a slide, a tiling, a run's fold), not a container."""
    parts = path.split("/")
    return (parts[0] == "slides" and len(parts) in (2, 4)) or (parts[0] == "runs" and len(parts) == 3)


def slide(slide_id: str) -> str:
    return f"slides/{to_key(slide_id)}"


def tiling(slide_id: str, name: str) -> str:
    return f"{slide(slide_id)}/tilings/{to_key(name)}"


def features(slide_id: str, tiling_name: str, encoder: str) -> str:
    return f"{tiling(slide_id, tiling_name)}/features/{to_key(encoder)}"


def all_features(tiling_name: str, encoder: str) -> str:
    """Pattern that stands for one encoder's features of every slide, as a parent of what is derived from them."""
    return f"slides/*/tilings/{to_key(tiling_name)}/features/{to_key(encoder)}"


def split(name: str) -> str:
    return f"splits/{to_key(name)}"


def genes(name: str, fold: int) -> str:
    return f"genes/{to_key(name)}/fold_{fold}"


def run(name: str, fold: int) -> str:
    return f"runs/{to_key(name)}/fold_{fold}"


def embeddings(run_name: str, fold: int, modality: str, aligned: bool = False) -> str:
    return f"{run(run_name, fold)}/{'aligned' if aligned else 'embeddings'}/{to_key(modality)}"


def predictions(run_name: str, fold: int, task: str) -> str:
    return f"{run(run_name, fold)}/predictions/{to_key(task)}"


def attention(run_name: str, fold: int, slide_id: str) -> str:
    return f"{run(run_name, fold)}/attention/{to_key(slide_id)}"


_BELOW_RUN = ("embeddings", "aligned", "predictions", "attention")
_PLACES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "slide": lambda a: slide(a["slide_id"]),
    "tiling": lambda a: tiling(a["slide_id"], a["name"]),
    "features": lambda a: features(a["slide_id"], a["tiling"], a["encoder"]),
    "expression": lambda a: RNA,
    "patients": lambda a: PATIENTS,
    "split": lambda a: split(a["name"]),
    "genes": lambda a: genes(a["name"], a["fold"]),
    "run": lambda a: run(a["name"], a["fold"]),
    "embeddings": lambda a: embeddings(a["run"], a["fold"], a["modality"], a.get("aligned", False)),
    "predictions": lambda a: predictions(a["run"], a["fold"], a["task"]),
    "attention": lambda a: attention(a["run"], a["fold"], a["slide_id"]),
}


def is_container(path: str) -> bool:
    """Whether a path is that of a group which only holds records, or other such groups."""
    parts = path.split("/")
    slides = parts[0] == "slides" and parts[2:3] in ([], ["tilings"]) and parts[4:5] in ([], ["features"])
    runs = parts[0] == "runs" and parts[3:] in ([], *([name] for name in _BELOW_RUN))
    return (
        (slides and len(parts) in (1, 3, 5))
        or (runs and len(parts) in (1, 2, 4))
        or parts == ["splits"]
        or (parts[0] == "genes" and len(parts) in (1, 2))
    )


def place(kind: str, attributes: Mapping[str, Any]) -> str:
    """Where a record of this kind stands, by what its own attributes say; "" for an unknown kind.

    Raises:
        KeyError: the attributes do not say it.
    """
    return _PLACES.get(kind, lambda attributes: "")(attributes)
