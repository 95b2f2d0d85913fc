"""Every decoder, under every kind of head: features of an encoder -> one map at the stride."""

from __future__ import annotations

import functools
from typing import Any, get_args

import pytest
import torch
from modules import check_gradients, check_state, draw, in_bfloat16
from torch import nn

from pix2color.build import build_generator
from pix2color.config import DecodeConfig, ModelConfig
from pix2color.errors import ConfigError
from pix2color.models.generator import Generator

CONV = {"encoder": "zhang_cnn", "decoder_channels": [8], "convs_per_level": [1]}
TINY: dict[str, dict[str, Any]] = {
    "unet": CONV | {"output_stride": 2},
    "unet residual": CONV | {"convs_per_level": [2], "residual_blocks": [1, 1]},
    "unet attention": {"decoder_channels": [32], "convs_per_level": [1], "attention": True},
    "unet gray stem": {"num_encoder_levels": 2, "sum_rgb_stem": True, "output_stride": 2,
                       "decoder_channels": [8], "convs_per_level": [1]},
    "unet hints": CONV | {"hints": True},
    "hypercolumn": {"num_encoder_levels": 4, "decoder": "hypercolumn", "output_stride": 1,
                    "hypercolumn": {"width": 16, "blocks": 1}},
    "upsample nearest": {"encoder": "zhang_cnn", "conv_encoder": {"dropout": 0.1},
                         "decoder": "upsample",
                         "upsample": {"stages": [[], [16, 16]], "norm": "stage"}},
    "upsample bilinear": {"encoder": "strided_cnn", "decoder": "upsample", "output_stride": 2,
                          "upsample": {"stages": [[16], [8], [8]], "mode": "bilinear"}},
    "upsample transposed": {"encoder": "strided_cnn", "decoder": "upsample", "output_stride": 1,
                            "upsample": {"stages": [[], [8], [8], [8]], "mode": "transposed",
                                         "norm": "each"}},
    "shortcut": {"encoder": "siggraph_cnn", "decoder": "shortcut", "output_stride": 2,
                 "shortcut": {"stages": [[16, 8], [8]]}},
    "shortcut hints": {"encoder": "siggraph_cnn", "hints": True, "decoder": "shortcut",
                       "output_stride": 1},
    "ddcolor": {"encoder": "zhang_cnn", "input_level": True, "decoder": "ddcolor",
                "ddcolor": {"width": 16, "queries": 5, "layers": 3}, "output_stride": 1},
}  # fmt: skip
RAW = {"classes": 313, "regression": 2, "marginal64": 128}
"""Kinds of head -> channels of raw."""


@functools.cache
def built(name: str, head: str = "regression") -> Generator:
    tree = TINY[name] | {"head": {"type": head}}
    tree["conv_encoder"] = {"width": 4} | tree.get("conv_encoder", {})
    generator = build_generator(ModelConfig.model_validate(tree), pretrained=False)
    draw(generator.decoder)
    return generator.eval()


def test_every_decoder_is_here() -> None:
    known = get_args(ModelConfig.model_fields["decoder"].annotation)
    assert {name.split()[0] for name in TINY} == set(known)
    assert set(RAW) == set(get_args(type(ModelConfig().head).model_fields["type"].annotation))


@torch.no_grad()
@pytest.mark.parametrize("name", TINY)
def test_the_map_is_at_the_stride_and_has_the_declared_channels(name: str) -> None:
    generator = built(name)
    for batch, rows, columns in ((1, 1, 1), (3, 2, 1)):
        height, width = rows * generator.size_divisor, columns * generator.size_divisor
        features = generator.encoder.features(torch.rand(batch, 3, height, width))
        actual = generator.decoder(features)
        stride = generator.stride
        channels = generator.decoder.out_channels
        assert actual.shape == (batch, channels, height // stride, width // stride)
        assert actual.dtype == torch.float32 and bool(actual.isfinite().all())


@torch.no_grad()
@pytest.mark.parametrize("head", RAW)
@pytest.mark.parametrize("name", TINY)
def test_photos_of_any_size_get_colors(name: str, head: str) -> None:
    generator = built(name, head)
    for height, width in ((1, 1), (19, 33)):
        lightness = torch.rand(2, 1, height, width) * 100
        rows, columns = (-(-side // generator.stride) for side in (height, width))
        raw = generator.predict_raw(lightness)
        assert raw.shape == (2, RAW[head], rows, columns)
        ab = generator.predict(lightness, DecodeConfig())
        assert ab.shape == (2, 2, height, width)
        assert ab.dtype == torch.float32 and bool(ab.isfinite().all())


@pytest.mark.parametrize("name", TINY)
def test_every_weight_learns(name: str) -> None:
    generator = built(name)
    photo = torch.rand(2, 3, generator.size_divisor, 2 * generator.size_divisor)
    generator.decoder.zero_grad()
    check_gradients(generator.decoder, [generator.decoder(generator.encoder.features(photo))])


@torch.no_grad()
@pytest.mark.parametrize("name", TINY)
def test_mixed_precision_is_near_to_full(name: str) -> None:
    generator = built(name)
    features = generator.encoder.features(torch.rand(1, 3, *2 * (2 * generator.size_divisor,)))
    expected = generator.decoder(features)
    with in_bfloat16():
        actual = generator.decoder(features).float()
    assert float((actual - expected).square().mean()) < 0.01 * float(expected.square().mean())


@pytest.mark.parametrize("name", TINY)
def test_weights_survive_a_file(name: str) -> None:
    generator = built(name)
    with torch.no_grad():
        features = generator.encoder.features(torch.rand(1, 3, *2 * (generator.size_divisor,)))

    def run(decoder: nn.Module) -> list[torch.Tensor]:
        return [decoder(features)]

    check_state(generator.decoder, run)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            {"output_stride": 8, "encoder": "strided_cnn", "num_encoder_levels": 2},
            "coarser than the encoder's deepest",
        ),
        ({"decoder": "upsample"}, "stages lead from the encoder's stride 32 to 16"),
        ({"decoder": "hypercolumn", "output_stride": 8}, "cannot be reached"),
        ({"decoder": "ddcolor", "output_stride": 1}, "ddcolor needs model.input_level"),
        (
            {"decoder": "shortcut", "output_stride": 2},
            r"do not lead from the encoder's strides \(2, 4, 8, 16, 32\) to",
        ),
    ],
)
def test_a_stride_out_of_reach_is_an_error_of_one_line(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_generator(ModelConfig.model_validate(tree), pretrained=False)
    assert "\n" not in str(caught.value)
