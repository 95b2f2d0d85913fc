"""Networks that are built without drawing their first weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pix2color.models.encoders import build_encoder
from pix2color.models.heads import ClassificationHead
from pix2color.models.init import skip_weight_init


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "efficientnet_b0"])
def test_random_weights_are_zero_and_nothing_else_changes(name: str) -> None:
    torch.manual_seed(0)
    drawn = build_encoder(name)
    state = torch.get_rng_state()
    with skip_weight_init():
        encoder = build_encoder(name)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(encoder.mean, drawn.mean) and torch.equal(encoder.std, drawn.std)
    made, known = encoder.state_dict(), drawn.state_dict()
    for key, value in known.items():
        constant = value.unique().numel() == 1
        assert torch.equal(made[key], value if constant else torch.zeros_like(value)), key
    encoder.load_state_dict(known)
    assert all(p.requires_grad for p in encoder.parameters())


def test_buffers_are_computed_as_usual() -> None:
    prior = torch.rand(313, dtype=torch.float64)
    with skip_weight_init():
        head = ClassificationHead(8, prior / prior.sum(), rebalance_lambda=0.5)
    expected = ClassificationHead(8, prior / prior.sum(), rebalance_lambda=0.5)
    assert torch.equal(head.log_prior, expected.log_prior)
    assert torch.equal(head.class_weight, expected.class_weight)


def test_weights_are_initialized_again_afterwards() -> None:
    with skip_weight_init():
        assert not nn.Conv2d(3, 4, 3).weight.any()
    assert nn.Conv2d(3, 4, 3).weight.all()
