from __future__ import annotations

import pytest
import torch
from mirror_model.layers import (
    ChunkAttention,
    Dropout,
    ExactAttention,
    NystromAttention,
    PositionEncoder,
    TransformerBlock,
    ValueConvolution,
)
from torch.nn import functional as nnf


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("tokens", [7, 48, 61, 100])
def test_nystrom_equals_the_independent_package(tokens: int) -> None:
    package = pytest.importorskip("nystrom_attention")
    ours = NystromAttention(32, 4, 33, 0.1, landmarks=16, iterations=6).eval()
    theirs = package.NystromAttention(dim=32, dim_head=8, heads=4, num_landmarks=16, pinv_iterations=6).eval()
    theirs.to_qkv.weight.data.copy_(ours.qkv.weight)
    theirs.to_out[0].load_state_dict(ours.out.state_dict())
    theirs.res_conv.weight.data.copy_(ours.value_conv.weight.view(4, 1, 33, 1))
    x = torch.randn(3, tokens, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
        _, attention = theirs(x, return_attn=True)
    row = attention[:, :, -tokens, -tokens:].mean(1).clamp_min(0)
    weights = ours.cls_weights(x)
    torch.testing.assert_close(weights, row / row.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def naive_attention(layer: ExactAttention, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention written as loops over heads and tokens; also the CLS row, mean over heads."""
    B, T, D = x.shape
    d = D // layer.heads
    q, k, v = layer.qkv(x).split(D, -1)
    out, rows = torch.zeros(B, T, D), torch.zeros(B, T)
    for h in range(layer.heads):
        part = slice(h * d, (h + 1) * d)
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / d**0.5, -1)
        out[..., part] = weights @ v[..., part]
        rows += weights[:, 0] / layer.heads
        half = layer.value_conv.kernel // 2
        for t in range(T):
            for offset in range(-half, half + 1):
                if 0 <= t + offset < T:
                    out[:, t, part] += layer.value_conv.weight[h, offset + half] * v[:, t + offset, part]
    return layer.out(out), rows


@pytest.mark.parametrize("tokens", [5, 40])
def test_exact_attention_equals_its_definition(tokens: int) -> None:
    layer = ExactAttention(16, 4, 33, 0.0).eval()
    x = torch.randn(2, tokens, 16)
    with torch.no_grad():
        expected, row = naive_attention(layer, x)
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(layer.cls_weights(x), row, rtol=1e-5, atol=1e-6)


def test_masked_tokens_reach_nobody() -> None:
    layer = ExactAttention(16, 4, 5, 0.0).eval()
    x, mask = torch.randn(2, 12, 16), torch.ones(2, 12, dtype=torch.bool)
    mask[0, 8:] = False
    with torch.no_grad():
        both = layer(x, mask)
        torch.testing.assert_close(both[0, :8], layer(x[:1, :8])[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(both[1], layer(x[1:])[0], rtol=1e-5, atol=1e-6)
        weights = layer.cls_weights(x, mask)
    assert weights[0, 8:].eq(0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


def test_bf16_on_cpu_stays_near_float32() -> None:
    layer = ExactAttention(32, 4, 5, 0.0).eval()
    x, mask = torch.randn(2, 20, 32), torch.ones(2, 20, dtype=torch.bool)
    mask[0, 8:] = False
    with torch.no_grad():
        exact = layer(x, mask)
        with torch.autocast("cpu", torch.bfloat16):
            rough = layer(x, mask)
    assert (rough.float() - exact)[mask].abs().max() < 0.02


@pytest.mark.parametrize("tokens", [3, 9, 10, 60])
def test_value_convolution_is_one_filter_a_head(tokens: int) -> None:
    conv = ValueConvolution(2, 9)
    values = torch.randn(2, tokens, 8)
    heads = values.view(2, tokens, 2, 4).transpose(1, 2)  # (B, H, T, d)
    expected = nnf.conv2d(heads, conv.weight.view(2, 1, 9, 1), padding=(4, 0), groups=2)
    torch.testing.assert_close(conv(values), expected.transpose(1, 2).reshape(2, tokens, 8), rtol=1e-5, atol=1e-5)


def test_position_encoder_is_the_sum_of_its_parts() -> None:
    encoder = PositionEncoder(6)
    image = torch.randn(2, 5, 5, 6)
    channels = image.permute(0, 3, 1, 2)
    expected = channels + encoder.conv7(channels) + encoder.conv5(channels) + encoder.conv3(channels)
    torch.testing.assert_close(encoder(image), expected.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_chunk_attention_runs_across_the_chunks_of_a_vector() -> None:
    layer = ChunkAttention(12, 3)
    x = torch.randn(4, 12)
    q, k, v = layer.qkv(x).split(12, -1)
    for patient in range(4):
        chunks = [t[patient].view(3, 4) for t in (q, k, v)]
        mixed = torch.softmax(chunks[0] @ chunks[1].T / 2, -1) @ chunks[2]  # (H, d)
        torch.testing.assert_close(layer(x)[patient], layer.proj(mixed.T.reshape(-1)), rtol=1e-5, atol=1e-6)


def test_transformer_block_keeps_shape_and_gradients() -> None:
    block = TransformerBlock(16, 4, 2.0, 0.0)
    x = torch.randn(2, 5, 16, requires_grad=True)
    block(x).square().sum().backward()
    assert x.grad is not None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_the_mean_and_drops_its_share(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = Dropout(0.1), torch.full((3, 1001, 101), 2.0, dtype=dtype, requires_grad=True)
    out = layer.train()(x)
    share = out.eq(0).double().mean().item()
    assert share == pytest.approx(0.1, abs=3e-3)  # 5 standard errors
    kept = out[out.ne(0)].detach().double()
    assert kept.min() == kept.max() == pytest.approx(2 / 0.9, rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
    out.sum().backward()
    assert torch.equal(x.grad.ne(0), out.ne(0))  # what is dropped gets no gradient
    flat = out.detach().eq(0).flatten().double()
    assert abs(torch.corrcoef(torch.stack([flat[:-1], flat[1:]]))[0, 1].item()) < 0.01
    torch.manual_seed(0)
    assert torch.equal(layer(x), out)
    assert torch.equal(layer.eval()(x), x)
    assert Dropout(0.0).train()(x) is x
