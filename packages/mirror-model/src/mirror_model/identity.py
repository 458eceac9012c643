"""What decides a trained fold, and how two of them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Run, schema
from pydantic import SerializeAsAny, ValidationError, ValidationInfo, field_validator

from mirror_model.baselines.config import config_of
from mirror_model.config import TrainConfig
from mirror_model.network_config import Section
from mirror_model.tasks import TaskName

_NOT_COMPARED = ("cache_gb", "timeout_s", "track")  # of [runtime]: cannot change a result
_OF_RUN = ("tiling", "encoder", "genes", "task", "processes")  # what a run's record keeps beside its settings


class Identity(Section):
    """What decides a trained fold. Two trainings of equal identity are the same training."""

    method: str
    split: str
    fold: int
    tiling: str
    encoder: str
    genes: str | None
    task: TaskName | None = None  # what a supervised method is trained for
    processes: int = 1  # that shared every batch
    config: SerializeAsAny[TrainConfig]
    parents: dict[str, str]  # store path -> hash of what is trained on

    @field_validator("config", mode="before")
    @classmethod
    def _of_method(cls, config: Any, info: ValidationInfo) -> Any:
        """Settings read from JSON become those of the method; JSON does not say so itself."""
        if isinstance(config, TrainConfig) or "method" not in info.data:
            return config
        return config_of(info.data["method"]).model_validate(config)

    @classmethod
    def of_run(cls, run: Run, parents: dict[str, str]) -> Identity:
        """The identity that a committed run was trained under.

        Raises:
            StoreError: ``MISMATCH`` for a run that `mirror-model train` did not commit.
        """
        config = dict(run.config)
        beside = {name: config.pop(name) for name in _OF_RUN if name in config}
        known = {"method": run.method, "split": run.split, "fold": run.fold, "config": config, "parents": parents}
        try:
            return cls.model_validate({**known, **beside})
        except (ValidationError, BadInput):  # of its settings, or of a method that is none of ours
            message, hint = "this run was not trained by `mirror-model train`", "name a run that was, or train one"
            key, got = schema.run(run.name, run.fold), f"method {run.method}"
            raise StoreError("MISMATCH", message, key=key, got=got, hint=hint) from None

    def run_config(self) -> dict[str, Any]:
        """What a run's record keeps as its configuration; `of_run` reads it."""
        return self.config.model_dump(mode="json") | {name: getattr(self, name) for name in _OF_RUN}

    def compared(self) -> dict[str, Any]:
        """As nested values, without what cannot change a result."""
        values = self.model_dump(mode="json")
        for key in _NOT_COMPARED:
            values["config"]["runtime"].pop(key)
        return values

    def require_equal(self, other: Identity, file: object, hint: str) -> None:
        """Refuse to go on with another training's state.

        Raises:
            StoreError: ``MISMATCH``, naming every difference.
        """
        found = differences(self.compared(), other.compared())
        if found:
            message = "this was trained with other settings or data"
            raise StoreError("MISMATCH", message, file=file, got="; ".join(map(_shortened, found)), hint=hint)


def _shortened(difference: str) -> str:
    """Hashes by their first 12 digits."""
    words = difference.split(" ")
    return " ".join(w[:12] if len(w) == 64 and set(w) <= set("0123456789abcdef") else w for w in words)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], above: str = "") -> list[str]:
    """Dotted keys whose values differ between two nested mappings, as ``key: theirs -> ours``."""
    found: list[str] = []
    for key in sorted({*ours, *theirs}):
        here, there = ours.get(key), theirs.get(key)
        name = f"{above}{key}"
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found += differences(here, there, f"{name}.")
        elif here != there and not (_nan(here) and _nan(there)):
            found.append(f"{name}: {there} -> {here}")
    return found


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
