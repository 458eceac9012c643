"""The slide encoder: tiles of a bag to tokens and one embedding (paper, equation (1); a modified TransMIL).

Shapes: B bags, N most tiles of a bag, P tile features, D width, L places of the largest square.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirror_model.config import ModelConfig
from mirror_model.layers import Attention, AttentionBlock, ExactAttention, NystromAttention, PositionEncoder
from mirror_model.squares import Squares, lay_out


@dataclass(frozen=True)
class SlideTokens:
    """What the encoder makes of a batch of bags."""

    embedding: Tensor  # (B, D) CLS, or the attention pool; plus the mean skip where there is one
    tokens: Tensor  # (B, N, D)
    valid: Tensor | None  # (B, N) whether a token is a tile; None where all are
    weights: Tensor | None  # (B, N) weight of each tile in the embedding, sums to 1; when asked for


def make_attention(config: ModelConfig) -> Attention:
    """The attention of the slide encoder and its retention module."""
    shared = (config.dim, config.slide_heads, config.value_kernel, config.dropout)
    if config.attention == "exact":
        return ExactAttention(*shared)
    landmarks = config.landmarks or max(1, config.dim // 2)
    return NystromAttention(*shared, landmarks=landmarks, iterations=config.pinv_iterations)


class GatedPool(nn.Module):
    """Gated attention pooling (Ilse et al. 2018, arXiv 1802.04712): (B, N, D) -> (B, D), weights (B, N)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.tanh, self.gate, self.score = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, 1)

    def forward(self, tokens: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        scores = self.score(torch.tanh(self.tanh(tokens)) * torch.sigmoid(self.gate(tokens))).squeeze(-1)  # (B, N)
        scores = scores.float()
        if valid is not None:
            scores = scores.masked_fill(~valid, float("-inf"))
        weights = scores.softmax(-1)
        return torch.einsum("bn,bnd->bd", weights.to(tokens.dtype), tokens), weights


class SlideEncoder(nn.Module):
    """Linear and ReLU, square padding, CLS, attention blocks with the position encoder after the first, LayerNorm."""

    def __init__(self, config: ModelConfig, tile_width: int) -> None:
        super().__init__()
        D = config.dim
        self.tile_dropout = nn.Dropout(config.tile_dropout)
        self.embed = nn.Linear(tile_width, D)
        self.cls = nn.Parameter(torch.zeros(D))
        self.blocks = nn.ModuleList(AttentionBlock(D, make_attention(config)) for _ in range(config.slide_depth))
        self.position = PositionEncoder(D) if config.position == "ppeg" else None
        self.norm = nn.LayerNorm(D)
        self.pool = GatedPool(D) if config.pool == "attention" else None
        self.skip = nn.Linear(tile_width, D) if config.mean_skip else None
        nn.init.normal_(self.cls, std=0.02)

    def forward(self, tiles: Tensor, counts: Tensor | None = None, *, weights: bool = False) -> SlideTokens:
        """Encode bags.

        Args:
            tiles: (B, N, P); rows beyond a bag's own count are ignored.
            counts: (B,) tiles of each bag, at least 1; all N where None.
            weights: also return each tile's weight. With the attention pool they are its weights; otherwise those of the
                CLS token in the last block, mean over heads, without the CLS token's own share.
        """
        if counts is None:
            counts = torch.full((len(tiles),), tiles.shape[1], device=tiles.device)
        tiles = tiles[:, : int(counts.max())]
        B, N, P = tiles.shape
        every = bool((counts == N).all())
        valid = None if every else torch.arange(N, device=tiles.device)[None, :] < counts[:, None]  # (B, N)
        layout = lay_out(counts)
        tiles = self.tile_dropout(tiles)
        filled = torch.gather(tiles, 1, layout.source.unsqueeze(-1).expand(-1, -1, P))  # (B, L, P)
        x = F.relu(self.embed(filled))  # (B, L, D)
        x = torch.cat([self.cls.to(x.dtype).expand(B, 1, -1), x], 1)  # (B, 1 + L, D)
        mask = None if layout.mask is None else F.pad(layout.mask, (1, 0), value=True)
        cls_weights = None
        for number, block in enumerate(self.blocks):
            if weights and self.pool is None and number == len(self.blocks) - 1:
                cls_weights = _per_tile(block.cls_weights(x, mask)[:, 1:], layout, N)
            x = block(x, mask)
            if number == 0 and self.position is not None:
                x = self._place(x, layout)
        x = self.norm(x)
        embedding, tokens = x[:, 0], x[:, 1 : N + 1]
        if self.pool is not None:
            embedding, pooled = self.pool(tokens, valid)
            cls_weights = pooled if weights else None
        if self.skip is not None:
            embedding = embedding + self.skip(_mean(tiles, valid))
        return SlideTokens(embedding, tokens, valid, cls_weights)

    def _place(self, x: Tensor, layout: Squares) -> Tensor:
        """The position encoder on the tokens (B, 1 + L, D), CLS aside."""
        assert self.position is not None
        image = self.position(layout.image(x[:, 1:]))
        return torch.cat([x[:, :1], layout.sequence(image).to(x.dtype)], 1)


def _mean(tiles: Tensor, valid: Tensor | None) -> Tensor:
    """Mean tile of each bag (B, P)."""
    if valid is None:
        return tiles.mean(1)
    return (tiles * valid.unsqueeze(-1)).sum(1) / valid.sum(1, keepdim=True)


def _per_tile(weights: Tensor, layout: Squares, tiles: int) -> Tensor:
    """Weights of the places of the square (B, L) to weights of tiles (B, N): a tile shown twice gets both shares."""
    if layout.mask is not None:
        weights = weights * layout.mask
    summed = weights.new_zeros(len(weights), max(tiles, weights.shape[1])).scatter_add_(1, layout.source, weights)
    summed = summed[:, :tiles]
    return summed / summed.sum(1, keepdim=True)
