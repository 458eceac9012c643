"""ABMIL: attention-based deep multiple instance learning (Ilse et al. 2018, arXiv 1802.04712, equations 7 and 9)."""

from __future__ import annotations

from torch import Tensor, nn

from mirror_model.baselines.config import AbmilConfig
from mirror_model.baselines.supervised import Classifier, Scored
from mirror_model.mirror import Shapes
from mirror_model.slide_encoder import GatedPool, valid_tiles
from mirror_model.tasks import Task


class Abmil(Classifier):
    """Linear and ReLU on each tile, gated attention, weighted mean, linear: (B, N, P) -> (B, K)."""

    def __init__(self, config: AbmilConfig, shapes: Shapes, task: Task) -> None:
        super().__init__()
        model = config.model
        self.embed = nn.Sequential(nn.Linear(shapes.tile_width, model.dim), nn.ReLU(), nn.Dropout(model.dropout))
        self.pool = GatedPool(model.dim, model.attention_dim)
        self.head = nn.Linear(model.dim, task.outputs)

    def forward(self, tiles: Tensor, counts: Tensor, expression: Tensor | None, *, weights: bool = False) -> Scored:
        pooled, shares = self.pool(self.embed(tiles), valid_tiles(tiles, counts))  # (B, D), (B, N)
        return Scored(self.head(pooled), shares)
