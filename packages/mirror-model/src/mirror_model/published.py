"""Weights of the published implementation in our network.

The names are those of the golden file (``slide.*``, ``rna.*``, ``style_*``, ``prototypes.weight``, ``logit_scale``);
shapes are the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mirror_data.errors import BadInput, some
from torch import Tensor

from mirror_model.mirror import Mirror

_RULES: tuple[tuple[str, str], ...] = (
    (r"logit_scale", "log_scale"),
    (r"slide\.cls_token", "slide.cls"),
    (r"slide\.ppeg\.(.*)", r"slide.position.\1"),
    (r"slide\.(embed|norm)\.(.*)", r"slide.\1.\2"),
    (r"slide\.layer1\.(.*)", r"slide.blocks.0.\1"),
    (r"slide\.layer2\.(.*)", r"slide.blocks.1.\1"),
    (r"rna\.gene_embed", "rna.gene_token"),
    (r"(slide|rna)\.alignment_head\.(.*)", r"\1_alignment.\2"),
    (r"(slide|rna)\.mask_token", r"\1_retention.mask_token"),
    (r"(slide|rna)\.retention_pos_embed", r"\1_retention.position"),
    (r"(slide|rna)\.retention_(embed|blocks|norm|head)\.(.*)", r"\1_retention.\2.\3"),
    (r"rna\.(embedding|blocks|norm)\.(.*)", r"rna.\1.\2"),
    (r"style_encoder_mlp\.(.*)", r"style.encoder.\1"),
    (r"style_mu\.(.*)", r"style.mean.\1"),
    (r"style_logvar\.(.*)", r"style.logvar.\1"),
    (r"style_decoder\.(.*)", r"style.decoder.\1"),
    (r"prototypes\.weight", "style.prototypes"),
)


def our_name(name: str) -> str | None:
    """The name in `Mirror` of a published tensor, None if it has none."""
    for pattern, replacement in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement).replace(".attn.", ".attention.")
    return None


def load_published(model: Mirror, weights: Mapping[str, Tensor]) -> None:
    """Load published weights into ``model``, which must have the published configuration.

    Raises:
        BadInput: ``MISMATCH`` if a tensor is missing, unknown, or has another size.
    """
    ours = dict(model.named_parameters())
    named: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        target = our_name(name)
        if target is None or target not in ours:
            raise BadInput("MISMATCH", "the network has no place for this tensor", key=name)
        named[target] = tensor
    missing = sorted(set(ours) - set(named))
    if missing:
        raise BadInput("MISMATCH", "tensors are missing", key=some(missing), expected=len(ours), got=len(named))
    for name, tensor in named.items():
        if tensor.numel() != ours[name].numel():
            expected, got = tuple(ours[name].shape), tuple(tensor.shape)
            raise BadInput("MISMATCH", "a tensor has another size", key=name, expected=expected, got=got)
        ours[name].data.copy_(tensor.reshape(ours[name].shape))
