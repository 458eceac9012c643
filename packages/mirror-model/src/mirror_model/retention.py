"""The modality retention module: hide part of an encoding, rebuild it (paper, equations (10) to (14)).

Shapes: B patients, N tokens, D width, F width of the target, G genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.layers import RNA_NORM_EPS, AttentionBlock, ChunkBlock, TransformerBlock
from mirror_model.network_config import ModelConfig
from mirror_model.slide_encoder import make_attention


@dataclass(frozen=True)
class Retained:
    """What was rebuilt, of what, and where it had been hidden; R tokens of all patients, or B vectors."""

    prediction: Tensor  # (R, F)
    target: Tensor  # (R, F)
    mask: Tensor  # (R,) or (R, F): 1 where it counts in the loss


def draw_mask(noise: Tensor, counts: Tensor, ratio: float) -> Tensor:
    """Hide all but the int(n * (1 - ratio)) tokens of each bag that are first in the order of ``noise``.

    Args:
        noise: (B, N) uniform numbers.
        counts: (B,) tokens n of each bag; those beyond are never hidden.

    Returns:
        (B, N), 1.0 = hidden.
    """
    real = torch.arange(noise.shape[1], device=noise.device)[None, :] < counts[:, None]
    rank = noise.masked_fill(~real, float("inf")).argsort(1).argsort(1)  # place of each token in the random order
    kept = (counts.double() * (1 - ratio)).floor().long()[:, None]
    return ((rank >= kept) & real).float()


class _Decoder(nn.Module):
    """Linear, hidden entries replaced, positions added, blocks, LayerNorm, Linear to the target's width."""

    def __init__(self, dim: int, out: int, blocks: nn.ModuleList, eps: float) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, dim)
        self.blocks = blocks
        self.norm = nn.LayerNorm(dim, eps)
        self.head = nn.Linear(dim, out)


class TokenRetention(_Decoder):
    """Rebuild hidden tokens from the others and CLS, which is never hidden."""

    def __init__(self, dim: int, out: int, blocks: nn.ModuleList, eps: float, positions: int) -> None:
        super().__init__(dim, out, blocks, eps)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.position = nn.Parameter(torch.zeros(positions + 1, dim))
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.position, std=0.02)

    def forward(self, embedding: Tensor, tokens: Tensor, valid: Tensor | None, mask: Tensor) -> Tensor:
        """Embedding (B, D) and tokens (B, N, D), of which those with ``mask`` (B, N) are hidden -> (B, N, F)."""
        x = self.embed(torch.cat([embedding.unsqueeze(1).to(tokens.dtype), tokens], 1))  # (B, 1 + N, D)
        hidden = nnf.pad(mask, (1, 0)).unsqueeze(-1).to(x.dtype)  # (B, 1 + N, 1)
        x = x * (1 - hidden) + self.mask_token * hidden + self._positions(tokens.shape[1], valid)
        if valid is None:
            for block in self.blocks:
                x = block(x)
        else:
            keys = nnf.pad(valid, (1, 0), value=True)
            for block in self.blocks:
                x = block(x, keys)
        return self.head(self.norm(x))[:, 1:]

    def _positions(self, tokens: int, valid: Tensor | None) -> Tensor:
        """Rows of the position table (1 or B, 1 + N, D); a bag longer than the table is spread over it."""
        table = len(self.position) - 1
        if tokens <= table:
            return self.position[: tokens + 1].unsqueeze(0)
        place = torch.arange(tokens, device=self.position.device)[None, :]
        counts = torch.full((1, 1), tokens) if valid is None else valid.sum(1, keepdim=True)
        counts = counts.to(place.device)
        index = torch.where(counts <= table, place, place * table // counts).clamp_max(table - 1)
        return self.position[nnf.pad(index + 1, (1, 0))]


class VectorRetention(_Decoder):
    """Rebuild hidden entries of a vector; the mask token is one number."""

    def __init__(self, dim: int, out: int, blocks: nn.ModuleList) -> None:
        super().__init__(dim, out, blocks, RNA_NORM_EPS)
        self.mask_token = nn.Parameter(torch.zeros(1))
        self.position = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.position, std=0.02)

    def forward(self, vector: Tensor, mask: Tensor) -> Tensor:
        """(B, D) with entries of ``mask`` (B, D) hidden -> (B, F)."""
        x = self.embed(vector)
        hidden = mask.to(x.dtype)
        x = x * (1 - hidden) + self.mask_token * hidden + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def make_slide_retention(config: ModelConfig, tile_width: int, positions: int) -> TokenRetention:
    """For ``positions`` tiles; the target is the encoder's tokens or the tiles themselves."""
    blocks = [AttentionBlock(config.dim, make_attention(config)) for _ in range(config.retention_depth)]
    out = config.dim if config.retention_target == "latent" else tile_width
    return TokenRetention(config.dim, out, nn.ModuleList(blocks), 1e-5, positions)


def make_rna_retention(config: ModelConfig, genes: int, groups: Tensor | None) -> TokenRetention | VectorRetention:
    """For the RNA encoder that ``config.rna_tokens`` names."""
    block = (config.dim, config.rna_heads, config.rna_mlp_ratio, config.rna_dropout)
    latent = config.retention_target == "latent"
    if config.rna_tokens == "chunk":
        chunks = nn.ModuleList(ChunkBlock(*block) for _ in range(config.retention_depth))
        return VectorRetention(config.dim, config.dim if latent else genes, chunks)
    if groups is None:
        raise ValueError("gene_group tokens need gene groups")
    blocks = nn.ModuleList(TransformerBlock(*block) for _ in range(config.retention_depth))
    return TokenRetention(config.dim, config.dim if latent else groups.shape[1], blocks, RNA_NORM_EPS, len(groups))
