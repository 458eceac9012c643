"""Attention with a convolution of the values, the position encoder, transformer blocks.

Shapes: B bags, T tokens (CLS first), D width, H heads, d = D / H, m landmarks, s side of a square of tokens.
A mask is True where a token counts; tokens that do not count never reach those that do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

RNA_NORM_EPS = 1e-6  # of every LayerNorm on the RNA side, as published; the slide side has PyTorch's 1e-5
_SHORT = 512  # tokens up to which bf16 softmax attention is faster spelled out than by the CPU's fused kernel


class ValueConvolution(nn.Module):
    """A depthwise convolution of the values along the sequence, one filter a head."""

    def __init__(self, heads: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(heads, kernel))
        nn.init.uniform_(self.weight, -(kernel**-0.5), kernel**-0.5)

    def forward(self, values: Tensor) -> Tensor:
        B, T, D = values.shape
        if self.kernel >= T:  # a sequence shorter than the filter: libraries convolve it slowly
            return self._multiply(values)
        on_cpu = values.device.type == "cpu"  # where float32 is the faster: in bf16 the filters' gradient takes twice
        with torch.autocast(values.device.type, enabled=not on_cpu):
            filters = self.weight.repeat_interleave(D // len(self.weight), 0)  # (H, K) -> (D, K)
            image = values.reshape(B, T, 1, D).permute(0, 3, 1, 2)  # (B, D, T, 1), channels last without a copy
            image = image.to(filters.dtype) if on_cpu else image
            mixed = nnf.conv2d(image, filters.view(D, 1, self.kernel, 1), padding=(self.kernel // 2, 0), groups=D)
        return mixed.to(values.dtype).permute(0, 2, 3, 1).reshape(B, T, D)

    def _multiply(self, values: Tensor) -> Tensor:
        """The same as a product with a banded matrix."""
        B, T, D = values.shape
        H = len(self.weight)
        place = torch.arange(T, device=values.device)
        tap = place[None, :] - place[:, None] + self.kernel // 2  # (T, T) which weight meets which value
        inside = (tap >= 0) & (tap < self.kernel)
        band = self.weight[:, tap.clamp(0, self.kernel - 1)] * inside  # (H, T, T)
        mixed = band @ values.view(B, T, H, D // H).transpose(1, 2)  # (B, H, T, d)
        return mixed.transpose(1, 2).reshape(B, T, D)


class Dropout(nn.Dropout):
    """`nn.Dropout` whose random numbers, on a CPU, are drawn four at a time: a fifth of the time.

    The share that is dropped is rounded to a multiple of 1 / 65,536.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        count = input.numel()
        drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)  # 64 random bits each
        dropped = round(self.p * 65536)
        kept = drawn.view(torch.int16)[:count].view(input.shape) >= dropped - 32768
        return input * kept.to(input.dtype) * (65536 / (65536 - dropped))


class Attention(nn.Module, ABC):
    """What both kinds of attention share: projections and the convolution of the values (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, value_kernel: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.value_conv = ValueConvolution(heads, value_kernel) if value_kernel else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B, T, D)
        if mask is not None:
            v = v * mask.unsqueeze(-1)  # so that the convolution sees zeros beyond the bag's end
        mixed = self.mix(self.split(q), self.split(k), self.split(v), mask)  # (B, H, T, d)
        mixed = mixed.transpose(1, 2).reshape(x.shape)  # (B, T, D)
        if self.value_conv is not None:
            mixed = mixed + self.value_conv(v)
        return self.dropout(self.out(mixed))

    def split(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        return x.view(B, T, self.heads, D // self.heads).transpose(1, 2)  # (B, H, T, d)

    @abstractmethod
    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Values mixed by attention, (B, H, T, d) each -> (B, H, T, d)."""

    @abstractmethod
    def cls_weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weight of every token in the CLS token's update, mean over heads: (B, T), not negative, sums to 1."""


class ExactAttention(Attention):
    """Softmax attention; a bag's result never depends on the others in the batch."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        keys = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= _SHORT:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, T)
            if keys is not None:
                scores = scores.masked_fill(~keys, torch.finfo(scores.dtype).min)
            return scores.softmax(-1).to(v.dtype) @ v
        return nnf.scaled_dot_product_attention(q, k, v, attn_mask=keys)

    def cls_weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, _ = self.qkv(x).chunk(3, dim=-1)
        q, k = self.split(q[:, :1]), self.split(k)  # (B, H, 1, d), (B, H, T, d)
        scores = (q @ k.transpose(-1, -2)).squeeze(2).float() * q.shape[-1] ** -0.5  # (B, H, T)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, :], float("-inf"))
        return scores.softmax(-1).mean(1)


class NystromAttention(Attention):
    """Attention through m landmarks (Xiong et al. 2021, doi 10.1609/aaai.v35i16.17664), as the published model has it.

    Kept for parity. Two flaws: the pseudo-inverse is scaled by a maximum over the whole batch, so a bag's result
    depends on the others; and the sequence is filled up in front with zeros that take part.
    """

    def __init__(
        self, dim: int, heads: int, value_kernel: int, dropout: float, landmarks: int, iterations: int
    ) -> None:
        super().__init__(dim, heads, value_kernel, dropout)
        self.landmarks, self.iterations = landmarks, iterations

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            raise ValueError("nystrom attention knows no padding; give it bags of one size")
        left, middle, right, fill = self._kernels(q, k)
        v = nnf.pad(v, (0, 0, fill, 0))
        return ((left @ middle) @ (right @ v))[:, :, fill:]

    def _kernels(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
        """Three factors of the attention matrix, (T', m), (m, m), (m, T') a head, and how many zeros stand in front."""
        B, H, T, d = q.shape
        fill = -T % self.landmarks
        q, k = nnf.pad(q * d**-0.5, (0, 0, fill, 0)), nnf.pad(k, (0, 0, fill, 0))
        q_mean = q.reshape(B, H, self.landmarks, -1, d).mean(3)  # (B, H, m, d)
        k_mean = k.reshape(B, H, self.landmarks, -1, d).mean(3)
        left = (q @ k_mean.transpose(-1, -2)).softmax(-1)
        middle = (q_mean @ k_mean.transpose(-1, -2)).softmax(-1)
        right = (q_mean @ k.transpose(-1, -2)).softmax(-1)
        return left, pseudo_inverse(middle, self.iterations), right, fill

    def cls_weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, _ = self.qkv(x).chunk(3, dim=-1)
        left, middle, right, fill = self._kernels(self.split(q), self.split(k))
        row = ((left[:, :, fill : fill + 1] @ middle) @ right)[..., fill:]  # (B, H, 1, T)
        row = row.squeeze(2).float().mean(1).clamp_min(0)  # the approximation may fall below zero
        return row / row.sum(-1, keepdim=True).clamp_min(torch.finfo(row.dtype).tiny)


def pseudo_inverse(matrix: Tensor, iterations: int) -> Tensor:
    """Moore-Penrose inverse of (..., m, m) by the iteration of Razavi et al. (doi 10.1155/2014/563787)."""
    size = matrix.abs()
    scale = size.sum(-1).max() * size.sum(-2).max()  # one scale for the whole batch: the published behaviour
    z = matrix.transpose(-1, -2) / scale
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(iterations):
        az = matrix @ z
        z = 0.25 * z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az)))
    return z


class PositionEncoder(nn.Module):
    """PPEG (TransMIL, arXiv 2106.00908): tokens as an image, plus depthwise convolutions of widths 7, 5 and 3 of it.

    The three convolutions and the identity are linear, so they run as one 7 x 7 convolution.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv7 = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.conv5 = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv3 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight (D, 1, 7, 7) and bias (D,) of the one convolution."""
        weight = self.conv7.weight + nnf.pad(self.conv5.weight, [1] * 4) + nnf.pad(self.conv3.weight, [2] * 4)
        identity = nnf.pad(weight.new_ones(1, 1, 1, 1), [3] * 4)  # 1 in the middle
        one, two, three = (conv.bias for conv in (self.conv7, self.conv5, self.conv3))
        assert one is not None and two is not None and three is not None  # noqa: PT018
        # Not stacked and summed: the three gradients would share one memory, and change together when added to.
        return weight + identity, one + two + three

    def forward(self, image: Tensor) -> Tensor:
        """(B, s, s, D) -> (B, s, s, D), in float32 on a CPU, where that is the faster."""
        with torch.autocast(image.device.type, enabled=image.device.type != "cpu"):
            weight, bias = self.merged()
            image = image.to(weight.dtype) if image.device.type == "cpu" else image
            mixed = nnf.conv2d(image.permute(0, 3, 1, 2), weight, bias, padding=3, groups=len(weight))
        return mixed.permute(0, 2, 3, 1)


class AttentionBlock(nn.Module):
    """x + Attention(LayerNorm(x))."""

    def __init__(self, dim: int, attention: Attention) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = attention

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x + self.attention(self.norm(x), mask)

    def cls_weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attention.cls_weights(self.norm(x), mask)


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden: int, out: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(nnf.gelu(self.fc1(x))))


class TransformerBlock(nn.Module):
    """Pre-norm: x + Attention(norm(x)), then x + MLP(norm(x)). (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, RNA_NORM_EPS), nn.LayerNorm(dim, RNA_NORM_EPS)
        self.attention = ExactAttention(dim, heads, 0, dropout)
        self.mlp = MLP(dim, int(dim * mlp_ratio), dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ChunkAttention(nn.Module):
    """Attention across the H chunks of one vector: they are the tokens (B, D) -> (B, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, D = x.shape
        q, k, v = self.qkv(x).view(B, 3, self.heads, D // self.heads).unbind(1)  # each (B, H, d)
        mixed = ((q * (D // self.heads) ** -0.5) @ k.transpose(1, 2)).softmax(-1) @ v  # (B, H, d)
        return self.proj(mixed.transpose(1, 2).reshape(B, D))  # (B, d, H) flattened, as published


class ChunkBlock(nn.Module):
    """Pre-norm block over a vector cut in chunks (B, D) -> (B, D)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, RNA_NORM_EPS), nn.LayerNorm(dim, RNA_NORM_EPS)
        self.attention = ChunkAttention(dim, heads)
        self.mlp = MLP(dim, int(dim * mlp_ratio), dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def compile_blocks(network: nn.Module) -> None:
    """Compile every block of a network in place; a network without blocks stays as it is.

    Blocks rather than the whole: bags come in many sizes, and what cuts them to size would be compiled anew for each.
    """
    for module in network.modules():
        if isinstance(module, AttentionBlock | TransformerBlock | ChunkBlock):
            module.compile(dynamic=True)
