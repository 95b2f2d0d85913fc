"""Encoders: what they compute is what their pretraining computed, and frozen means frozen."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import skimage.data
import torch
import torchvision.models as tv
from torch import Tensor, nn

from pix2color.color.lab import gray_to_lightness, lightness_to_gray
from pix2color.errors import ConfigError
from pix2color.models.encoders import NAMES, Encoder, build_encoder
from pix2color.models.init import skip_weight_init

# The modules of torchvision's networks whose outputs the levels are, finest first.
NODES = {
    "resnet18": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "resnet34": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "resnet50": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "vgg16": ("features.3", "features.8", "features.15", "features.22", "features.29"),
    "vgg16_bn": ("features.5", "features.12", "features.22", "features.32", "features.42"),
    "mobilenet_v2": ("features.1", "features.3", "features.6", "features.13", "features.17"),
    "mobilenet_v3_large": ("features.1", "features.3", "features.6", "features.12", "features.15"),
    "efficientnet_b0": ("features.1", "features.2", "features.3", "features.5", "features.7"),
    "convnext_tiny": ("features.1", "features.3", "features.5", "features.7"),
    "convnext_large": ("features.1", "features.3", "features.5", "features.7"),
}
MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def gray() -> Tensor:
    """A true gray photo: 1,1,96,64 uint8."""
    photo = skimage.data.camera()[100:484:4, 160:416:4]
    return torch.from_numpy(np.ascontiguousarray(photo)).view(1, 1, 96, 64)


def liven(net: nn.Module) -> nn.Module:
    """Give every batch norm statistics and scales of its own, as training would."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return net


def whole_network(name: str) -> nn.Module:
    """torchvision's, untrained. Of vgg, what follows the features is 0: 120 million weights."""
    torch.manual_seed(0)
    if not name.startswith("vgg"):
        return liven(getattr(tv, name)(weights=None)).eval()
    with skip_weight_init():
        net = getattr(tv, name)(weights=None)
    for module in net.features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return liven(net).eval()


def node_outputs(net: nn.Module, nodes: tuple[str, ...], photo: Tensor) -> list[Tensor]:
    """What the whole network computes at these modules."""
    actual: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        net.get_submodule(name).register_forward_hook(
            lambda module, given, out: actual.__setitem__(name, out.clone())
        )

    for name in nodes:
        keep(name)
    net(photo)
    return [actual[name] for name in nodes]


def test_every_named_encoder_is_tested() -> None:
    assert set(NODES) == set(NAMES)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "convnext_large" else n for n in NODES],
)
@torch.no_grad()
def test_features_are_those_of_the_whole_network_on_the_gray_photo(name: str, gray: Tensor) -> None:
    net = whole_network(name)
    with skip_weight_init():  # they are those of the state
        encoder = build_encoder(name, state=net.state_dict()).eval()
    photo = ((gray.float() / 255).expand(-1, 3, -1, -1) - MEAN) / STD
    expected = node_outputs(net, NODES[name], photo)
    inputs = lightness_to_gray(gray_to_lightness(gray)).expand(-1, 3, -1, -1)
    actual = encoder.features(inputs)
    assert len(actual) == len(expected) == len(encoder.channels) == len(encoder.reduction)
    levels = zip(actual, expected, encoder.channels, encoder.reduction, strict=True)
    for feature, wanted, channels, reduction in levels:
        assert feature.shape == (1, channels, 96 // reduction, 64 // reduction)
        scale = float(wanted.abs().max())
        assert scale > 0
        difference = (feature - wanted).abs()
        assert float(difference.max()) < 1e-3 * scale  # borders and corners included


def test_normalization_is_the_encoder_s_and_is_not_saved() -> None:
    encoder = build_encoder("resnet18")
    assert not {"mean", "std"} & set(encoder.state_dict())
    torch.testing.assert_close(encoder.mean, MEAN)
    torch.testing.assert_close(encoder.std, STD)


def train_once(encoder: Encoder) -> list[bool]:
    """One step on everything that may learn; which levels may."""
    features = encoder.train().features(torch.rand(2, 3, 32, 32))
    learning = [any(p.requires_grad for p in level.parameters()) for level in encoder.levels]
    if any(learning):
        optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
        torch.stack([f.square().mean() for f in features if f.requires_grad]).sum().backward()
        optimizer.step()
    return learning


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "convnext_tiny"])
@pytest.mark.parametrize("frozen", ["none", "early", "all"])
def test_frozen_levels_keep_weights_and_statistics(name: str, frozen: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name)
    encoder.freeze(frozen)
    before = copy.deepcopy(encoder.state_dict())
    learning = train_once(encoder)
    after = encoder.state_dict()
    most = {"none": 0, "early": 4, "all": 64}[frozen]
    assert learning == [r > most for r in encoder.reduction]
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    for level, learns in enumerate(learning):
        own = {key for key in changed if key.startswith(f"levels.{level}.")}
        assert bool(own) is learns
        has_statistics = any(f"levels.{level}." in k and "running_mean" in k for k in before)
        if learns and has_statistics:
            assert any("running_mean" in key for key in own)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_what_was_frozen_can_learn_again(name: str) -> None:
    encoder = build_encoder(name)
    for which, most in (("all", 64), ("early", 4), ("none", 0)):
        encoder.freeze(which)
        assert train_once(encoder) == [r > most for r in encoder.reduction]
        for level, reduction in zip(encoder.levels, encoder.reduction, strict=True):
            assert all(m.training is (reduction > most) for m in level.modules())


def test_timm_encoders() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    encoder = build_encoder("timm/resnet10t")
    features = encoder.features(torch.rand(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == list(encoder.channels)
    assert [64 // f.shape[2] for f in features] == list(encoder.reduction)
    with pytest.raises(ConfigError, match="no model"):
        build_encoder("timm/resnet10000")


def test_an_error_names_a_missing_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ConfigError, match="needs timm"):
        build_encoder("timm/resnet10t")
