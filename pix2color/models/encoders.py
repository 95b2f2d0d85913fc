"""Encoders: known classifiers as lists of features at falling resolution.

The default, mobilenet_v2, is ours; torchvision and timm, which are slow to import, are imported
where another one is built.

An encoder is described by `channels` and `reduction` alone; a decoder needs to know nothing else.
It is given a gray photo as RGB, three equal channels in 0..1 (the sRGB gray that L stands for), and
normalizes it itself, so that it computes on the photo exactly what it computed in its pretraining.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.mobilenet import MobileNetV2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EARLY_REDUCTION = 4
"""`frozen: early` keeps the levels down to this reduction."""


class Encoder(nn.Module):
    """Levels of a classifier, each taking the previous one's output.

    Args:
        levels: modules in order.
        channels: channels of each level's output.
        reduction: pixels of the input per pixel of each level's output.
        mean, std: of the RGB that the network was pretrained on, or of the one gray channel it
            takes; buffers that are not saved.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        levels: Sequence[nn.Module],
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.channels = tuple(channels)
        self.reduction = tuple(reduction)
        self._frozen = 0
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def freeze(self, which: str) -> None:
        """Keep `none`, `early` or `all` levels as they are: weights and batch statistics."""
        limit = {"none": 0, "early": EARLY_REDUCTION, "all": max(self.reduction)}[which]
        self._frozen = sum(r <= limit for r in self.reduction)
        for number, level in enumerate(self.levels):
            level.requires_grad_(number >= self._frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        """As nn.Module's, but frozen levels stay in evaluation mode."""
        super().train(mode)
        for level in self.levels[: self._frozen]:
            level.eval()
        return self

    def truncate(self, levels: int) -> None:
        """Keep the finest so many levels.

        Raises:
            ConfigError: there are fewer.
        """
        if levels > len(self.levels):
            raise ConfigError(
                f"model.num_encoder_levels: {levels}, but the encoder has {len(self.levels)}"
            )
        self.levels = self.levels[:levels]
        self.channels, self.reduction = self.channels[:levels], self.reduction[:levels]

    def to_single_channel(self) -> None:
        """Make the first convolution one of a single channel: its kernels over RGB, summed.

        The usual way to give a network for color photos gray ones. It is exact but for the
        normalization, whose three constants become their means.

        Raises:
            ConfigError: the network does not begin with a convolution of RGB.
        """
        found = [(n, m) for n, m in self.levels[0].named_modules() if isinstance(m, nn.Conv2d)]
        name, conv = found[0] if found else ("", None)
        if conv is None or conv.in_channels != 3 or conv.groups != 1:
            raise ConfigError(
                "model.sum_rgb_stem needs an encoder that begins with an RGB convolution"
            )
        stem = nn.Conv2d(
            1,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            bias=conv.bias is not None,
        )
        state = {**conv.state_dict(), "weight": conv.weight.detach().sum(1, keepdim=True)}
        stem.load_state_dict(state)
        self.levels[0].set_submodule(name, stem)
        self.mean, self.std = self.mean.mean(1, keepdim=True), self.std.mean(1, keepdim=True)

    def normalize(self, gray_rgb: Tensor) -> Tensor:
        """B,3,H,W in 0..1 -> what the first level takes."""
        return (gray_rgb[:, : self.mean.shape[1]] - self.mean) / self.std

    def features(self, gray_rgb: Tensor) -> list[Tensor]:
        """B,3,H,W in 0..1 -> a feature map a level: B,channels[i],H/reduction[i],W/reduction[i].

        H and W are multiples of the largest reduction; other sizes are rounded as the network's
        convolutions round them.
        """
        x = self.normalize(gray_rgb)
        features = []
        for number, level in enumerate(self.levels):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number >= self._frozen):
                x = level(x)
            features.append(x)
        return features

    forward = features


def _resnet(net: Any) -> list[nn.Module]:
    return [
        nn.Sequential(net.conv1, net.bn1, net.relu),
        nn.Sequential(net.maxpool, net.layer1),
        net.layer2,
        net.layer3,
        net.layer4,
    ]


def _split_at(*ends: int) -> Callable[[Any], list[nn.Module]]:
    """Levels are the runs of `net.features` that end before each of these indices."""

    def split(net: Any) -> list[nn.Module]:
        starts = (0, *ends[:-1])
        return [net.features[a:b] for a, b in zip(starts, ends, strict=True)]

    return split


_Layout = tuple[str, Callable[[Any], list[nn.Module]], tuple[int, ...], tuple[int, ...]]
_HALVES = (2, 4, 8, 16, 32)
_KNOWN: dict[str, _Layout] = {
    # torchvision's name: its weights, split, channels, reduction
    "resnet18": ("IMAGENET1K_V1", _resnet, (64, 64, 128, 256, 512), _HALVES),
    "resnet34": ("IMAGENET1K_V1", _resnet, (64, 64, 128, 256, 512), _HALVES),
    "resnet50": ("IMAGENET1K_V2", _resnet, (64, 256, 512, 1024, 2048), _HALVES),
    "vgg16": (
        "IMAGENET1K_V1", _split_at(4, 9, 16, 23, 30), (64, 128, 256, 512, 512), (1, 2, 4, 8, 16),
    ),
    "vgg16_bn": (
        "IMAGENET1K_V1", _split_at(6, 13, 23, 33, 43), (64, 128, 256, 512, 512), (1, 2, 4, 8, 16),
    ),
    "mobilenet_v2": ("IMAGENET1K_V1", _split_at(2, 4, 7, 14, 18), (16, 24, 32, 96, 320), _HALVES),
    "mobilenet_v3_large": (
        "IMAGENET1K_V1", _split_at(2, 4, 7, 13, 16), (16, 24, 40, 112, 160), _HALVES,
    ),
    "efficientnet_b0": ("IMAGENET1K_V1", _split_at(2, 3, 4, 6, 8), (16, 24, 40, 112, 320), _HALVES),
    "convnext_tiny": ("IMAGENET1K_V1", _split_at(2, 4, 6, 8), (96, 192, 384, 768), (4, 8, 16, 32)),
}  # fmt: skip
NAMES = tuple(_KNOWN)


def build_backbone(name: str) -> nn.Module:
    """The whole network of this name, untrained; its keys are those of torchvision's files."""
    if name not in NAMES:
        raise ConfigError(f"no classifier {name!r}: choose one of {', '.join(NAMES)}")
    if name == "mobilenet_v2":
        return MobileNetV2()
    import torchvision

    net: nn.Module = torchvision.models.get_model(name, weights=None)
    return net


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights of an encoder, downloaded at first use.

    Raises whatever torch.hub raises where nothing can be downloaded.
    """
    import torchvision

    enum = torchvision.models.get_model_weights(name)[_KNOWN[name][0]]
    weights: dict[str, Tensor] = enum.get_state_dict(progress=False, check_hash=True)
    return weights


def build_encoder(name: str, *, state: dict[str, Tensor] | None = None) -> Encoder:
    """An encoder by name.

    Args:
        name: one of NAMES, or `timm/<name>` where timm is installed (pretrained by timm when
            `state` is an empty dict).
        state: a classifier's weights with torchvision's keys, loaded strictly; None leaves the
            encoder untrained.

    Raises:
        ConfigError: an unknown name, or timm is not installed.
        RuntimeError: the weights are of another network (torch's message names the keys).
    """
    if name.startswith("timm/"):
        return _build_timm(name, pretrained=state is not None)
    if name not in NAMES:
        raise ConfigError(f"no encoder {name!r}: choose one of {', '.join(NAMES)} or timm/<name>")
    net = build_backbone(name)
    if state is not None:
        net.load_state_dict({key: value.float() for key, value in state.items()})
    _, split, channels, reduction = _KNOWN[name]
    return Encoder(split(net), channels, reduction)


class _TimmLevels(nn.Module):
    """A timm feature network behind the levels' interface: all features in one call."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.net(x))


class TimmEncoder(Encoder):
    """timm's `features_only` networks; frozen wholly or not at all."""

    def features(self, gray_rgb: Tensor) -> list[Tensor]:
        """As Encoder's."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._frozen == 0):
            features: list[Tensor] = self.levels[0](self.normalize(gray_rgb))
            return features

    forward = features

    def truncate(self, levels: int) -> None:
        """As Encoder's; not offered."""
        raise ConfigError("model.num_encoder_levels is not offered for timm encoders")

    def freeze(self, which: str) -> None:
        """As Encoder's; `early` is not offered."""
        if which == "early":
            raise ConfigError("model.freeze: early is not offered for timm encoders; use all")
        super().freeze(which)


def import_timm(name: str) -> tuple[ModuleType, str]:
    """timm, and a model's name without `timm/`.

    Raises:
        ConfigError: timm is not installed, or has no such model.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError(f'{name} needs timm: pip install "pix2color[timm]"') from None
    known = name.removeprefix("timm/")
    if known not in timm.list_models():
        raise ConfigError(f"timm has no model {known!r}")
    module: ModuleType = timm
    return module, known


def _build_timm(name: str, *, pretrained: bool) -> Encoder:
    timm, known = import_timm(name)
    net = timm.create_model(known, features_only=True, pretrained=pretrained)
    info, data = net.feature_info, net.default_cfg
    return TimmEncoder(
        [_TimmLevels(net)], info.channels(), info.reduction(), mean=data["mean"], std=data["std"]
    )
