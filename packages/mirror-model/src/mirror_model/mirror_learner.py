"""MIRROR's pretraining step (paper, equation (19))."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mirror_model.batches import Batch
from mirror_model.config import MirrorConfig
from mirror_model.learner import Applied, Cost, Encoded, Explained, means_of, no_pairs, similarity_to
from mirror_model.losses import assignment_kl, hidden_error_sum, info_nce, kl_to_normal
from mirror_model.mirror import Mirror, MirrorOutput, Shapes
from mirror_model.slide_encoder import encode_bags
from mirror_model.streams import NoiseSizes

_MEANS = ("slide_retention", "rna_retention", "slide_style", "rna_style", "cluster")


class MirrorLearner:
    """Both encoders and every module whose loss has a weight; no labels."""

    task = None

    def __init__(self, config: MirrorConfig) -> None:
        self.config = config

    @property
    def aligns(self) -> bool:
        return self.config.loss.weight("align") > 0

    def build(self, shapes: Shapes) -> Mirror:
        return Mirror(self.config.model, self.config.loss, shapes)

    def before_step(self, model: nn.Module) -> None:
        assert isinstance(model, Mirror)
        model.before_step()

    def noise_sizes(self, model: nn.Module) -> NoiseSizes:
        assert isinstance(model, Mirror)
        return model.noise_sizes()

    def encode(self, model: nn.Module, batch: Batch) -> Encoded:
        out: MirrorOutput = model(batch.tiles, batch.counts, batch.expression, batch.noise)
        return mirror_encoded(out, batch.paired_slide, batch.paired_rna)

    def cost(self, model: nn.Module, encoded: Encoded) -> Cost:
        assert isinstance(model, Mirror)
        scale = model.log_scale.exp()
        terms = mirror_terms(encoded, scale)
        loss = scale * 0  # so that a batch without any term still has a gradient
        for name, value in terms.items():
            loss = loss + self.config.loss.weight(name) * value
        return Cost(loss, {name: value.detach() for name, value in terms.items()})

    def apply(self, model: nn.Module, batch: Batch, *, attention: bool = False) -> Applied:
        assert isinstance(model, Mirror)
        slide, rna, weights = None, None, None
        if batch.expression is not None:
            rna = model.rna(batch.expression).embedding
        if batch.tiles is not None and batch.counts is not None:
            encoded = encode_bags(model.slide, batch.tiles, batch.counts, weights=attention)
            slide, weights = encoded.embedding, encoded.weights
        aligned = [
            None if embedding is None or head is None else model.align(embedding, head)
            for embedding, head in ((slide, model.slide_alignment), (rna, model.rna_alignment))
        ]
        return Applied(slide, rna, None, weights, *aligned)

    def explained(self, model: nn.Module, batch: Batch) -> Explained:
        """How near a patient's expression is to the own slides; both modalities of everyone are needed."""
        assert isinstance(model, Mirror)
        assert batch.tiles is not None
        assert batch.counts is not None
        embedding = encode_bags(model.slide, batch.tiles, batch.counts).embedding
        slide = embedding if model.slide_alignment is None else model.align(embedding, model.slide_alignment)

        def rna(expression: Tensor) -> Tensor:
            embedding = model.rna(expression).embedding
            return embedding if model.rna_alignment is None else model.align(embedding, model.rna_alignment)

        return similarity_to(slide, rna)

    def diagnostics(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Mirror)
        return {"logit_scale": float(model.log_scale.detach().exp())}


def mirror_encoded(out: MirrorOutput, paired_slide: Tensor, paired_rna: Tensor) -> Encoded:
    """The loss's view of a batch: a patient without one modality counts in the other's own terms.

    Args:
        paired_slide, paired_rna: rows of the two sides that are the same patients.
    """
    slide, rna = out.slide, out.rna
    found: dict[str, tuple[Tensor, Tensor | int]] = {}
    for name, side in (("slide", slide), ("rna", rna)):
        if side is not None and side.retained is not None:
            kept = side.retained
            error = hidden_error_sum(kept.prediction, kept.target, kept.mask)
            found[f"{name}_retention"] = (error, kept.mask.sum())
        if side is not None and side.style is not None:
            kl = kl_to_normal(side.style.mean, side.style.logvar)  # (B,)
            found[f"{name}_style"] = (kl.sum(), len(kl))
    zero = out.logit_scale.detach() * 0
    pairs, usage = (no_pairs(zero), no_pairs(zero)), None
    if slide is not None and rna is not None and len(paired_slide):
        if slide.style is not None and rna.style is not None:
            scores = slide.style.scores[paired_slide], rna.style.scores[paired_rna]  # (Bp, K) each
            found["cluster"] = (assignment_kl(*scores).sum(), len(paired_slide))
            usage = torch.cat(scores).detach().softmax(1).mean(0)
        if slide.aligned is not None and rna.aligned is not None:
            pairs = slide.aligned[paired_slide], rna.aligned[paired_rna]
    totals = [found.get(name, (zero, 0)) for name in _MEANS]
    sums = torch.stack([total.float() for total, _ in totals])
    counts = torch.stack([zero + count for _, count in totals])
    embeddings = (None if side is None else side.embedding for side in (slide, rna))
    return Encoded(sums, counts, *pairs, *embeddings, usage=usage)


def mirror_terms(encoded: Encoded, logit_scale: Tensor) -> dict[str, Tensor]:
    """Every term that a batch has."""
    terms = means_of(_MEANS, encoded)
    styles = [terms.pop(name) for name in ("slide_style", "rna_style") if name in terms]
    if styles:
        terms["style"] = torch.stack(styles).sum()
    if len(encoded.slide_pair) > 1:
        terms["align"] = info_nce(encoded.slide_pair, encoded.rna_pair, logit_scale)
    return terms
