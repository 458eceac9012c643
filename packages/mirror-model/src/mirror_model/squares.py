"""Where the tiles of a batch of bags stand: in a sequence filled up to a square, and in that square as an image.

Shapes: B bags, N most tiles of a bag, n tiles of one bag, s = ceil(sqrt(n)) side of its square, S largest side,
L = S * S places of the sequence. Each bag keeps its own square whatever the others need, so its result never depends
on its neighbours in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Squares:
    """A batch's layout.

    ``mask`` and the two maps are None where every bag fills the same square.
    """

    side: int  # S
    source: Tensor  # (B, L) the tile that stands at each place; the first tiles again beyond n, up to s * s
    mask: Tensor | None  # (B, L) whether the place belongs to the bag's square
    to_image: Tensor | None  # (B * L,) place of the sequence shown by each pixel; B * L stands for nothing
    from_image: Tensor | None  # (B * L,) pixel that shows each place of the sequence

    def image(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, S, S, D), each bag's square in the top left, zeros around it."""
        B, L, D = tokens.shape
        if self.to_image is None:
            return tokens.reshape(B, self.side, self.side, D)
        rows = torch.cat([tokens.reshape(B * L, D), tokens.new_zeros(1, D)])
        return rows.index_select(0, self.to_image).view(B, self.side, self.side, D)

    def sequence(self, image: Tensor) -> Tensor:
        """(B, S, S, D) -> (B, L, D)."""
        B, S, _, D = image.shape
        rows = image.reshape(B * S * S, D)
        return (rows if self.from_image is None else rows.index_select(0, self.from_image)).view(B, S * S, D)


def lay_out(counts: Tensor) -> Squares:
    """Layout of bags of ``counts`` (B,) tiles, each at least 1."""
    sides = counts.double().sqrt().ceil().long()  # (B,), exact: squares of integers have exact roots in double
    side = int(sides.max())
    place = torch.arange(side * side, device=counts.device)[None, :]  # (1, L)
    filled = (sides * sides)[:, None]  # (B, 1) tokens of each bag's square
    inside = place < filled  # (B, L)
    source = torch.where(place < counts[:, None], place, place - counts[:, None])
    source = torch.where(inside, source, 0)
    if bool(inside.all()):
        return Squares(side, source, None, None, None)
    B, L = inside.shape
    own = sides[:, None]
    row, column = place // side, place % side  # of a pixel
    shown = (row < own) & (column < own)
    bag = torch.arange(B, device=counts.device)[:, None] * L
    to_image = torch.where(shown, bag + row * own + column, B * L)
    from_image = torch.where(inside, bag + (place // own) * side + place % own, bag)
    return Squares(side, source, inside, to_image.flatten(), from_image.flatten())
