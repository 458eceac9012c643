"""Metrics to TensorBoard or Weights & Biases, by accelerate's trackers (extra ``trackers``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from mirror_data.errors import BadInput

TrackerName = Literal["none", "tensorboard", "wandb"]
_NEEDS = {"tensorboard": ("accelerate", "tensorboard"), "wandb": ("accelerate", "wandb")}


class Tracker(Protocol):
    """Hears the metrics of every epoch."""

    def log(self, values: Mapping[str, float]) -> None: ...


class _Nobody:
    def log(self, values: Mapping[str, float]) -> None:
        """Nobody listens."""


class _Accelerate:
    def __init__(self, tracker: Any) -> None:
        self.tracker = tracker

    def log(self, values: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in values.items() if name != "epoch"}
        self.tracker.log(numbers, step=int(values["epoch"]))


NO_TRACKER: Tracker = _Nobody()


def require_tracker(name: TrackerName) -> None:
    """Refuse a tracker whose libraries are not there.

    Raises:
        BadInput: ``NOT_INSTALLED``.
    """
    missing = [package for package in _NEEDS.get(name, ()) if find_spec(package) is None]
    if missing:
        hint = "pip install 'mirror-model[trackers]'" + (" wandb" if name == "wandb" else "")
        message = "a library of this tracker is missing"
        raise BadInput("NOT_INSTALLED", message, key="runtime.track", expected=missing[0], got=name, hint=hint)


@contextmanager
def tracking(name: TrackerName, folder: Path, run: str, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    """A tracker for one fold; TensorBoard's files go to ``folder/tensorboard``.

    Args:
        run: how the fold is called, ``mirror/fold_0``.
        settings: kept beside the metrics; nested.

    Raises:
        BadInput: ``NOT_INSTALLED``.
    """
    require_tracker(name)
    if name == "none":
        yield NO_TRACKER
        return
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState(cpu=True)  # their logging asks it which process this is
    if name == "tensorboard":
        tracker: Any = TensorBoardTracker(run, folder / "tensorboard")
    else:
        tracker = WandBTracker("mirror", name=run, dir=str(folder))
    tracker.main_process_only = False  # only the first process of a training has a tracker: theirs need not ask
    tracker.start()
    tracker.store_init_configuration(_flat(settings))
    try:
        yield _Accelerate(tracker)
    finally:
        tracker.finish()


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted names; what is no number or truth value as text."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
