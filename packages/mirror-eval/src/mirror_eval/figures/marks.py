"""Where the numbers of marked tiles go, so that they hide neither the tiles nor each other."""

from __future__ import annotations

from itertools import product

import numpy as np

_STEPS = (0.42, 0.62, 1.2, 1.9, 2.8)  # distance of a number from its tile's edge, in diameters
_DIRECTIONS = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (1, 0), (0, 1), (-1, 0))


def place_marks(boxes: np.ndarray, diameter: float, size: tuple[int, int]) -> np.ndarray:
    """Centres for round numbers beside their boxes; one that fits nowhere goes on its box.

    Args:
        boxes: float (k, 4): left, top, right, bottom.
        diameter: of a number.
        size: width and height of the picture, which the numbers stay within.

    Returns:
        float (k, 2).
    """
    placed: list[np.ndarray] = []
    for box in boxes:
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        fitting = (
            place
            for step, direction in product(_STEPS, _DIRECTIONS)
            if _is_free(place := middle + np.array(direction) * (half + step * diameter), diameter, boxes, placed, size)
        )
        placed.append(next(fitting, middle))
    return np.array(placed).reshape(-1, 2)


def _is_free(
    place: np.ndarray, diameter: float, boxes: np.ndarray, placed: list[np.ndarray], size: tuple[int, int]
) -> bool:
    radius = diameter / 2
    if (place < radius).any() or (place > np.array(size) - radius).any():
        return False
    nearest = np.clip(place, boxes[:, :2], boxes[:, 2:])  # (k, 2), of each box to the place
    if (np.linalg.norm(nearest - place, axis=1) < radius).any():
        return False
    return all(np.linalg.norm(other - place) >= diameter for other in placed)
