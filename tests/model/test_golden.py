"""Parity with the published implementation: every output and every loss of the golden file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.errors import BadInput
from mirror_model.losses import (
    assignment_kl,
    hidden_error,
    info_nce,
    kl_to_normal,
    survival_nll,
    survival_risk,
)
from mirror_model.mirror import Mirror, Shapes
from mirror_model.mirror_learner import mirror_encoded, mirror_terms
from mirror_model.network_config import LossConfig, ModelConfig
from mirror_model.published import load_published, our_name
from mirror_model.streams import Noise

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "mirror_small.npz"


class Golden:
    def __init__(self) -> None:
        with np.load(GOLDEN, allow_pickle=False) as file:
            self.arrays = {key: torch.from_numpy(np.array(file[key])) for key in file.files if key != "meta"}
            self.meta = json.loads(str(file["meta"]))

    def part(self, name: str) -> dict[str, torch.Tensor]:
        return {k.partition("/")[2]: v for k, v in self.arrays.items() if k.startswith(f"{name}/")}

    def model(self) -> Mirror:
        meta = self.meta
        config = ModelConfig(
            dim=meta["embed_dim"],
            attention="nystrom",
            landmarks=meta["landmarks"],
            pinv_iterations=meta["pinv_iterations"],
            value_kernel=meta["value_conv_kernel"],
            rna_depth=meta["rna_depth"],
            rna_heads=meta["rna_heads"],
            rna_mlp_ratio=meta["rna_mlp_ratio"],
            mask_ratio=meta["mask_ratio"],
            style_hidden=meta["style"]["hidden"],
            style_out=meta["style"]["out"],
            style_dim=meta["style"]["latent"],
            prototypes=meta["prototypes"],
        )
        return Mirror(config, LossConfig(), Shapes(meta["patch_dim"], meta["genes"], meta["tokens"])).eval()


@pytest.fixture(scope="module")
def golden() -> Golden:
    if not GOLDEN.is_file():
        pytest.skip("needs ../shared/golden")
    return Golden()


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def result(golden: Golden):
    model = golden.model()
    load_published(model, golden.part("weight"))
    inputs = golden.part("input")
    noise = Noise(
        inputs["slide_mask_noise"], inputs["rna_mask_noise"], inputs["slide_style_eps"], inputs["rna_style_eps"]
    )
    with torch.no_grad():
        return model(inputs["slide"], None, inputs["rna"], noise), model(inputs["slide"], None, inputs["rna"], noise)


@pytest.mark.parametrize("side", ["slide", "rna"])
def test_every_output_of_a_modality(golden: Golden, result, side: str) -> None:
    expected, ours = golden.part("output"), getattr(result[0], side)
    close(ours.aligned, expected[f"{side}_align"])
    shape = expected[f"{side}_retention"].shape
    close(ours.retained.prediction.view(shape), expected[f"{side}_retention"])
    close(ours.retained.target.view(shape), expected[f"{side}_retention_target"])
    close(ours.retained.mask.view(expected[f"{side}_mask"].shape), expected[f"{side}_mask"])
    close(ours.style.scores, expected[f"{side}_cluster_logits"])
    close(ours.style.mean, expected[f"{side}_mu"])
    close(ours.style.logvar, expected[f"{side}_logvar"])
    embedding = expected["slide_tokens"][:, 0] if side == "slide" else expected["rna_encoded"]
    close(ours.embedding, embedding)


def test_slide_tokens_and_logit_scale(golden: Golden, result) -> None:
    model = golden.model()
    load_published(model, golden.part("weight"))
    with torch.no_grad():
        encoded = model.slide(golden.part("input")["slide"], torch.full((3,), 60))
    close(encoded.tokens, golden.part("output")["slide_tokens"][:, 1:])
    close(result[0].logit_scale, golden.part("output")["logit_scale"])


def test_every_loss(golden: Golden, result) -> None:
    out, expected = result[0], golden.part("loss")
    terms = {
        "align": info_nce(out.slide.aligned, out.rna.aligned, out.logit_scale),
        "slide_retention": hidden_error(
            out.slide.retained.prediction, out.slide.retained.target, out.slide.retained.mask
        ),
        "rna_retention": hidden_error(out.rna.retained.prediction, out.rna.retained.target, out.rna.retained.mask),
        "style": sum(kl_to_normal(side.style.mean, side.style.logvar).mean() for side in (out.slide, out.rna)),
        "cluster": assignment_kl(out.slide.style.scores, out.rna.style.scores).mean(),
    }
    for name, value in terms.items():
        close(value, expected[name])
    total = sum(LossConfig().weight(name) * value for name, value in terms.items())
    close(torch.as_tensor(total), expected["total"])
    pairs = torch.arange(len(out.slide.embedding))
    for name, value in mirror_terms(mirror_encoded(out, pairs, pairs), out.logit_scale).items():
        close(value, expected[name])


def test_survival_head(golden: Golden) -> None:
    surv = golden.part("surv")
    each = survival_nll(surv["logits"], surv["bin"], surv["event"])
    close(each, surv["nll_none"])
    close(survival_nll(surv["logits"], surv["bin"], surv["event"], 0.6).mean(), surv["nll_alpha04"])
    close(survival_risk(surv["logits"]), surv["risk"])


def test_a_missing_or_unknown_tensor_is_refused(golden: Golden) -> None:
    model, weights = golden.model(), golden.part("weight")
    without = {k: v for k, v in weights.items() if k != "slide.cls_token"}
    with pytest.raises(BadInput, match="MISMATCH") as missing:
        load_published(model, without)
    assert missing.value.key == "slide.cls"
    with pytest.raises(BadInput, match="MISMATCH") as unknown:
        load_published(model, {**weights, "slide.extra": torch.zeros(1)})
    assert unknown.value.key == "slide.extra"
    with pytest.raises(BadInput, match="MISMATCH"):
        load_published(model, {**weights, "slide.cls_token": torch.zeros(3)})
    assert our_name("nothing.like.this") is None
