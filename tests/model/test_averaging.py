from __future__ import annotations

import pytest
import torch
from mirror_data.errors import BadInput
from mirror_model.averaging import Ema, Lookahead, make_average
from mirror_model.config import OptimiserConfig, read_config
from torch import nn


def layer(value: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def test_a_moving_average_follows_the_weights() -> None:
    network = layer(1.0)
    average, expected = Ema(network, 0.5), 1.0
    for step, value in enumerate((2.0, 4.0, 8.0, 16.0, 3.0, 5.0, 7.0, 9.0, 11.0)):
        nn.init.constant_(network.weight, value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.kept["weight"].item() == pytest.approx(expected)
    with average.shown():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 11.0


def test_the_trained_weights_come_back_after_an_error() -> None:
    network = layer(1.0)
    average = Ema(network, 0.9)
    nn.init.constant_(network.weight, 5.0)
    with pytest.raises(ValueError, match="stop"), average.shown():
        raise ValueError("stop")
    assert network.weight.item() == 5.0


def test_slow_weights_go_half_the_way_and_the_fast_ones_start_there() -> None:
    network = layer(0.0)
    average = Lookahead(network, 2)
    seen = []
    for step in range(4):
        nn.init.constant_(network.weight, network.weight.item() + 1)
        average.update(step)
        seen.append(network.weight.item())
    assert seen == [1.0, 1.0, 2.0, 2.0]  # 0 -> 2, half is 1; 1 -> 3, half is 2
    with average.shown():
        assert network.weight.item() == 2.0


@pytest.mark.parametrize("kind", [Ema, Lookahead])
def test_what_is_saved_is_what_is_restored(kind: type) -> None:
    one, two = layer(1.0), layer(7.0)
    first = kind(one, 0.5 if kind is Ema else 3)
    nn.init.constant_(one.weight, 4.0)
    first.update(0)
    saved = {name: value.clone() for name, value in first.tensors().items()}
    second = kind(two, 0.5 if kind is Ema else 3)
    second.restore(saved)
    assert torch.equal(second.kept["weight"], first.kept["weight"])
    if kind is Ema:
        assert two.weight.item() == 4.0


def test_settings_choose_the_average() -> None:
    network = layer(0.0)
    assert make_average(network, OptimiserConfig()) is None
    assert isinstance(make_average(network, OptimiserConfig(ema=0.9)), Ema)
    assert isinstance(make_average(network, OptimiserConfig(lookahead=5)), Lookahead)
    with pytest.raises(BadInput, match="choose one"):
        read_config(None, ["optimiser.ema=0.9", "optimiser.lookahead=5"])
