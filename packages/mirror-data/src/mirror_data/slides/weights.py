"""Weights of encoders: read without ever running code from the file, and fitted to a timm model key by key.

safetensors is the format of choice. A ``.pt``, ``.pth`` or ``.bin`` is opened with torch's ``weights_only``, which
builds tensors and nothing else. A model gets all of its weights from the file or an error: none is left at random.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mirror_data.errors import BadInput, some
from mirror_data.versions import require_torch

PICKLES = (".pt", ".pth", ".bin")
_WRAPPERS = ("state_dict", "model", "teacher")  # where training scripts put the weights within their checkpoint
_PREFIXES = ("_orig_mod.", "module.")  # torch.compile, DistributedDataParallel
_UNUSED = ("mask_token", "pooler", "vit.pooler")  # parts of a checkpoint that features do not need


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Any]:
    """Tensors of a weights file by name.

    Raises:
        BadInput: ``NO_WEIGHTS`` if it is absent, ``UNSAFE_FORMAT`` if it holds pickled objects other than tensors or is
            a pickle under another name, ``BAD_WEIGHTS`` if it is damaged or holds no tensors.
    """
    if not path.is_file():
        raise BadInput("NO_WEIGHTS", "there is no such file of weights", file=path, hint="check --weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLES:
        return _read_pickle(path)
    expected = f".safetensors, or {some(PICKLES)}"
    raise BadInput("BAD_OPTION", "weights of this kind are not read", file=path, key="--weights", expected=expected)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        raise BadInput(
            "UNSAFE_FORMAT",
            "this is a pickle named .safetensors",
            file=path,
            hint="convert it to safetensors with the software that wrote it",
        )
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput("BAD_WEIGHTS", "the safetensors file is damaged", file=path, got=error) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    require_torch()  # an old one's weights_only is no shield
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            "UNSAFE_FORMAT",
            "the file holds more than tensors, and opening it could run code",
            file=path,
            hint="save its state_dict as safetensors",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadInput("BAD_WEIGHTS", "the file of weights is damaged", file=path, got=type(error).__name__) from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise BadInput("BAD_WEIGHTS", "the file holds no table of tensors", file=path, hint="save a state_dict")
    return dict(loaded)


def by_position(state: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Weights under the model's names, where both list the same tensors in the same order.

    Raises:
        BadInput: ``BAD_WEIGHTS`` if number or shapes differ.
    """
    target = model.state_dict()
    if [tuple(t.shape) for t in state.values()] != [tuple(t.shape) for t in target.values()]:
        raise BadInput("BAD_WEIGHTS", "the weights do not line up with the model")
    return dict(zip(target, state.values(), strict=True))


def fit_state(state: Mapping[str, Any], model: Any, *, file: Path) -> dict[str, Any]:
    """Weights under exactly the names of a timm model without classifier.

    Understood are timm's own names, those of transformers' ViT and DINOv2, and whatever timm converts for this model.

    Raises:
        BadInput: ``BAD_WEIGHTS`` if a weight is missing, of another shape, or of another model.
    """
    state = {_without_prefix(name): tensor for name, tensor in state.items()}
    target = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if any(name.startswith(("embeddings.", "vit.embeddings.")) for name in state):
        state = from_transformers(state)
    elif not set(_needed(target)) <= set(state):
        convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        state = state if convert is None else _converted(convert, state, model, file)
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    spare = tuple(f"{name}." for name in (*heads, *_UNUSED)) + _UNUSED
    extra = sorted(name for name in set(state) - set(target) if not name.startswith(spare))
    missing = sorted(set(_needed(target)) - set(state))
    other = sorted(name for name in set(state) & set(target) if tuple(state[name].shape) != target[name])
    if extra or missing or other:
        raise BadInput(
            "BAD_WEIGHTS",
            "the weights are not those of this model",
            file=file,
            expected=f"{len(target)} tensors, among them {some(missing or other or list(target), 2)}",
            got=f"{len(missing)} missing, {len(other)} of another shape, {len(extra)} of another model",
            hint="give the weights of the model that --encoder names",
        )
    return {name: state.get(name, tensor) for name, tensor in model.state_dict().items()}


def _needed(target: Iterable[str]) -> list[str]:
    """Batch norm's count of training batches is not used for features, and old files lack it."""
    return [name for name in target if not name.endswith("num_batches_tracked")]


def _without_prefix(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _converted(convert: Any, state: dict[str, Any], model: Any, file: Path) -> dict[str, Any]:
    try:
        return convert(state, model)
    except (KeyError, RuntimeError, ValueError, AttributeError, AssertionError) as error:
        raise BadInput(
            "BAD_WEIGHTS", "the weights are not those of this model", file=file, got=type(error).__name__
        ) from error


_OUTER = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "embeddings.mask_token": "mask_token",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_INNER = {
    "attention.output.dense": "attn.proj",
    "layernorm_before": "norm1",  # ViT
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "norm1": "norm1",  # DINOv2
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
}


def from_transformers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of transformers' ViTModel or Dinov2Model under timm's names.

    timm keeps query, key and value of a block in one matrix: (3 D, D), in this order.
    """
    import torch

    named: dict[str, Any] = {}
    split: dict[str, dict[str, Any]] = {}
    for name, tensor in state.items():
        plain = name.removeprefix("vit.").removeprefix("dinov2.")
        if not plain.startswith("encoder.layer."):
            named[_OUTER.get(plain, plain)] = tensor
            continue
        block, _, rest = plain.removeprefix("encoder.layer.").partition(".")
        part, _, kind = rest.rpartition(".")
        if part.startswith("attention.attention."):
            split.setdefault(f"blocks.{block}.attn.qkv.{kind}", {})[part.rpartition(".")[2]] = tensor
        elif part in _INNER:
            named[f"blocks.{block}.{_INNER[part]}.{'gamma' if kind == 'lambda1' else kind}"] = tensor
        else:
            named[plain] = tensor
    for name, parts in split.items():
        if set(parts) == {"query", "key", "value"}:
            named[name] = torch.cat([parts["query"], parts["key"], parts["value"]])
    return named
