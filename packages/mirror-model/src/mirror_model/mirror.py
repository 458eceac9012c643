"""MIRROR: two encoders, alignment heads, retention modules and the style clustering module (paper, figure 2).

Shapes: Bs patients with slides, Br patients with RNA (the same patient may be in both), N tiles, P tile features,
G genes, D width, Z style size, K prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirror_model.layers import MLP
from mirror_model.network_config import LossConfig, ModelConfig
from mirror_model.retention import (
    Retained,
    TokenRetention,
    VectorRetention,
    draw_mask,
    make_rna_retention,
    make_slide_retention,
)
from mirror_model.rna_encoder import GroupedLinear, RnaTokens, make_rna_encoder
from mirror_model.slide_encoder import SlideEncoder, SlideTokens, groups_of
from mirror_model.streams import Noise, NoiseSizes

_UNIT_LENGTH = 1e-6  # a prototype this near to length 1 is left alone


@dataclass(frozen=True)
class Shapes:
    """Sizes that the data decides."""

    tile_width: int  # P
    genes: int  # G
    positions: int  # N, tiles of a training bag
    groups: Tensor | None = None  # (M, W) columns of the genes of each group, -1 where a group is smaller
    axes: Tensor | None = None  # (R, G) principal axes of the training patients' expression; for the start alone


@dataclass(frozen=True)
class Style:
    """The style module's view of one modality."""

    mean: Tensor  # (B, Z)
    logvar: Tensor  # (B, Z)
    scores: Tensor  # (B, K) against the prototypes


@dataclass(frozen=True)
class Side:
    """Everything about one modality of a batch. Modules that are switched off leave None."""

    embedding: Tensor  # (B, D) before the alignment head: what is used downstream
    aligned: Tensor | None  # (B, D)
    retained: Retained | None
    style: Style | None


@dataclass(frozen=True)
class MirrorOutput:
    slide: Side | None
    rna: Side | None
    logit_scale: Tensor  # scalar


class StyleModule(nn.Module):
    """A shared bottleneck, and K prototypes that its output is compared with (paper, section III-E)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = MLP(config.dim, config.style_hidden, config.style_out)
        self.mean = nn.Linear(config.style_out, config.style_dim)
        self.logvar = nn.Linear(config.style_out, config.style_dim)
        self.decoder = nn.Linear(config.style_dim, config.dim)
        self.prototypes = nn.Parameter(torch.empty(config.prototypes, config.dim))
        nn.init.orthogonal_(self.prototypes)

    def forward(self, embedding: Tensor, noise: Tensor | None) -> Style:
        hidden = self.encoder(embedding)  # (B, style_out)
        mean, logvar = self.mean(hidden).float(), self.logvar(hidden).float()  # (B, Z)
        z = mean + torch.exp(logvar / 2) * (torch.randn_like(mean) if noise is None else noise)
        scores = nnf.linear(self.decoder(z), self.prototypes)  # (B, K)
        return Style(mean, logvar, scores.float())

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Give every prototype length 1; called before every step. Doing it twice changes nothing, to the last bit."""
        length = self.prototypes.norm(dim=1, keepdim=True)  # (K, 1)
        done = (length - 1).abs() < _UNIT_LENGTH
        self.prototypes.copy_(torch.where(done, self.prototypes, self.prototypes / length.clamp_min(_UNIT_LENGTH)))


class Mirror(nn.Module):
    """The network. Which modules exist follows from the loss: a term of weight 0 has none."""

    def __init__(self, config: ModelConfig, loss: LossConfig, shapes: Shapes) -> None:
        super().__init__()
        self.config, D = config, config.dim
        self.slide = SlideEncoder(config, shapes.tile_width)
        self.rna = make_rna_encoder(config, shapes.genes, shapes.groups, shapes.axes)
        aligned = loss.weight("align") > 0
        self.slide_alignment = nn.Linear(D, D) if aligned else None
        self.rna_alignment = nn.Linear(D, D) if aligned else None
        retained = loss.weight("slide_retention") > 0
        self.slide_retention = make_slide_retention(config, shapes.tile_width, shapes.positions) if retained else None
        retained = loss.weight("rna_retention") > 0
        self.rna_retention = make_rna_retention(config, shapes.genes, shapes.groups) if retained else None
        styled = loss.weight("style") > 0 or loss.weight("cluster") > 0
        self.style = StyleModule(config) if styled else None
        self.log_scale = nn.Parameter(torch.tensor(config.logit_scale).log())

    def forward(
        self,
        tiles: Tensor | None,
        counts: Tensor | None,
        expression: Tensor | None,
        noise: Noise | None = None,
    ) -> MirrorOutput:
        """Encode both modalities of a batch and run every module that is switched on.

        Args:
            tiles: (Bs, N, P) of the patients that have slides; rows beyond a bag's own count are ignored.
            counts: (Bs,) tiles of each bag, at least 1; all N where None.
            expression: (Br, G) of the patients that have RNA.
        """
        noise = noise or Noise()
        slide = None if tiles is None else self.slide_side(tiles, counts, noise)
        rna = None if expression is None else self.rna_side(expression, noise)
        return MirrorOutput(slide, rna, self.log_scale.exp())

    def slide_side(self, tiles: Tensor, counts: Tensor | None, noise: Noise) -> Side:
        """Encode and rebuild group by group of like bags; embeddings in the batch's order."""
        counts = torch.full((len(tiles),), tiles.shape[1]) if counts is None else counts
        rows, embeddings, parts = [], [], []
        for group in groups_of(counts):
            own = tiles[group.rows, : group.tiles] if len(group.rows) < len(tiles) else tiles[:, : group.tiles]
            encoded = self.slide(own, group.counts)
            rows.append(group.rows)
            embeddings.append(encoded.embedding)
            if self.slide_retention is not None:
                drawn = None if noise.slide_mask is None else noise.slide_mask[group.rows, : group.tiles]
                parts.append(self._retain_tiles(self.slide_retention, encoded, own, group.counts, drawn))
        back = torch.cat(rows).argsort().to(tiles.device)
        embedding = torch.cat(embeddings)[back] if len(embeddings) > 1 else embeddings[0]
        return self._side(embedding, self.slide_alignment, _joined(parts), noise.slide_style)

    def _retain_tiles(
        self, module: TokenRetention, encoded: SlideTokens, tiles: Tensor, counts: Tensor, noise: Tensor | None
    ) -> Retained:
        """Tile tokens are hidden; the target is those tokens, or the tiles themselves."""
        mask = self._mask(encoded.tokens, counts.to(tiles.device), noise)  # (B, N)
        target = self._latent(encoded.tokens) if self._is_latent else tiles
        prediction = module(encoded.embedding, encoded.tokens, encoded.valid, mask)
        return Retained(prediction.flatten(0, 1).float(), target.flatten(0, 1).float(), mask.flatten())

    def rna_side(self, expression: Tensor, noise: Noise) -> Side:
        encoded: RnaTokens = self.rna(expression)
        retained = None
        if isinstance(self.rna_retention, VectorRetention):
            retained = self._retain_vector(self.rna_retention, encoded.embedding, expression, noise.rna_mask)
        elif self.rna_retention is not None:
            retained = self._retain_groups(self.rna_retention, encoded, expression, noise.rna_mask)
        return self._side(encoded.embedding, self.rna_alignment, retained, noise.rna_style)

    def _side(
        self, embedding: Tensor, head: nn.Linear | None, retained: Retained | None, style_noise: Tensor | None
    ) -> Side:
        aligned = None if head is None else self.align(embedding, head)
        return Side(embedding, aligned, retained, None if self.style is None else self.style(embedding, style_noise))

    def align(self, embedding: Tensor, head: nn.Linear) -> Tensor:
        """The aligned vector (B, D) in float32."""
        if self.config.normalize == "before":
            return head(nnf.normalize(embedding.float(), dim=-1)).float()
        aligned = head(embedding).float()
        return nnf.normalize(aligned, dim=-1) if self.config.normalize == "after" else aligned

    @property
    def _is_latent(self) -> bool:
        return self.config.retention_target == "latent"

    def _latent(self, target: Tensor) -> Tensor:
        return target.detach() if self.config.detach_target else target

    def _mask(self, tokens: Tensor, counts: Tensor, noise: Tensor | None) -> Tensor:
        drawn = torch.rand(tokens.shape[:2], device=tokens.device) if noise is None else noise
        return draw_mask(drawn, counts, self.config.mask_ratio)

    def _retain_vector(
        self, module: VectorRetention, embedding: Tensor, expression: Tensor, noise: Tensor | None
    ) -> Retained:
        """Entries of the D-vector are hidden; the target is that vector, or every gene."""
        B, D = embedding.shape
        mask = self._mask(embedding, torch.full((B,), D, device=embedding.device), noise)  # (B, D)
        prediction = module(embedding, mask).float()
        if self._is_latent:
            return Retained(prediction, self._latent(embedding).float(), mask)
        return Retained(prediction, expression.float(), torch.ones_like(prediction))

    def _retain_groups(
        self, module: TokenRetention, encoded: RnaTokens, expression: Tensor, noise: Tensor | None
    ) -> Retained:
        """Gene-group tokens are hidden; the target is those tokens, or the genes of the hidden groups."""
        assert encoded.tokens is not None
        B, M, _ = encoded.tokens.shape
        mask = self._mask(encoded.tokens, torch.full((B,), M, device=encoded.tokens.device), noise)  # (B, M)
        prediction = module(encoded.embedding, encoded.tokens, None, mask).float()
        if self._is_latent:
            target = self._latent(encoded.tokens).float()
            return Retained(prediction.flatten(0, 1), target.flatten(0, 1), mask.flatten())
        grouped = self.rna.embedding
        assert isinstance(grouped, GroupedLinear)
        real = (grouped.groups >= 0).float()  # (M, W)
        target, counted = grouped.gather(expression).float(), mask.unsqueeze(-1) * real  # (B, M, W)
        return Retained(prediction.flatten(0, 1), target.flatten(0, 1), counted.flatten(0, 1))

    def noise_sizes(self) -> NoiseSizes:
        """What a step draws for each patient."""
        module, rna = self.rna_retention, 0
        if module is not None:
            rna = self.config.dim if isinstance(module, VectorRetention) else len(module.position) - 1
        return NoiseSizes(self.slide_retention is not None, rna, self.config.style_dim if self.style else 0)

    @torch.no_grad()
    def before_step(self) -> None:
        """What must hold before every step: prototypes of length 1, the logit scale within its bound."""
        if self.style is not None:
            self.style.normalise_prototypes()
        self.log_scale.clamp_(max=torch.tensor(self.config.max_logit_scale).log().item())


def _joined(parts: list[Retained]) -> Retained | None:
    """The groups' tokens one after another."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return Retained(*(torch.cat([getattr(part, name) for part in parts]) for name in ("prediction", "target", "mask")))
