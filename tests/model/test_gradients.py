"""A batch in parts, or shared by processes, is the same batch: loss and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.store import Store
from mirror_model.baselines.config import config_of
from mirror_model.checkpoint import CheckpointFolder
from mirror_model.config import read_config
from mirror_model.fold_data import prepare, read_fold
from mirror_model.jobs import TrainJob
from mirror_model.runs import make_identity
from mirror_model.train import Loop

BASELINE = ("batch_size=8", "model.dim=16", "model.dropout=0", "precision=fp32")
METHODS = {
    "mirror": ("model.dropout=0",),
    "mirror, gene groups, input": (
        "model.dropout=0", "model.rna_tokens=gene_group", "model.rna_heads=4", "model.rna_groups=5",
        "model.retention_target=input", "loss.weights=paper", "model.normalize=after",
    ),
    "tangle": (*BASELINE, "model.attention_dim=8", "data.tiles=12"),
    "porpoise": (*BASELINE, "model.slide_dim=16", "model.attention_dim=8", "model.rna_dim=16", "model.fused_dim=6"),
}  # fmt: skip


@pytest.fixture
def make_loop(store: Store, small_settings: tuple[str, ...], tmp_path: Path) -> Callable[..., Loop]:
    def make(name: str, *more: str) -> Loop:
        method = name.split(",")[0]
        settings = [*(small_settings if method == "mirror" else ()), *METHODS[name], *more]
        config = read_config(None, settings, kind=config_of(method))
        task = "subtype" if method == "porpoise" else None
        work = TrainJob(store.url, "run", method, "main", 0, config, task)
        data = read_fold(store, work)
        return Loop(prepare(store, make_identity(store, work, data.features), CheckpointFolder(tmp_path), data))

    return make


def gradients(loop: Loop, patients: int = 11) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Of the first patients, of whom one lacks slides and one RNA."""
    loop.t.network.train()
    values = loop.gradients(loop.parts(np.arange(patients), 0, 0))
    return {n: p.grad.clone() for n, p in loop.t.network.named_parameters() if p.grad is not None}, values


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_in_parts_is_the_same_batch(make_loop: Callable[..., Loop], name: str) -> None:
    whole, values = gradients(make_loop(name, "runtime.micro_batch=0"))
    assert whole
    for most in (1, 4):
        parts, again = gradients(make_loop(name, f"runtime.micro_batch={most}"))
        assert parts.keys() == whole.keys()
        for key, gradient in parts.items():
            torch.testing.assert_close(gradient, whole[key], rtol=1e-4, atol=1e-6, msg=lambda m, key=key: f"{key}: {m}")
        assert again == pytest.approx(values, rel=1e-5)


def test_parts_do_not_just_average_a_contrast(make_loop: Callable[..., Loop]) -> None:
    """Among two patients a pair is found more easily than among nine."""
    _, whole = gradients(make_loop("mirror"))
    loop = make_loop("mirror", "runtime.micro_batch=2")
    alone = [loop.gradients([part])["align"] for part in loop.parts(np.arange(6, 11), 0, 0)[:2]]
    assert max(alone) < 0.8 * whole["align"]


@pytest.mark.parametrize("name", METHODS)
def test_no_two_gradients_share_memory(make_loop: Callable[..., Loop], name: str) -> None:
    """What changes a gradient in place, such as clipping, must change it once."""
    loop = make_loop(name)
    loop.gradients(loop.parts(np.arange(8), 0, 0))
    places = [p.grad.untyped_storage().data_ptr() for p in loop.parameters if p.grad is not None]
    assert len(set(places)) == len(places)


def test_loss_scaling_scales_gradients_alone(make_loop: Callable[..., Loop]) -> None:
    plain, values = gradients(make_loop("mirror"))
    loop = make_loop("mirror")
    loop.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled, again = gradients(loop)  # unscaled again by then
    for key, gradient in scaled.items():
        torch.testing.assert_close(gradient, plain[key], rtol=1e-4, atol=1e-6)
    assert again == pytest.approx(values, rel=1e-6)


def test_float16_leaves_out_a_step_that_overflows(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop("mirror", "precision=fp16")
    assert loop.scaler.get_scale() == 65536.0
    loop.run_epoch(lambda: False)
    assert 1 <= loop.scaler.get_scale() <= 65536.0
    before = [p.detach().clone() for p in loop.parameters]
    loop.scaler.load_state_dict({**loop.scaler.state_dict(), "scale": 3e38})
    loop._step(loop.parts(np.arange(8), 1, 0), 3)
    assert loop.scaler.get_scale() == pytest.approx(1.5e38)
    loop.t.learner.before_step(loop.t.network)
    assert all(torch.equal(one, two) for one, two in zip(before, loop.parameters, strict=True))
    assert math.isfinite(loop.position.sums["loss"])
