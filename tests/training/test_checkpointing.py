"""What a training remembers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pix2color.training.checkpointing import make_ema


@pytest.mark.parametrize("half_life", [0, 12])
def test_the_average_of_the_weights_forgets_by_half_each_half_life(half_life: int) -> None:
    """And faster at first: the decay is min(d, (1 + n) / (10 + n)) after n updates."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = make_ema(network, half_life=half_life, samples_per_step=4)
    expected: dict[str, torch.Tensor] = {}
    for n in range(12):
        for parameter in network.parameters():
            nn.init.normal_(parameter)
        network(torch.randn(5, 3))  # moves the batch statistics
        average.update_parameters(network)
        decay = min(0.5 ** (1 / 3), (1 + n) / (10 + n)) if half_life and n else 0.0
        for name, value in network.named_parameters():
            before = expected.get(name, value)
            expected[name] = (decay * before + (1 - decay) * value).detach()
    for name, value in average.module.named_parameters():
        torch.testing.assert_close(value, expected[name])
    for name, buffer in average.module.named_buffers():
        assert torch.equal(buffer, dict(network.named_buffers())[name])
