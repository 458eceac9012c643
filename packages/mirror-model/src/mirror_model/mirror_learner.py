"""MIRROR's pretraining step (paper, equation (19))."""

from __future__ import annotations

from torch import Tensor, nn

from mirror_model.batches import Batch
from mirror_model.config import MirrorConfig
from mirror_model.learner import Applied, Explained, Step, similarity_to
from mirror_model.losses import assignment_kl, hidden_error, info_nce, kl_to_normal
from mirror_model.mirror import Mirror, MirrorOutput, Shapes
from mirror_model.slide_encoder import encode_bags


class MirrorLearner:
    """Both encoders and every module whose loss has a weight; no labels."""

    task = None

    def __init__(self, config: MirrorConfig) -> None:
        self.config = config

    def build(self, shapes: Shapes) -> Mirror:
        return Mirror(self.config.model, self.config.loss, shapes)

    def before_step(self, model: nn.Module) -> None:
        assert isinstance(model, Mirror)
        model.before_step()

    def step(self, model: nn.Module, batch: Batch) -> Step:
        out: MirrorOutput = model(batch.tiles, batch.counts, batch.expression)
        terms = mirror_terms(out, batch.paired_slide, batch.paired_rna)
        loss = out.logit_scale * 0  # so that a batch without any term still has a gradient
        for name, value in terms.items():
            loss = loss + self.config.loss.weight(name) * value
        slide, rna = out.slide, out.rna
        return Step(
            loss,
            {name: value.detach() for name, value in terms.items()},
            slide.embedding if slide else None,
            rna.embedding if rna else None,
            slide.aligned if slide else None,
            rna.aligned if rna else None,
        )

    def apply(self, model: nn.Module, batch: Batch, *, attention: bool = False) -> Applied:
        assert isinstance(model, Mirror)
        rna = None if batch.expression is None else model.rna(batch.expression).embedding
        if batch.tiles is None or batch.counts is None:
            return Applied(rna=rna)
        encoded = encode_bags(model.slide, batch.tiles, batch.counts, weights=attention)
        return Applied(encoded.embedding, rna, weights=encoded.weights)

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


def mirror_terms(out: MirrorOutput, paired_slide: Tensor, paired_rna: Tensor) -> dict[str, Tensor]:
    """Every term that this batch has: a patient without one modality counts in the other's own terms.

    Args:
        paired_slide, paired_rna: rows of the two sides that are the same patients.
    """
    terms: dict[str, Tensor] = {}
    slide, rna = out.slide, out.rna
    for name, side in (("slide_retention", slide), ("rna_retention", rna)):
        if side is not None and side.retained is not None:
            terms[name] = hidden_error(side.retained.prediction, side.retained.target, side.retained.mask)
    styles = [side.style for side in (slide, rna) if side is not None and side.style is not None]
    if styles:
        kl = [kl_to_normal(style.mean, style.logvar) for style in styles]
        terms["style"] = kl[0] if len(kl) == 1 else kl[0] + kl[1]
    if slide is None or rna is None or len(paired_slide) < 1:
        return terms
    if slide.aligned is not None and rna.aligned is not None and len(paired_slide) > 1:
        terms["align"] = info_nce(slide.aligned[paired_slide], rna.aligned[paired_rna], out.logit_scale)
    if slide.style is not None and rna.style is not None:
        terms["cluster"] = assignment_kl(slide.style.scores[paired_slide], rna.style.scores[paired_rna])
    return terms
