"""Which tiles of a patient's slides a batch holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mirror_model.config import DataConfig


class Draw(Protocol):
    """Which tiles of a patient's slides a batch holds. ``stream`` is the patient's own."""

    def take(self, slides: list[np.ndarray], stream: np.random.Generator | None) -> list[np.ndarray]: ...


@dataclass(frozen=True)
class RandomDraw:
    """Up to ``tiles`` of each slide without replacement, in token order.

    With ``shuffled`` the order is random as well. With ``fixed`` a patient gets exactly ``tiles`` in all, repeated
    where there are fewer.
    """

    tiles: int
    shuffled: bool = False
    fixed: bool = False

    def take(self, slides: list[np.ndarray], stream: np.random.Generator | None) -> list[np.ndarray]:
        assert stream is not None
        if not self.fixed:
            return [self._one(values, stream) for values in slides]
        together = np.concatenate(slides)
        return [together[fixed_rows(len(together), self.tiles, stream)]]

    def _one(self, values: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        if len(values) <= self.tiles and not self.shuffled:
            return values
        rows = stream.permutation(len(values))[: self.tiles]
        return values[rows if self.shuffled else np.sort(rows)]


@dataclass(frozen=True)
class EvenDraw:
    """Every tile of each slide, or ``most`` evenly spaced ones; no chance in it."""

    most: int

    def take(self, slides: list[np.ndarray], stream: np.random.Generator | None = None) -> list[np.ndarray]:
        return [values if len(values) <= self.most else values[self.rows(len(values))] for values in slides]

    def rows(self, count: int) -> np.ndarray:
        """Which of ``count`` rows are taken, in rising order."""
        return np.arange(count) if count <= self.most else np.arange(self.most) * count // self.most


@dataclass(frozen=True)
class MeanDraw:
    """One tile a patient: the mean of all."""


def random_draw(config: DataConfig) -> RandomDraw | MeanDraw:
    """The draw of a training step."""
    if config.bag == "mean":
        return MeanDraw()
    return RandomDraw(config.tiles, config.token_order == "none", config.bag == "fixed")


def fixed_rows(count: int, exactly: int, rng: np.random.Generator) -> np.ndarray:
    """Exactly that many of ``count`` rows in rising order, each taken equally often up to one."""
    whole, rest = divmod(exactly, count)
    return np.sort(np.concatenate([np.tile(np.arange(count), whole), rng.permutation(count)[:rest]]))
