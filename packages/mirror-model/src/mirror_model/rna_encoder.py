"""The RNA encoder: expression to tokens and one embedding (paper, equation (4)).

Shapes: B patients, G genes, D width, M gene groups, W genes of the largest group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.layers import RNA_NORM_EPS, ChunkBlock, TransformerBlock
from mirror_model.network_config import ModelConfig


@dataclass(frozen=True)
class RnaTokens:
    """What the encoder makes of a batch of expression profiles."""

    embedding: Tensor  # (B, D)
    tokens: Tensor | None  # (B, M, D), of gene groups


class GeneEmbedding(nn.Module):
    """Linear G -> 2D, GELU, LayerNorm, Linear 2D -> D: the compact representation."""

    def __init__(self, genes: int, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(genes, 2 * dim), nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(2 * dim, RNA_NORM_EPS)

    def forward(self, expression: Tensor) -> Tensor:
        return self.fc2(self.norm(nnf.gelu(self.fc1(expression))))


def make_skip(genes: int, dim: int, axes: Tensor | None = None) -> nn.Linear:
    """A linear map G -> D that starts at random or, given principal axes (R, G), at a random mix of the first D.

    Both keep distances between patients, at one scale: the random map in the mean, the mix exactly, as far as D
    components hold them.
    """
    skip = nn.Linear(genes, dim)
    if axes is not None:
        mix = nn.init.orthogonal_(torch.empty(dim, len(axes[:dim])))
        with torch.no_grad():
            skip.weight.copy_((dim / (3 * genes)) ** 0.5 * mix @ axes[:dim])
    return skip


class ChunkEncoder(nn.Module):
    """The published encoder: one vector, attention across its chunks. ``(B, G) -> (B, D)``."""

    def __init__(self, config: ModelConfig, genes: int, axes: Tensor | None = None) -> None:
        super().__init__()
        D = config.dim
        self.gene_dropout = nn.Dropout(config.gene_dropout)
        self.embedding = GeneEmbedding(genes, D)
        self.gene_token = nn.Parameter(torch.zeros(D))
        block = (D, config.rna_heads, config.rna_mlp_ratio, config.rna_dropout)
        self.blocks = nn.ModuleList(ChunkBlock(*block) for _ in range(config.rna_depth))
        self.norm = nn.LayerNorm(D, RNA_NORM_EPS)
        self.skip = make_skip(genes, D, axes) if config.rna_skip else None
        nn.init.normal_(self.gene_token, std=0.02)

    def forward(self, expression: Tensor) -> RnaTokens:
        expression = self.gene_dropout(expression)
        x = self.embedding(expression) + self.gene_token  # (B, D)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return RnaTokens(x if self.skip is None else x + self.skip(expression), None)


class GroupedLinear(nn.Module):
    """One linear map a gene group: (B, G) -> (B, M, D)."""

    def __init__(self, groups: Tensor, dim: int) -> None:
        super().__init__()
        self.groups: Tensor
        self.register_buffer("groups", groups, persistent=False)  # (M, W), -1 where a group is smaller
        M, W = groups.shape
        self.weight = nn.Parameter(torch.empty(M, W, dim))
        sizes = (groups >= 0).sum(1)  # (M,)
        bound = sizes.clamp_min(1).double().rsqrt().float()[:, None, None]
        with torch.no_grad():
            self.weight.copy_((torch.rand(M, W, dim) * 2 - 1) * bound)

    def gather(self, expression: Tensor) -> Tensor:
        """The genes of each group (B, M, W), 0 where a group is smaller."""
        padded = nnf.pad(expression, (0, 1))  # a column of zeros for index -1
        return padded[:, self.groups]

    def forward(self, expression: Tensor) -> Tensor:
        return torch.einsum("bmw,mwd->bmd", self.gather(expression), self.weight)


class GeneGroupEncoder(nn.Module):
    """Gene groups as tokens with a CLS token, a standard pre-norm transformer, CLS out."""

    def __init__(self, config: ModelConfig, genes: int, groups: Tensor, axes: Tensor | None = None) -> None:
        super().__init__()
        D = config.dim
        self.gene_dropout = nn.Dropout(config.gene_dropout)
        self.embedding = GroupedLinear(groups, D)
        self.group_tokens = nn.Parameter(torch.zeros(len(groups), D))
        self.cls = nn.Parameter(torch.zeros(D))
        block = (D, config.rna_heads, config.rna_mlp_ratio, config.rna_dropout)
        self.blocks = nn.ModuleList(TransformerBlock(*block) for _ in range(config.rna_depth))
        self.norm = nn.LayerNorm(D, RNA_NORM_EPS)
        self.skip = make_skip(genes, D, axes) if config.rna_skip else None
        nn.init.normal_(self.group_tokens, std=0.02)
        nn.init.normal_(self.cls, std=0.02)

    def forward(self, expression: Tensor) -> RnaTokens:
        expression = self.gene_dropout(expression)
        x = self.embedding(expression) + self.group_tokens  # (B, M, D)
        x = torch.cat([self.cls.to(x.dtype).expand(len(x), 1, -1), x], 1)  # (B, 1 + M, D)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        embedding = x[:, 0] if self.skip is None else x[:, 0] + self.skip(expression)
        return RnaTokens(embedding, x[:, 1:])


def make_rna_encoder(
    config: ModelConfig, genes: int, groups: Tensor | None, axes: Tensor | None = None
) -> ChunkEncoder | GeneGroupEncoder:
    """The RNA encoder that ``config.rna_tokens`` names; ``groups`` as `gene_groups.group_table` writes them."""
    if config.rna_tokens == "chunk":
        return ChunkEncoder(config, genes, axes)
    if groups is None:
        raise ValueError("gene_group tokens need gene groups")
    return GeneGroupEncoder(config, genes, groups, axes)
