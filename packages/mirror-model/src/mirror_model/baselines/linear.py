"""A linear classifier of the mean tile and the genes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mirror_model.baselines.config import LinearConfig
from mirror_model.baselines.supervised import Classifier, Scored
from mirror_model.mirror import Shapes
from mirror_model.slide_encoder import mean_tile, valid_tiles
from mirror_model.tasks import Task


class Linear(Classifier):
    """Mean-pooled tile features beside the genes, one linear layer: (B, N, P) and (B, G) -> (B, K)."""

    def __init__(self, config: LinearConfig, shapes: Shapes, task: Task) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.model.dropout)
        self.head = nn.Linear(shapes.tile_width + shapes.genes, task.outputs)
        # The problem is convex, so it may start anywhere. Adam moves every number alike: among thousands of weights a
        # bias that starts at 0 comes too late, and every class is predicted as often as any other.
        nn.init.zeros_(self.head.weight)
        self.head.bias.data = torch.tensor(task.base)

    def forward(self, tiles: Tensor, counts: Tensor, expression: Tensor | None, *, weights: bool = False) -> Scored:
        assert expression is not None
        mean = mean_tile(tiles, valid_tiles(tiles, counts))  # (B, P)
        return Scored(self.head(self.dropout(torch.cat([mean, expression], 1))))
