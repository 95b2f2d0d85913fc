"""Encoders: ImageNet classifiers cut into levels of falling resolution.

The default, mobilenet_v2, is implemented here; torchvision and timm are slow to import and are
imported only where another encoder is built.

An encoder is described by `channels` and `reduction`; decoders use nothing else of it. Its input is
a gray photo as RGB: three equal channels in 0..1, the sRGB gray of the same L. The encoder
normalizes it as its pretraining did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.mobilenet import MobileNetV2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EARLY_REDUCTION = 4
"""`freeze("early")` freezes the levels down to this reduction."""


class Encoder(nn.Module):
    """Levels of a classifier; each takes the output of the one before.

    Args:
        levels: modules in order.
        channels: channels of each level's output.
        reduction: pixels of the input per pixel of each level's output.
        mean, std: of the RGB that the network was pretrained on, or of the single gray channel of
            its input; buffers that are not saved.
    """

    mean: Tensor
    std: Tensor
    takes_hints = False
    """Whether `features` takes color hints beside the gray photo."""

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
        """Freeze the weights and batch statistics of `none`, the `early` or `all` levels."""
        limit = {"none": 0, "early": EARLY_REDUCTION, "all": max(self.reduction)}[which]
        self._frozen = sum(r <= limit for r in self.reduction)
        for number, level in enumerate(self.levels):
            level.requires_grad_(number >= self._frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        """Set the training mode; frozen levels stay in evaluation mode."""
        super().train(mode)
        for level in self.levels[: self._frozen]:
            level.eval()
        return self

    def truncate(self, levels: int) -> None:
        """Keep only the finest `levels` levels.

        Raises:
            ConfigError: there are fewer.
        """
        if levels > len(self.levels):
            raise ConfigError(
                f"model.num_encoder_levels: {levels}, but the encoder has {len(self.levels)}"
            )
        self.levels = self.levels[:levels]
        self.channels, self.reduction = self.channels[:levels], self.reduction[:levels]

    def prepend_input(self) -> None:
        """Make the normalized input one more level, the finest.

        Raises:
            ConfigError: there is a level of its size, or all levels are one network (timm's).
        """
        if self.reduction[0] == 1 or len(self.levels) != len(self.reduction):
            raise ConfigError("model.input_level is for encoders of several levels below it")
        self.channels = (self.mean.shape[1], *self.channels)
        self.reduction = (1, *self.reduction)
        self.levels.insert(0, nn.Identity())

    def to_single_channel(self) -> None:
        """Replace the first convolution by one of a single channel: its RGB kernels, summed.

        The result is the same function of a gray photo except for the normalization, whose three
        constants are replaced by their means.

        Raises:
            ConfigError: the network does not begin with a convolution of RGB.
        """
        modules = self.levels[0].named_modules()
        convs = ((name, module) for name, module in modules if isinstance(module, nn.Conv2d))
        name, conv = next(convs, ("", None))
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
        """B,3,H,W in 0..1 -> the input of the first level."""
        return (gray_rgb[:, : self.mean.shape[1]] - self.mean) / self.std

    def features(self, gray_rgb: Tensor) -> list[Tensor]:
        """B,3,H,W in 0..1 -> one map per level: B,channels[i],H/reduction[i],W/reduction[i].

        H and W are multiples of the largest reduction; other sizes are rounded as the network's
        convolutions round them.
        """
        return self.run_levels(self.normalize(gray_rgb))

    def run_levels(self, x: Tensor) -> list[Tensor]:
        """The input of the first level -> the output of each."""
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
    """A function that splits `net.features` before each of these indices."""

    def split(net: Any) -> list[nn.Module]:
        starts = (0, *ends[:-1])
        return [net.features[a:b] for a, b in zip(starts, ends, strict=True)]

    return split


_Spec = tuple[str, Callable[[Any], list[nn.Module]], tuple[int, ...], tuple[int, ...]]
_HALVES = (2, 4, 8, 16, 32)
_TORCHVISION: dict[str, _Spec] = {
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
    "convnext_large": (
        "IMAGENET1K_V1", _split_at(2, 4, 6, 8), (192, 384, 768, 1536), (4, 8, 16, 32),
    ),
}  # fmt: skip
NAMES = tuple(_TORCHVISION)


def build_backbone(name: str) -> nn.Module:
    """The classifier of this name, untrained; its keys are those of torchvision's files."""
    if name not in NAMES:
        raise ConfigError(f"no classifier {name!r}: choose one of {', '.join(NAMES)}")
    if name == "mobilenet_v2":
        return MobileNetV2()
    import torchvision

    net: nn.Module = torchvision.models.get_model(name, weights=None)
    return net


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights of a classifier, downloaded at first use.

    Raises:
        OSError, RuntimeError: by torch.hub: they are not in its cache and cannot be downloaded.
        pickle.UnpicklingError: the file holds more than tensors.
    """
    import torchvision

    enum = torchvision.models.get_model_weights(name)[_TORCHVISION[name][0]]
    # By default torch.hub reads the file as a pickle, which could run code.
    weights: dict[str, Tensor] = enum.get_state_dict(
        progress=False, check_hash=True, weights_only=True
    )
    return weights


def build_encoder(
    name: str, *, state: Mapping[str, Tensor] | None = None, timm_pretrained: bool = False
) -> Encoder:
    """An encoder by name.

    Args:
        name: one of NAMES, or `timm/<name>` where timm is installed.
        state: a classifier's weights with torchvision's keys, loaded strictly; None leaves the
            encoder untrained. Not for timm's encoders.
        timm_pretrained: let timm download the weights of a `timm/<name>`.

    Raises:
        ConfigError: an unknown name, timm is not installed, or a state for a timm encoder.
        RuntimeError: the weights are of another network (torch's message names the keys).
    """
    if name.startswith("timm/"):
        if state is not None:
            raise ConfigError(
                f"{name} takes no weights file: set model.pretrained to imagenet, none or a "
                "release file with that encoder"
            )
        return _build_timm(name, pretrained=timm_pretrained)
    if name not in NAMES:
        raise ConfigError(f"no encoder {name!r}: choose one of {', '.join(NAMES)} or timm/<name>")
    net = build_backbone(name)
    if state is not None:
        net.load_state_dict({key: value.float() for key, value in state.items()})
    _, split, channels, reduction = _TORCHVISION[name]
    return Encoder(split(net), channels, reduction)


class _TimmLevels(nn.Module):
    """A timm feature network as a single level that returns all features."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.net(x))


class TimmEncoder(Encoder):
    """A timm `features_only` network; all of it is frozen or nothing."""

    def features(self, gray_rgb: Tensor) -> list[Tensor]:
        """See Encoder.features."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._frozen == 0):
            features: list[Tensor] = self.levels[0](self.normalize(gray_rgb))
            return features

    forward = features

    def truncate(self, levels: int) -> None:
        """Not supported."""
        raise ConfigError("model.num_encoder_levels is not supported for timm encoders")

    def freeze(self, which: str) -> None:
        """Freeze `none` or `all`; `early` is not supported."""
        if which == "early":
            raise ConfigError("model.freeze: early is not supported for timm encoders; use all")
        super().freeze(which)


def import_timm(name: str) -> tuple[ModuleType, str]:
    """The timm module, and a model's name without `timm/`.

    Raises:
        ConfigError: timm is not installed, or has no such model.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError(f'{name} needs timm: pip install "pix2color[timm]"') from None
    model = name.removeprefix("timm/")
    if model not in timm.list_models():
        raise ConfigError(f"timm has no model {model!r}")
    module: ModuleType = timm
    return module, model


def _build_timm(name: str, *, pretrained: bool) -> Encoder:
    timm, model = import_timm(name)
    net = timm.create_model(model, features_only=True, pretrained=pretrained)
    info, data = net.feature_info, net.default_cfg
    return TimmEncoder(
        [_TimmLevels(net)], info.channels(), info.reduction(), mean=data["mean"], std=data["std"]
    )
