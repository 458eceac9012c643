"""Encoders from the Hugging Face hub: one revision, safetensors and JSON, and no code of the model's own.

A hub model is named with the 40 hexadecimal digits of one commit, so that the same name means the same weights for
ever. What its config.json describes is built by timm.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mirror_data.errors import BadInput

WEIGHTS_FILE = "model.safetensors"
_NAME = re.compile(r"([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)@([0-9a-f]{40})")
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclass(frozen=True)
class HubName:
    """A model on the hub at one commit."""

    repository: str  # owner/name
    revision: str  # 40 hexadecimal digits


def parse_hub_name(text: str) -> HubName:
    """``OWNER/NAME@REVISION``.

    Raises:
        BadInput: ``BAD_OPTION`` if the revision is not 40 hexadecimal digits: branches and tags can move.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise BadInput(
            "BAD_OPTION",
            "a hub model needs owner, name and the full revision",
            key="--encoder",
            expected="hf:OWNER/NAME@REVISION with the 40 hexadecimal digits of a commit",
            got=f"hf:{text}",
            hint="copy the commit from the model's page: Files, History",
        )
    return HubName(match[1], match[2])


def fetch(repository: str, revision: str | None, file_name: str) -> Path:
    """A file of a hub repository, downloaded once and kept in the hub's own cache.

    Raises:
        BadInput: ``NO_WEIGHTS`` if it cannot be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its warnings repeat, retry by retry, what the error below says once
    try:
        return Path(hf_hub_download(repository, file_name, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            "NO_WEIGHTS",
            "the hub did not give this file, and random weights are never used in its place",
            file=f"{repository}/{file_name}",
            got=type(error).__name__,
            hint="check network, name and access, or download the weights elsewhere and give --weights FILE",
        ) from error


def fetch_json(repository: str, revision: str | None, file_name: str) -> dict[str, Any]:
    """A JSON document of a hub repository."""
    return json.loads(fetch(repository, revision, file_name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class HubModel:
    """What a hub repository's documents describe, without weights."""

    model: Any  # timm model without classifier
    size: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    interpolation: str


def build_hub_model(name: HubName) -> HubModel:
    """The model that config.json describes: timm's own, or transformers' ViT or DINOv2.

    Raises:
        BadInput: ``BAD_OPTION`` for other architectures; ``NO_WEIGHTS`` if the documents cannot be had.
    """
    import timm

    config = fetch_json(name.repository, name.revision, "config.json")
    if "architecture" in config:
        preset = config.get("pretrained_cfg", {})
        arguments: dict[str, Any] = {**config.get("model_args", {}), "num_classes": 0}
        try:
            model: Any = timm.create_model(config["architecture"], pretrained=False, **arguments)
        except (RuntimeError, TypeError, ValueError) as error:
            got = config["architecture"]
            message = "timm cannot build what this hub model's config.json describes"
            raise BadInput("BAD_OPTION", message, key="--encoder", got=got, hint="update timm") from error
        own = {**model.pretrained_cfg, **preset}
        return HubModel(model, own["input_size"][-1], tuple(own["mean"]), tuple(own["std"]), own["interpolation"])
    if config.get("model_type") not in ("vit", "dinov2") or config.get("use_swiglu_ffn"):
        raise BadInput(
            "BAD_OPTION",
            "the architecture of this hub model is not supported",
            key="--encoder",
            expected="a timm model, or transformers' vit or dinov2",
            got=config.get("model_type") or "no model_type",
        )
    model = build_vit(config)
    preset = fetch_json(name.repository, name.revision, "preprocessor_config.json")
    size = preset.get("crop_size") or preset.get("size") or config["image_size"]
    side = size if isinstance(size, int) else size.get("height") or size["shortest_edge"]
    interpolation = _RESAMPLE.get(preset.get("resample", 2), "bilinear")
    return HubModel(model, side, tuple(preset["image_mean"]), tuple(preset["image_std"]), interpolation)


def build_vit(config: dict[str, Any]) -> Any:
    """timm's vision transformer as configured for transformers' ViT or DINOv2; its feature is the CLS token.

    Returns:
        a module from (B, 3, image_size, image_size) to (B, hidden_size).
    """
    from timm.models.vision_transformer import VisionTransformer
    from torch import nn

    dino = config["model_type"] == "dinov2"
    if config.get("hidden_act", "gelu") != "gelu":
        raise BadInput("BAD_OPTION", "this hub model's activation is not supported", got=config["hidden_act"])
    width = config["hidden_size"]
    model: Any = VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        embed_dim=width,
        depth=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        mlp_ratio=config["mlp_ratio"] if dino else config["intermediate_size"] / width,
        qkv_bias=config.get("qkv_bias", True),
        init_values=config.get("layerscale_value", 1.0) if dino else None,
        norm_layer=partial(nn.LayerNorm, eps=config.get("layer_norm_eps", 1e-6 if dino else 1e-12)),
        num_classes=0,
        global_pool="token",
        dynamic_img_size=True,
    )
    model.pretrained_cfg = {"classifier": "head"}
    return model
