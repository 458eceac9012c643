"""The optimiser, its parameter groups, and the learning rate as a plain function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mirror_model.config import OptimiserConfig

_SCALER = "scaler"  # name of its state among saved tensors
_ONE_CYCLE_START, _ONE_CYCLE_END, _ONE_CYCLE_WARMUP = 1 / 25, 1e-5, 0.3


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Learning rate of step ``step`` of ``steps``.

    ``constant`` and ``cosine`` (to 0) rise linearly over the warmup share; ``one_cycle`` rises and falls as cosines,
    from lr / 25 to lr / 100,000 (Smith and Topin, arXiv 1708.07120).
    """
    done = step / max(1, steps)
    warmup = config.warmup or (_ONE_CYCLE_WARMUP if config.schedule == "one_cycle" else 0.0)
    if done < warmup:
        rise = (step + 1) / max(1, math.ceil(warmup * steps))
        if config.schedule == "one_cycle":
            rise = _ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * (1 - math.cos(math.pi * min(1, rise))) / 2
        return config.lr * min(1.0, rise)
    if config.schedule == "constant":
        return config.lr
    fall = (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
    floor = _ONE_CYCLE_END if config.schedule == "one_cycle" else 0.0
    return config.lr * (floor + (1 - floor) * fall)


def make_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Adam or AdamW, fused, or RAdam (Liu et al. 2020, arXiv 1908.03265).

    Weight decay is for layer weights, never for biases, norms, tokens or prototypes.
    """
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        (decayed if name.endswith(".weight") and parameter.dim() > 1 else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if config.name == "radam":
        return torch.optim.RAdam(groups, lr=config.lr, foreach=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=True)


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Loss scaling (Micikevicius et al. 2018, arXiv 1710.03740) for float16; with bf16 and fp32 it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def scaler_tensors(scaler: torch.amp.GradScaler) -> dict[str, Tensor]:
    """The scaler's state as named tensors."""
    if not scaler.is_enabled():
        return {}
    state = scaler.state_dict()
    return {_SCALER: torch.tensor([state["scale"], state["_growth_tracker"]], dtype=torch.float64)}


def restore_scaler(scaler: torch.amp.GradScaler, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `scaler_tensors` took."""
    if scaler.is_enabled():
        scale, good = tensors[_SCALER].tolist()
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": int(good)})
