"""A look inside: one channel of every convolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pix2color.analysis.activations import capture_activations, render_grid
from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint
from pix2color.cli import main
from pix2color.config import ModelConfig, from_dict
from pix2color.errors import ConfigError
from pix2color.models.generator import Generator

TREE = {
    "encoder": "strided_cnn",
    "pretrained": "none",
    "conv_encoder": {"width": 4},
    "decoder": "upsample",
    "upsample": {"stages": [[8], [4]], "mode": "transposed"},
}


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return build_generator(ModelConfig.model_validate(TREE), pretrained=False).eval()


def test_every_convolution_is_there_in_order(generator: Generator) -> None:
    found = capture_activations(generator, torch.rand(1, 1, 20, 28) * 100)
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    names = [name for name, module in generator.named_modules() if isinstance(module, kinds)]
    assert [activation.name for activation in found] == names
    assert found[0].plane.shape == (24, 32)  # padded to the network's multiple
    assert found[-1].channels == 313
    assert not any(module._forward_hooks for module in generator.modules())


def test_the_liveliest_channel_or_the_one_asked_for(generator: Generator) -> None:
    lightness = torch.rand(1, 1, 16, 16) * 100
    first = generator.encoder.levels[0][0]
    planes = first(lightness / 100)[0]
    liveliest = capture_activations(generator, lightness)[0]
    assert liveliest.channel == int(planes.std((1, 2)).argmax())
    np.testing.assert_allclose(
        liveliest.plane, planes[liveliest.channel].detach().numpy(), atol=1e-4
    )
    asked = capture_activations(generator, lightness, channel=6)
    assert [a.channel for a in asked] == [min(6, a.channels - 1) for a in asked]
    with pytest.raises(ConfigError, match="count from 0"):
        capture_activations(generator, lightness, channel=-1)


def test_the_picture_holds_all_maps(generator: Generator) -> None:
    found = capture_activations(generator, torch.rand(1, 1, 16, 16) * 100)
    picture = render_grid(found)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 8 * 132 + 4
    assert picture.shape[0] == -(-len(found) // 8) * (128 + 24 + 4) + 4
    assert render_grid([]).ndim == 3


def test_the_command(generator: Generator, photo_folder: Path, tmp_path: Path) -> None:
    config = from_dict({"model": TREE, "decode": {"input_size": 32}})
    checkpoint.save(tmp_path / "net.safetensors", generator, config=config)
    photo = sorted(photo_folder.iterdir())[0]
    out = tmp_path / "new" / "maps.png"
    arguments = [
        "analyze",
        "activations",
        str(photo),
        "--checkpoint",
        str(tmp_path / "net.safetensors"),
    ]
    assert main([*arguments, "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.width == 8 * 132 + 4
