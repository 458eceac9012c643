"""Where and how precisely to compute."""

from __future__ import annotations

from typing import Literal

import torch
from mirror_data.errors import BadInput


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """``auto``: the first GPU if there is one.

    Raises:
        BadInput: ``BAD_OPTION`` if a GPU is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadInput("BAD_OPTION", "there is no GPU that PyTorch can use", key="runtime.device", got=wanted)
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(wanted: Literal["auto", "bf16", "fp32"], device: torch.device) -> Literal["bf16", "fp32"]:
    """``auto``: bf16 autocast on a GPU, float32 on a CPU."""
    if wanted == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return wanted
