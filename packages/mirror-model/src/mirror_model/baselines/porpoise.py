"""PORPOISE (Chen et al. 2022, doi 10.1016/j.ccell.2022.07.004): slides by gated attention, RNA by a self-normalising
network, fused by gated outer products (Chen et al. 2020, doi 10.1109/TMI.2020.3021387, section III-D).

Shapes: B patients, N tiles, P tile features, G genes, D width of both branches, F width of a gated vector, K outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.baselines.config import PorpoiseConfig
from mirror_model.baselines.supervised import Classifier, Scored
from mirror_model.mirror import Shapes
from mirror_model.slide_encoder import GatedPool, valid_tiles
from mirror_model.tasks import Task


class GatedBilinear(nn.Module):
    """Every product of two gated vectors: (B, D) and (B, D) -> (B, D).

    Each vector is reduced to F, gated by a sigmoid of both, and given a 1, so that the outer product also holds the two
    vectors themselves; an MLP reads it.
    """

    def __init__(self, dim: int, fused: int, dropout: float) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(nn.Linear(dim, fused) for _ in range(2))
        self.gate = nn.ModuleList(nn.Linear(2 * dim, fused) for _ in range(2))
        self.mix = nn.ModuleList(nn.Linear(fused, fused) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.Linear((fused + 1) ** 2, dim), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip

    def gated(self, vectors: tuple[Tensor, Tensor], which: int) -> Tensor:
        """One of the two vectors as it enters the product, (B, F + 1), the last entry 1."""
        gate = torch.sigmoid(self.gate[which](torch.cat(vectors, 1)))  # (B, F)
        mixed = nnf.relu(self.mix[which](gate * nnf.relu(self.reduce[which](vectors[which]))))  # (B, F)
        return nnf.pad(self.dropout(mixed), (0, 1), value=1.0)

    def forward(self, slide: Tensor, rna: Tensor) -> Tensor:
        both = (slide, rna)
        product = torch.einsum("bi,bj->bij", self.gated(both, 0), self.gated(both, 1))  # (B, F + 1, F + 1)
        return self.mlp(self.dropout(product.flatten(1)))


class SelfNormalising(nn.Module):
    """Two layers of ELU with alpha dropout, (B, G) -> (B, D).

    Weights start with variance 1 / fan-in (Klambauer et al. 2017, arXiv 1706.02515).
    """

    def __init__(self, genes: int, hidden: int, dim: int, dropout: float) -> None:
        super().__init__()
        layers = [nn.Linear(genes, hidden), nn.Linear(hidden, dim)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.AlphaDropout(dropout)

    def forward(self, expression: Tensor) -> Tensor:
        x = expression
        for layer in self.layers:
            x = self.dropout(nnf.elu(layer(x)))
        return x


class Porpoise(Classifier):
    """Both branches, their fusion, one linear layer: (B, N, P) and (B, G) -> (B, K)."""

    def __init__(self, config: PorpoiseConfig, shapes: Shapes, task: Task) -> None:
        super().__init__()
        model = config.model
        self.l1 = model.l1
        self.embed = nn.Sequential(nn.Linear(shapes.tile_width, model.slide_dim), nn.ReLU(), nn.Dropout(model.dropout))
        self.pool = GatedPool(model.slide_dim, model.attention_dim, model.dropout)
        self.slide = nn.Sequential(nn.Linear(model.slide_dim, model.dim), nn.ReLU(), nn.Dropout(model.dropout))
        self.rna = SelfNormalising(shapes.genes, model.rna_dim, model.dim, model.dropout)
        self.fusion = GatedBilinear(model.dim, model.fused_dim, model.dropout)
        self.head = nn.Linear(model.dim, task.outputs)

    def forward(self, tiles: Tensor, counts: Tensor, expression: Tensor | None, *, weights: bool = False) -> Scored:
        assert expression is not None
        pooled, shares = self.pool(self.embed(tiles), valid_tiles(tiles, counts))  # (B, slide_dim), (B, N)
        fused = self.fusion(self.slide(pooled), self.rna(expression))  # (B, D)
        return Scored(self.head(fused), shares)

    def penalty(self) -> Tensor | None:
        """The L1 norm of the RNA branch, times its factor."""
        if not self.l1:
            return None
        return self.l1 * torch.stack([parameter.abs().sum() for parameter in self.rna.parameters()]).sum()
