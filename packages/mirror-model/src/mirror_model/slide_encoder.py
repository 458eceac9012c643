"""The slide encoder: tiles of a bag to tokens and one embedding (paper, equation (1); a modified TransMIL).

Bags of a batch are encoded in groups whose tiles fill a square of the same side: a bag's result depends neither on the
others in the batch nor on padding, and little work is spent on padding.

Shapes: B bags, N most tiles of a bag, n tiles of one bag, s = ceil(sqrt(n)) side of its square, P tile features,
D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.layers import Attention, AttentionBlock, ExactAttention, NystromAttention, PositionEncoder
from mirror_model.network_config import SlideConfig


@dataclass(frozen=True)
class SlideTokens:
    """What the encoder makes of bags whose squares have one side."""

    embedding: Tensor  # (B, D) CLS, or the attention pool; plus the mean skip where there is one
    tokens: Tensor  # (B, N, D)
    valid: Tensor | None  # (B, N) whether a token is a tile; None where all are
    weights: Tensor | None  # (B, N) weight of each tile in the embedding, sums to 1; when asked for


@dataclass(frozen=True)
class Group:
    """The bags of a batch whose squares have one side."""

    rows: Tensor  # (b,) places in the batch
    counts: Tensor  # (b,) tiles of each, on the CPU
    side: int

    @property
    def tiles(self) -> int:
        """Most tiles of a bag of the group."""
        return int(self.counts.max())


def sides_of(counts: Tensor) -> Tensor:
    """Side of the square that holds each bag; exact, as integers have exact square roots in double."""
    return counts.double().sqrt().ceil().long()


def groups_of(counts: Tensor) -> Iterator[Group]:
    """The groups of a batch of bags with ``counts`` (B,) tiles, each at least 1; small squares first."""
    counts = counts.cpu()
    sides = sides_of(counts)
    for side in sides.unique().tolist():
        rows = (sides == side).nonzero().squeeze(1)
        yield Group(rows, counts[rows], side)


def make_attention(config: SlideConfig) -> Attention:
    """The attention of the slide encoder and its retention module."""
    shared = (config.dim, config.slide_heads, config.value_kernel, config.dropout)
    if config.attention == "exact":
        return ExactAttention(*shared)
    landmarks = config.landmarks or max(1, config.dim // 2)
    return NystromAttention(*shared, landmarks=landmarks, iterations=config.pinv_iterations)


class GatedPool(nn.Module):
    """Gated attention pooling (Ilse et al. 2018, arXiv 1802.04712): (B, N, D) -> (B, D), weights (B, N).

    Args:
        hidden: width of the attention, D unless given.
    """

    def __init__(self, dim: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = hidden or dim
        self.tanh, self.gate, self.score = nn.Linear(dim, hidden), nn.Linear(dim, hidden), nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        gated = torch.tanh(self.tanh(tokens)) * torch.sigmoid(self.gate(tokens))  # (B, N, hidden)
        scores = self.score(self.dropout(gated)).squeeze(-1).float()  # (B, N)
        if valid is not None:
            scores = scores.masked_fill(~valid, float("-inf"))
        weights = scores.softmax(-1)
        return torch.einsum("bn,bnd->bd", weights.to(tokens.dtype), tokens), weights


class SlideEncoder(nn.Module):
    """Linear and ReLU, square padding, CLS, attention blocks with the position encoder after the first, LayerNorm."""

    def __init__(self, config: SlideConfig, tile_width: int) -> None:
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

    def forward(self, tiles: Tensor, counts: Tensor, *, weights: bool = False) -> SlideTokens:
        """Encode bags whose squares have one side.

        Args:
            tiles: (B, N, P); rows beyond a bag's own count are ignored.
            counts: (B,) tiles of each bag, at least 1; the largest is N.
            weights: also return each tile's weight. With the attention pool they are its weights; otherwise those of
                the CLS token in the last block, mean over heads, without the CLS token's own share.
        """
        B, N, P = tiles.shape
        side = int(sides_of(counts.max()))
        counts = counts.to(tiles.device)
        place = torch.arange(side * side, device=tiles.device)[None, :]  # (1, s * s)
        valid = valid_tiles(tiles, counts)  # (B, N)
        source = torch.where(place < counts[:, None], place, place - counts[:, None])  # the first tiles fill the square
        tiles = self.tile_dropout(tiles)
        square = torch.gather(tiles, 1, source.unsqueeze(-1).expand(-1, -1, P))  # (B, s * s, P)
        x = nnf.relu(self.embed(square))  # (B, s * s, D)
        x = torch.cat([self.cls.to(x.dtype).expand(B, 1, -1), x], 1)  # (B, 1 + s * s, D)
        shares = None
        for number, block in enumerate(self.blocks):
            assert isinstance(block, AttentionBlock)
            if weights and self.pool is None and number == len(self.blocks) - 1:
                shares = _per_tile(block.cls_weights(x)[:, 1:], source, N)
            x = block(x)
            if number == 0 and self.position is not None:
                image = self.position(x[:, 1:].view(B, side, side, -1))
                x = torch.cat([x[:, :1], image.reshape(B, side * side, -1).to(x.dtype)], 1)
        x = self.norm(x)
        embedding, tokens = x[:, 0], x[:, 1 : N + 1]
        if self.pool is not None:
            embedding, pooled = self.pool(tokens, valid)
            shares = pooled if weights else None
        if self.skip is not None:
            embedding = embedding + self.skip(mean_tile(tiles, valid))
        return SlideTokens(embedding, tokens, valid, shares)


@dataclass(frozen=True)
class EncodedBags:
    """A batch of bags of any sizes, in the batch's order."""

    embedding: Tensor  # (B, D)
    weights: Tensor | None  # (B, N) of each tile, 0 beyond a bag's own count; when asked for


def encode_bags(encoder: SlideEncoder, tiles: Tensor, counts: Tensor, *, weights: bool = False) -> EncodedBags:
    """Encode bags (B, N, P) with ``counts`` (B,) tiles, group by group of like bags."""
    rows, embeddings = [], []
    found = tiles.new_zeros(tiles.shape[:2]) if weights else None
    for group in groups_of(counts):
        encoded = encoder(tiles[group.rows, : group.tiles], group.counts, weights=weights)
        rows.append(group.rows)
        embeddings.append(encoded.embedding)
        if found is not None:
            found[group.rows, : group.tiles] = encoded.weights.to(found.dtype)
    back = torch.cat(rows).argsort().to(tiles.device)
    return EncodedBags(torch.cat(embeddings)[back], found)


def valid_tiles(tiles: Tensor, counts: Tensor) -> Tensor | None:
    """Which rows of ``tiles`` (B, N, P) are tiles of a bag with ``counts`` (B,) of them: (B, N); None where all are."""
    N = tiles.shape[1]
    if bool((counts == N).all()):
        return None
    return torch.arange(N, device=tiles.device)[None, :] < counts.to(tiles.device)[:, None]


def mean_tile(tiles: Tensor, valid: Tensor | None) -> Tensor:
    """Mean tile of each bag, (B, N, P) -> (B, P)."""
    if valid is None:
        return tiles.mean(1)
    return (tiles * valid.unsqueeze(-1)).sum(1) / valid.sum(1, keepdim=True)


def _per_tile(weights: Tensor, source: Tensor, tiles: int) -> Tensor:
    """Weights of the places of the square (B, s * s) to weights of tiles (B, N), which sum to 1.

    A tile shown twice has the mean of both, or the slide's first tiles would come out on top whatever they show.
    """
    summed = torch.zeros_like(weights).scatter_add_(1, source, weights)
    shown = torch.zeros_like(weights).scatter_add_(1, source, torch.ones_like(weights))  # 0, 1 or 2 times
    mean = (summed / shown.clamp(min=1))[:, :tiles]
    return mean / mean.sum(1, keepdim=True)
