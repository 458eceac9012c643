"""Random streams. Every random number of a step comes from (seed, fold, epoch, step, patient's place) alone.

So a training can be stopped after any step and goes on as if it never had been, and what is drawn for a patient depends
neither on the others of its batch nor on which process or part of the batch it falls to. Dropout alone is drawn for a
part as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Use(IntEnum):
    """What a random stream is for; part of its seed."""

    START = 0
    ORDER = 1
    STEP = 2


def numpy_stream(*words: int) -> np.random.Generator:
    """A random stream of its own for each tuple of words."""
    return np.random.default_rng(np.random.SeedSequence(words))


def seed_torch(*words: int) -> None:
    """Start PyTorch's own stream from a tuple of words."""
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 0.6 ms to note who called it, for a GPU to come
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@dataclass(frozen=True)
class Noise:
    """The random numbers of a step, where a caller decides them; None is drawn by the network itself.

    Shapes: Bs patients with slides, Br with RNA, N tiles, D width, M gene groups, Z style size.
    """

    slide_mask: Tensor | None = None  # (Bs, N) uniform
    rna_mask: Tensor | None = None  # (Br, D) uniform, or (Br, M) with gene groups
    slide_style: Tensor | None = None  # (Bs, Z) normal
    rna_style: Tensor | None = None  # (Br, Z) normal

    def to(self, device: torch.device) -> Noise:
        return Noise(*(None if value is None else value.to(device) for value in vars(self).values()))


NO_NOISE = Noise()


@dataclass(frozen=True)
class NoiseSizes:
    """How many random numbers a network wants of each kind for a patient; 0: none."""

    slide_mask: bool = False  # one a tile
    rna_mask: int = 0
    style: int = 0

    def draw(self, streams: list[np.random.Generator], tiles: list[int], rna: list[bool]) -> Noise:
        """Noise for patients, each from its own stream.

        Args:
            streams: B, one a patient.
            tiles: B, how many of each patient are in the batch; 0 for one without slides.
            rna: B, whether a patient has expression.
        """
        slides, most = [k for k, count in enumerate(tiles) if count], max(tiles, default=0)
        own = [k for k, there in enumerate(rna) if there]
        masks = np.ones((len(slides), most), dtype=np.float32)
        if self.slide_mask:
            for row, k in enumerate(slides):
                masks[row, : tiles[k]] = streams[k].random(tiles[k], dtype=np.float32)
        hidden = [streams[k].random(self.rna_mask, dtype=np.float32) for k in own if self.rna_mask]
        style = {k: streams[k].standard_normal((2, self.style), dtype=np.float32) for k in range(len(streams))}
        return Noise(
            torch.from_numpy(masks) if self.slide_mask and slides else None,
            torch.from_numpy(np.stack(hidden)) if hidden else None,
            torch.from_numpy(np.stack([style[k][0] for k in slides])) if self.style and slides else None,
            torch.from_numpy(np.stack([style[k][1] for k in own])) if self.style and own else None,
        )
