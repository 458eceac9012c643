"""Averages of the weights over training; a resumed training goes on with the very same ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mirror_model.config import OptimiserConfig

_PREFIX = "average/"
_SLOW_SHARE = 0.5


class Average(ABC):
    """Copies of the network's weights, and how they follow them. The network itself holds those that are trained."""

    def __init__(self, network: nn.Module) -> None:
        self.trained = dict(network.named_parameters())
        self.kept = {name: value.detach().clone() for name, value in self.trained.items()}

    @abstractmethod
    def update(self, number: int) -> None:
        """Follow optimiser step ``number``, counted from 0."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the block runs, the network holds the weights that are validated and kept."""
        yield

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs and the network's own checkpoint has not; see `restore`."""
        return {f"{_PREFIX}kept/{name}": value for name, value in self.kept.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for name, value in self.kept.items():
            value.copy_(tensors[f"{_PREFIX}kept/{name}"])


class Ema(Average):
    """An exponential moving average, validated and kept instead of the trained weights.

    The decay rises to its value as (1 + step) / (10 + step), so that the first, random weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    @torch.no_grad()
    def update(self, number: int) -> None:
        share = 1 - min(self.decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(list(self.kept.values()), [self.trained[name].data for name in self.kept], share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        fast = self._swap(self.kept)
        try:
            yield
        finally:
            self._swap(fast)

    @torch.no_grad()
    def _swap(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        before = {name: parameter.detach().clone() for name, parameter in self.trained.items()}
        for name, parameter in self.trained.items():
            parameter.copy_(weights[name])
        return before

    def tensors(self) -> dict[str, Tensor]:
        fast = {f"{_PREFIX}fast/{name}": parameter.detach().clone() for name, parameter in self.trained.items()}
        return super().tensors() | fast

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        super().restore(tensors)
        self._swap({name: tensors[f"{_PREFIX}fast/{name}"] for name in self.trained})


class Lookahead(Average):
    """Slow weights that go half the way to the trained ones every few steps, where these start again.

    Zhang et al. 2019, arXiv 1907.08610. The trained weights are the ones validated and kept.
    """

    def __init__(self, network: nn.Module, every: int) -> None:
        super().__init__(network)
        self.every = every

    @torch.no_grad()
    def update(self, number: int) -> None:
        if (number + 1) % self.every:
            return
        for name, slow in self.kept.items():
            slow.lerp_(self.trained[name], _SLOW_SHARE)
            self.trained[name].copy_(slow)


def make_average(network: nn.Module, config: OptimiserConfig) -> Average | None:
    """The average that the settings ask for."""
    if config.ema:
        return Ema(network, config.ema)
    return Lookahead(network, config.lookahead) if config.lookahead else None
