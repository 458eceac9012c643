"""Weights files: safe to open, and all of the model's or none. Hub models built from their documents."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.errors import BadInput
from mirror_data.slides import hub
from mirror_data.slides.encoders import load_encoder
from mirror_data.slides.weights import by_position, fit_state, read_state
from safetensors.torch import save_file

REVISION = "0123456789abcdef0123456789abcdef01234567"
WIDTH, DEPTH, HEADS, SIDE, PATCH = 24, 2, 3, 32, 16


def code_of(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_state(path)
    return caught.value.code


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def test_pickle_named_safetensors(tmp_path, capsys):
    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Evil()))
    torch.save({"w": torch.ones(2)}, tmp_path / "b.safetensors")
    assert code_of(tmp_path / "a.safetensors") == "UNSAFE_FORMAT"
    assert code_of(tmp_path / "b.safetensors") == "UNSAFE_FORMAT"
    assert "code ran" not in capsys.readouterr().out


def test_pickle_with_code(tmp_path, capsys):
    torch.save({"w": Evil()}, tmp_path / "a.pt")
    assert code_of(tmp_path / "a.pt") == "UNSAFE_FORMAT"
    assert "code ran" not in capsys.readouterr().out


def test_damaged_and_missing(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 not json")
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04 nothing")
    torch.save([1, 2], tmp_path / "c.pt")
    (tmp_path / "d.h5").write_bytes(b"x")
    assert code_of(tmp_path / "a.safetensors") == "BAD_WEIGHTS"
    assert code_of(tmp_path / "b.pt") == "BAD_WEIGHTS"
    assert code_of(tmp_path / "c.pt") == "BAD_WEIGHTS"
    assert code_of(tmp_path / "d.h5") == "BAD_OPTION"
    assert code_of(tmp_path / "gone.pt") == "NO_WEIGHTS"


def test_wrapped_checkpoints(tmp_path, random_weights):
    state = read_state(random_weights("test_resnet"))
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.pth")
    direct = load_encoder("timm:test_resnet", random_weights("test_resnet"), "fp32", "cpu")
    wrapped = load_encoder("timm:test_resnet", tmp_path / "a.pth", "fp32", "cpu")
    batch = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    assert np.array_equal(direct(batch), wrapped(batch))
    assert direct.weights_sha256 != wrapped.weights_sha256


@pytest.mark.parametrize("change", ["missing", "shape", "extra"])
def test_weights_of_another_model(tmp_path, random_weights, change):
    state = read_state(random_weights("test_resnet"))
    if change == "missing":
        del state["conv1.0.weight" if "conv1.0.weight" in state else "conv1.weight"]
    elif change == "shape":
        name = next(iter(state))
        state[name] = torch.zeros(3, *state[name].shape)
    else:
        state["layer9.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(BadInput) as caught:
        load_encoder("timm:test_resnet", tmp_path / "a.safetensors")
    assert caught.value.code == "BAD_WEIGHTS"
    assert {"missing": "1 missing", "shape": "1 of another shape", "extra": "1 of another model"}[change] in str(
        caught.value.got
    )


def test_by_position_needs_equal_shapes():
    model = torch.nn.Linear(3, 2)
    with pytest.raises(BadInput):
        by_position({"a": torch.zeros(2, 3)}, model)
    named = by_position({"a": torch.zeros(2, 3), "b": torch.ones(2)}, model)
    assert list(named) == ["weight", "bias"]


def transformers_state(kind: str) -> dict[str, torch.Tensor]:
    """Random weights under the names in which transformers saves a ViTModel or a Dinov2Model."""
    torch.manual_seed(0)
    tokens, hidden = (SIDE // PATCH) ** 2 + 1, 2 * WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.position_embeddings": (1, tokens, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    vit = kind == "vit"
    norms = ("layernorm_before", "layernorm_after") if vit else ("norm1", "norm2")
    first, second = ("intermediate.dense", "output.dense") if vit else ("mlp.fc1", "mlp.fc2")
    for i in range(DEPTH):
        linear = {f"attention.attention.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        linear |= {"attention.output.dense": (WIDTH, WIDTH), first: (hidden, WIDTH), second: (WIDTH, hidden)}
        for name, shape in linear.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
        for name in norms:
            shapes[f"encoder.layer.{i}.{name}.weight"] = shapes[f"encoder.layer.{i}.{name}.bias"] = (WIDTH,)
        if not vit:
            for name in ("layer_scale1", "layer_scale2"):
                shapes[f"encoder.layer.{i}.{name}.lambda1"] = (WIDTH,)
    if vit:
        shapes |= {"pooler.dense.weight": (WIDTH, WIDTH), "pooler.dense.bias": (WIDTH,)}
    else:
        shapes["embeddings.mask_token"] = (1, WIDTH)
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def reference(state: dict[str, torch.Tensor], kind: str, pixels: torch.Tensor, eps: float) -> torch.Tensor:
    """A pre-norm vision transformer written out; its CLS token after the last norm, (B, WIDTH)."""
    functional = torch.nn.functional
    vit = kind == "vit"
    norms = ("layernorm_before", "layernorm_after") if vit else ("norm1", "norm2")
    first, second = ("intermediate.dense", "output.dense") if vit else ("mlp.fc1", "mlp.fc2")

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], eps)

    projection = "embeddings.patch_embeddings.projection"
    patches = functional.conv2d(pixels, state[f"{projection}.weight"], state[f"{projection}.bias"], stride=PATCH)
    tokens = patches.flatten(2).transpose(1, 2)  # (B, N, WIDTH)
    tokens = torch.cat([state["embeddings.cls_token"].expand(len(pixels), -1, -1), tokens], 1)
    tokens = tokens + state["embeddings.position_embeddings"]
    for i in range(DEPTH):
        at = f"encoder.layer.{i}"
        x = norm(f"{at}.{norms[0]}", tokens)
        q, k, v = (
            linear(f"{at}.attention.attention.{part}", x).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        x = linear(f"{at}.attention.output.dense", (weights @ v).transpose(1, 2).flatten(2))
        tokens = tokens + (x if vit else x * state[f"{at}.layer_scale1.lambda1"])
        x = linear(f"{at}.{second}", functional.gelu(linear(f"{at}.{first}", norm(f"{at}.{norms[1]}", tokens))))
        tokens = tokens + (x if vit else x * state[f"{at}.layer_scale2.lambda1"])
    return norm("layernorm", tokens)[:, 0]


def hub_folder(folder: Path, kind: str) -> Path:
    """A hub repository on disk, as the hub would give its files."""
    config = {"model_type": kind, "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS}
    config |= {"image_size": SIDE, "patch_size": PATCH, "qkv_bias": True, "hidden_act": "gelu", "layer_norm_eps": 1e-3}
    config |= {"intermediate_size": 2 * WIDTH} if kind == "vit" else {"mlp_ratio": 2}
    preset = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preset | {"resample": 3}))
    save_file(transformers_state(kind), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_hub_model_of_transformers(tmp_path, monkeypatch, kind):
    folder = hub_folder(tmp_path, kind)
    asked = []

    def download(repository, file_name, revision):
        asked.append((repository, revision))
        return str(folder / file_name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    encoder = load_encoder(f"hf:owner/name@{REVISION}", None, "fp32", "cpu")
    assert set(asked) == {("owner/name", REVISION)}
    assert (encoder.width, encoder.transform.size, encoder.transform.interpolation) == (WIDTH, SIDE, "bicubic")
    batch = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    mean, sd = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    pixels = ((torch.from_numpy(batch) / 255 - mean) / sd).permute(0, 3, 1, 2)
    expected = reference(transformers_state(kind), kind, pixels, 1e-3).numpy()
    assert np.abs(expected).mean() > 0.05
    assert np.abs(encoder(batch) - expected).max() < 1e-4


def test_hub_model_of_timm(tmp_path, monkeypatch, random_weights):
    preset = {"input_size": [3, 96, 96], "mean": [0.1] * 3, "std": [0.9] * 3, "interpolation": "bilinear"}
    config = {"architecture": "test_resnet", "num_classes": 1000, "pretrained_cfg": preset}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(random_weights("test_resnet", 1000).read_bytes())
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repository, name, revision: str(tmp_path / name))
    encoder = load_encoder(f"hf:owner/name@{REVISION}", None, "fp32", "cpu")
    assert (encoder.transform.size, encoder.transform.mean, encoder.transform.interpolation) == (
        96,
        (0.1,) * 3,
        "bilinear",
    )
    assert encoder(np.zeros((2, 256, 256, 3), np.uint8)).shape == (2, encoder.width)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert"},
        {},
        {"architecture": "no_such_model"},
        {"architecture": "test_resnet", "model_args": {"no_such_argument": 1}},
        {"architecture": "test_resnet", "pretrained_cfg": {"interpolation": "nearest"}},
        {"model_type": "dinov2", "use_swiglu_ffn": True},
    ],
)
def test_hub_model_of_another_kind(tmp_path, monkeypatch, random_weights, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(random_weights("test_resnet").read_bytes())
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repository, name, revision: str(tmp_path / name))
    with pytest.raises(BadInput) as caught:
        load_encoder(f"hf:owner/name@{REVISION}")
    assert caught.value.code == "BAD_OPTION"


def test_incomplete_transformers_weights():
    state = transformers_state("vit")
    del state["encoder.layer.1.attention.attention.key.weight"]
    config = {"model_type": "vit", "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS}
    model = hub.build_vit(config | {"image_size": SIDE, "patch_size": PATCH, "intermediate_size": 2 * WIDTH})
    with pytest.raises(BadInput) as caught:
        fit_state(state, model, file=Path("a.safetensors"))
    assert caught.value.code == "BAD_WEIGHTS"
    assert "blocks.1.attn.qkv.weight" in str(caught.value.expected)
