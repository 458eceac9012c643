"""Few-shot support sets: k patients a class, drawn without replacement, many times over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mirror_data.errors import BadInput

DRAWS = 20  # support sets at least: one set says more about its luck than about the encoder


@dataclass(frozen=True)
class Shots:
    """How support sets are drawn. ``shots`` patients of each stratum (class, time bin) without replacement, in each of
    ``draws`` sets, at least 20.

    Raises:
        BadInput: ``BAD_OPTION``.
    """

    shots: int = 10
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise BadInput("BAD_OPTION", "a class needs a patient", key="--shots", expected="1 or more", got=self.shots)
        if self.draws < DRAWS:
            expected = f"{DRAWS} or more"
            raise BadInput("BAD_OPTION", "too few support sets", key="--draws", expected=expected, got=self.draws)

    def sets(
        self, stratum: np.ndarray, seed: Sequence[int] | int, *, needs: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Rows of each support set, rising. Within a set nobody stands twice; sets are drawn independently.

        Args:
            stratum: (n,) class, or time bin, of each development patient.
            needs: (n,) bool; a set without such a patient (an event) is drawn again.

        Raises:
            BadInput: ``NOT_ESTIMABLE`` where a stratum has fewer patients than shots, or no needed patient turns up.
        """
        rows = [np.flatnonzero(stratum == name) for name in np.unique(stratum)]
        fewest = min(map(len, rows))
        if fewest < self.shots:
            message = "a class or time bin has fewer development patients than shots"
            expected = f"at most {fewest}"
            raise BadInput("NOT_ESTIMABLE", message, key="--shots", expected=expected, got=self.shots)
        rng = np.random.default_rng(seed)
        return [self._draw(rows, rng, needs) for _ in range(self.draws)]

    def _draw(self, rows: list[np.ndarray], rng: np.random.Generator, needs: np.ndarray | None) -> np.ndarray:
        for _ in range(1000):
            chosen = np.sort(np.concatenate([rng.choice(mine, self.shots, replace=False) for mine in rows]))
            if needs is None or needs[chosen].any():
                return chosen
        hint = "use more shots"
        raise BadInput("NOT_ESTIMABLE", "no support set holds an event", key="--shots", got=self.shots, hint=hint)
