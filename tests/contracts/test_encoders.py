"""Every encoder: features of the declared channels and sizes, for a decoder that knows no more."""

from __future__ import annotations

import functools
import importlib.util
import math

import pytest
import torch
from modules import check_gradients, check_state, draw, in_bfloat16

from pix2color.build import build_generator
from pix2color.config import ModelConfig
from pix2color.errors import ConfigError
from pix2color.models.encoders import NAMES, Encoder, build_backbone, build_encoder
from pix2color.models.init import skip_weight_init

PLAIN = ("zhang_cnn", "siggraph_cnn", "strided_cnn", "fusion")
TIMM = ("timm/resnet10t",) if importlib.util.find_spec("timm") else ()
LARGE = ("resnet34", "resnet50", "vgg16", "vgg16_bn", "convnext_tiny")  # seconds each
HUGE = ("convnext_large",)  # a minute
MARKS = dict.fromkeys(LARGE, pytest.mark.slow) | dict.fromkeys(HUGE, pytest.mark.exhaustive)
ENCODERS = [pytest.param(name, marks=MARKS.get(name, ())) for name in (*NAMES, *PLAIN, *TIMM)]


@functools.cache
def built(name: str) -> Encoder:
    """An encoder with random weights. Shared: leave its weights, its mode and its freezing alone,
    or take a copy."""
    model = ModelConfig.model_validate(
        {"encoder": name, "decoder_channels": [8], "conv_encoder": {"width": 4}}
    )
    with skip_weight_init():
        encoder = build_generator(model, pretrained=False).encoder
    draw(encoder)
    return encoder.eval()


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    actual = built(request.param)
    actual.freeze("none")
    return actual.eval()


@torch.no_grad()
def test_levels_are_as_declared(encoder: Encoder) -> None:
    assert len(encoder.channels) == len(encoder.reduction) >= 3
    assert list(encoder.reduction) == sorted(set(encoder.reduction))
    side = max(encoder.reduction)
    for batch, height, width in ((1, side, side), (3, 2 * side, side)):
        features = encoder.features(torch.rand(batch, 3, height, width))
        assert [tuple(f.shape) for f in features] == [
            (batch, channels, height // reduction, width // reduction)
            for channels, reduction in zip(encoder.channels, encoder.reduction, strict=True)
        ]
        assert all(f.dtype == torch.float32 for f in features)


@torch.no_grad()
@pytest.mark.parametrize("gray", [0.0, 1.0])
def test_black_and_white_give_finite_features(encoder: Encoder, gray: float) -> None:
    features = encoder.features(torch.full((1, 3, 32, 32), gray))
    assert all(bool(f.isfinite().all()) for f in features)


@torch.no_grad()
def test_other_sizes_are_rounded_and_not_refused(encoder: Encoder) -> None:
    for feature, reduction in zip(
        encoder.features(torch.rand(1, 3, 45, 37)), encoder.reduction, strict=True
    ):
        for side, pixels in zip(feature.shape[-2:], (45, 37), strict=True):
            assert math.floor(pixels / reduction) <= side <= math.ceil(pixels / reduction)


@torch.no_grad()
def test_a_photo_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    photos = torch.rand(3, 3, 32, 32)
    together, alone = encoder.features(photos), encoder.features(photos[1:2])
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[1:2], one, rtol=1e-3, atol=1e-4)


def test_all_levels_learn_or_none_does(encoder: Encoder) -> None:
    photo = torch.rand(1, 3, 32, 32)
    check_gradients(encoder, encoder.features(photo))
    encoder.freeze("all")
    encoder.zero_grad()
    learning = [f for f in encoder.features(photo) if f.requires_grad]
    beside = set(encoder.parameters()) - set(encoder.levels.parameters())
    # A convolution that is no level, as fusion has, was not pretrained and goes on learning.
    assert bool(learning) is any(p.requires_grad for p in beside)
    if learning:
        check_gradients(encoder, learning)
    assert all(p.grad is None for p in encoder.levels.parameters())
    encoder.train()
    assert not any(m.training for level in encoder.levels for m in level.modules())
    encoder.freeze("none")
    assert all(m.training for level in encoder.levels for m in level.modules())


@torch.no_grad()
def test_mixed_precision_keeps_shapes_and_is_finite(encoder: Encoder) -> None:
    photo = torch.rand(1, 3, 32, 32)
    expected = encoder.features(photo)
    with in_bfloat16():
        actual = encoder.features(photo)
    assert [f.shape for f in actual] == [w.shape for w in expected]
    assert all(bool(f.isfinite().all()) for f in actual)


def test_weights_survive_a_file(encoder: Encoder) -> None:
    photo = torch.rand(1, 3, 32, 32)
    assert not {"mean", "std"} & set(encoder.state_dict())
    check_state(encoder, lambda module: module(photo))


@pytest.mark.parametrize("name", ["resnet19", "VGG16", ""])
def test_an_unknown_name_is_answered_with_the_known(name: str) -> None:
    for make in (build_encoder, build_backbone):
        with pytest.raises(ConfigError, match="choose one of resnet18") as caught:
            make(name)
        assert all(known in str(caught.value) for known in NAMES)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RuntimeError):
        build_encoder("resnet18", state=build_backbone("mobilenet_v2").state_dict())
