"""Newton's method with conjugate gradients: minimise a smooth convex function without ever forming its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MOST_STEPS = 100
EXACT = 1e-14
ROUGH = 1e-7  # enough to compare strengths by their held-out loss


@dataclass(frozen=True)
class Local:
    """A function at one point: value, gradient (p,), and the product of its Hessian with a vector (p,)."""

    value: float
    gradient: np.ndarray
    product: Callable[[np.ndarray], np.ndarray]


def minimise(
    function: Callable[[np.ndarray], Local], start: np.ndarray, curvature: np.ndarray, precision: float = EXACT
) -> np.ndarray:
    """The point of least value.

    Args:
        function: convex, twice differentiable.
        start: (p,).
        curvature: (p,) rough second derivative along each parameter, > 0; the closer, the fewer products are needed.
        precision: stop when a step could gain no more than this share of the value.
    """
    point, here = start, function(start)
    for _ in range(_MOST_STEPS):
        step = _newton_step(here, curvature, precision)
        slope = float(here.gradient @ step)
        if -slope <= precision * (1.0 + abs(here.value)):
            break
        size, there = 1.0, function(point + step)
        rounding = 1e-14 * (1.0 + abs(here.value))
        while not there.value <= here.value + 1e-4 * size * slope + rounding and size > 1e-8:
            size *= 0.5
            there = function(point + size * step)
        point, here = point + size * step, there
    return point


def _newton_step(here: Local, curvature: np.ndarray, precision: float) -> np.ndarray:
    """Solve Hessian @ step = -gradient by conjugate gradients, to a tenth of the residual or what still matters."""
    step, rest = np.zeros_like(here.gradient), -here.gradient
    scaled = rest / curvature
    direction, size = scaled, float(rest @ scaled)
    goal = max(0.01 * size, 0.1 * precision * (1.0 + abs(here.value)))
    for _ in range(2 * len(rest) + 20):
        if size <= max(goal, 1e-300):
            break
        pushed = here.product(direction)
        bend = float(direction @ pushed)
        if bend <= 0:  # flat to rounding
            break
        step = step + size / bend * direction
        rest = rest - size / bend * pushed
        scaled = rest / curvature
        size, before = float(rest @ scaled), size
        direction = scaled + size / before * direction
    return step
