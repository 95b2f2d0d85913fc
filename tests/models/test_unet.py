"""The U-Net's residual blocks: the identity at first, and added to weights that lack them."""

from __future__ import annotations

import torch
from torch import Tensor

from pix2color.build import build_generator
from pix2color.config import ModelConfig
from pix2color.models.unet import RESIDUAL_PREFIX, add_identity_blocks, identity_block

TREE = {"encoder": "zhang_cnn", "conv_encoder": {"width": 4}, "decoder_channels": [8]}


def state(seed: int, **options: object) -> dict[str, Tensor]:
    """Weights of a small U-Net in which no batch norm has its initial values."""
    torch.manual_seed(seed)
    generator = build_generator(ModelConfig.model_validate(TREE | options), pretrained=False)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return generator.state_dict()


def test_an_untrained_block_is_the_identity() -> None:
    x = torch.randn(2, 6, 5, 7)
    assert torch.equal(identity_block(6).eval()(x), x)


def test_missing_residual_blocks_are_added_as_the_identity() -> None:
    """The mean of a network without residual blocks and of one with them needs the same keys."""
    small, large = state(0), state(1, residual_blocks=[1, 2])
    grown = add_identity_blocks(small, large)
    assert grown.keys() == large.keys()
    assert {key for key in grown if key not in small} == {
        key for key in large if key.startswith(RESIDUAL_PREFIX)
    }
    lightness = torch.rand(1, 1, 32, 32) * 100
    outputs = []
    for options, tensors in (({}, small), ({"residual_blocks": [1, 2]}, grown)):
        model = ModelConfig.model_validate(TREE | options)
        generator = build_generator(model, pretrained=False)
        generator.load_state_dict(tensors)
        outputs.append(generator.eval()(lightness))
    assert torch.equal(outputs[0], outputs[1])


def test_blocks_that_are_there_keep_their_weights() -> None:
    some, more = state(0, residual_blocks=[1]), state(1, residual_blocks=[1, 2])
    grown = add_identity_blocks(some, more)
    assert grown.keys() == more.keys()
    assert all(torch.equal(grown[key], value) for key, value in some.items())


def test_the_packaged_keys_of_the_residual_blocks() -> None:
    """Keys of released weights must not change: they would not load any more."""
    keys = [key.removeprefix(RESIDUAL_PREFIX) for key in state(0, residual_blocks=[1])]
    assert [k for k in keys if k.startswith("0.0.body") and k.endswith(("weight", "bias"))] == [
        "0.0.body.0.0.weight", "0.0.body.0.1.weight", "0.0.body.0.1.bias",
        "0.0.body.1.weight", "0.0.body.2.weight", "0.0.body.2.bias",
    ]  # fmt: skip
