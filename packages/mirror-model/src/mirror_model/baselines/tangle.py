"""TANGLE (Jaume et al. 2024, arXiv 2405.11618): slides and expression aligned by contrast; pretraining only.

Shapes: B patients, N tiles, P tile features, G genes, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.baselines.config import TangleConfig
from mirror_model.batches import Batch
from mirror_model.learner import Applied, Cost, Encoded, Explained, similarity_to
from mirror_model.losses import info_nce
from mirror_model.mirror import Shapes
from mirror_model.slide_encoder import GatedPool, valid_tiles
from mirror_model.streams import NoiseSizes


@dataclass(frozen=True)
class PooledSlides:
    """Embeddings of bags."""

    embedding: Tensor  # (B, D)
    weights: Tensor  # (B, N) of each tile, sums to 1


class Tangle(nn.Module):
    """An ABMIL slide encoder of two layers before the attention, and a three-layer network for expression."""

    def __init__(self, config: TangleConfig, shapes: Shapes) -> None:
        super().__init__()
        D, dropout = config.model.dim, config.model.dropout
        layers = [self._layer(shapes.tile_width, D, dropout), self._layer(D, D, dropout)]
        self.embed = nn.Sequential(*layers)
        self.pool = GatedPool(D, config.model.attention_dim, dropout)
        self.rna = nn.Sequential(
            nn.Linear(shapes.genes, D), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(D, D), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(D, D),
        )  # fmt: skip

    @staticmethod
    def _layer(width: int, dim: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, dim), nn.LayerNorm(dim), nn.GELU(), nn.Dropout(dropout))

    def slide(self, tiles: Tensor, counts: Tensor) -> PooledSlides:
        """Bags (B, N, P) with ``counts`` (B,) tiles."""
        return PooledSlides(*self.pool(self.embed(tiles), valid_tiles(tiles, counts)))

    def forward(self, tiles: Tensor, counts: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of both modalities, (B, D) each."""
        return self.slide(tiles, counts).embedding, self.rna(expression)


class TangleLearner:
    """Symmetric InfoNCE on embeddings of length 1, with a fixed temperature."""

    task = None
    aligns = True

    def __init__(self, config: TangleConfig) -> None:
        self.config = config

    def build(self, shapes: Shapes) -> Tangle:
        return Tangle(self.config, shapes)

    def before_step(self, model: nn.Module) -> None:
        """Nothing has to hold."""

    def noise_sizes(self, model: nn.Module) -> NoiseSizes:
        return NoiseSizes()

    def encode(self, model: nn.Module, batch: Batch) -> Encoded:
        slide, rna = model(batch.tiles, batch.counts, batch.expression)
        slide_unit, rna_unit = (nnf.normalize(x.float(), dim=-1) for x in (slide, rna))
        nothing = torch.zeros(0, device=slide.device)  # no term is a mean over patients
        return Encoded(nothing, nothing, slide_unit, rna_unit, slide, rna)

    def cost(self, model: nn.Module, encoded: Encoded) -> Cost:
        scale = encoded.slide_pair.new_tensor(1 / self.config.model.temperature)
        loss = info_nce(encoded.slide_pair, encoded.rna_pair, scale)
        return Cost(loss, {"align": loss.detach()})

    def apply(self, model: nn.Module, batch: Batch, *, attention: bool = False) -> Applied:
        assert isinstance(model, Tangle)
        slide, rna, weights = None, None, None
        if batch.expression is not None:
            rna = model.rna(batch.expression)
        if batch.tiles is not None and batch.counts is not None:
            pooled = model.slide(batch.tiles, batch.counts)
            slide, weights = pooled.embedding, pooled.weights if attention else None
        aligned = [None if one is None else nnf.normalize(one.float(), dim=-1) for one in (slide, rna)]
        return Applied(slide, rna, None, weights, *aligned)

    def explained(self, model: nn.Module, batch: Batch) -> Explained:
        """How near a patient's expression is to the own slides; both modalities of everyone are needed."""
        assert isinstance(model, Tangle)
        assert batch.tiles is not None
        assert batch.counts is not None
        return similarity_to(model.slide(batch.tiles, batch.counts).embedding, model.rna)

    def diagnostics(self, model: nn.Module) -> dict[str, float]:
        return {}
