"""The fusion network's encoder: local features joined with a classifier's class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models import encoders
from pix2color.models.blocks import conv_block
from pix2color.models.conv_encoder import ConvEncoder, Layout

CLASSES = 1000


@dataclass(frozen=True)
class Classifier:
    """A network for ImageNet's 1000 classes and its input size and normalization."""

    net: nn.Module
    """RGB, normalized, B,3,size,size -> logits B,1000."""
    size: int
    mean: Sequence[float] = encoders.IMAGENET_MEAN
    std: Sequence[float] = encoders.IMAGENET_STD


def build_classifier(name: str, *, timm_pretrained: bool = False) -> Classifier:
    """A classifier by name.

    Args:
        name: one of torchvision's that encoders are made of, or `timm/<name>`.
        timm_pretrained: let timm download the weights of a `timm/<name>`; the caller loads those of
            torchvision's networks.

    Raises:
        ConfigError: an unknown name, timm is not installed, or there are not 1000 classes.
    """
    if not name.startswith("timm/"):
        return Classifier(encoders.build_backbone(name), 224)
    timm, model = encoders.import_timm(name)
    net = timm.create_model(model, pretrained=timm_pretrained)
    if net.num_classes != CLASSES:
        raise ConfigError(f"{name} has {net.num_classes} classes; fusion needs {CLASSES}")
    cfg = net.default_cfg
    return Classifier(net, cfg["input_size"][-1], cfg["mean"], cfg["std"])


class FusionEncoder(ConvEncoder):
    """A ConvEncoder whose deepest level is joined with a classifier's probabilities for the photo.

    The classifier's 1000 probabilities are repeated at every position, and a 1x1 convolution mixes
    them with the features (Iizuka et al. 2016; Baldassarre et al. 2017).

    Args:
        layout, width: see ConvEncoder.
        classifier: frozen here, and saved with the network, so that a release file needs no
            download.
        reproduce_scale_bug: divide the gray by 255 first. The published code took gray in 0..1 for
            0..255, so that its classifier saw an almost black image.
    """

    rgb_mean: Tensor
    rgb_std: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        width: int,
        classifier: Classifier,
        reproduce_scale_bug: bool = False,
    ) -> None:
        super().__init__(layout, width=width)
        self.classifier = classifier.net.requires_grad_(False)
        self.size = classifier.size
        self.input_scale = 1 / 255 if reproduce_scale_bug else 1.0
        mean, std = torch.tensor(classifier.mean), torch.tensor(classifier.std)
        self.register_buffer("rgb_mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("rgb_std", std.view(1, 3, 1, 1), persistent=False)
        deepest = self.channels[-1]
        self.fuse = conv_block(deepest + CLASSES, deepest, kernel=1, bias=True, norm=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> FusionEncoder:
        """Set the training mode; the classifier stays in evaluation mode."""
        super().train(mode)
        if hasattr(self, "classifier"):
            self.classifier.eval()
        return self

    @torch.no_grad()
    def probabilities(self, gray_rgb: Tensor) -> Tensor:
        """B,3,H,W in 0..1, resized to the classifier's input -> its probabilities B,1000."""
        small = F.interpolate(
            gray_rgb, size=(self.size, self.size), mode="bilinear", antialias=True
        )
        logits = self.classifier((small * self.input_scale - self.rgb_mean) / self.rgb_std)
        return logits.float().softmax(1)

    def features(self, gray_rgb: Tensor, hints: Tensor | None = None) -> list[Tensor]:
        """As ConvEncoder.features; the last level is mixed with the classifier's probabilities."""
        *finer, deepest = super().features(gray_rgb, hints)
        classes = self.probabilities(gray_rgb).to(deepest.dtype)[:, :, None, None]  # B,1000,1,1
        classes = classes.expand(-1, -1, *deepest.shape[-2:])
        return [*finer, self.fuse(torch.cat((deepest, classes), dim=1))]

    forward = features
