"""The fusion network's encoder: local features, and what a classifier says of the whole photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models import encoders
from pix2color.models.conv_encoder import ConvEncoder, Layout

CLASSES = 1000


@dataclass(frozen=True)
class Classifier:
    """A network for ImageNet's 1000 classes and the pictures it takes."""

    net: nn.Module
    """RGB, normalized, B,3,size,size -> logits B,1000."""
    size: int
    mean: Sequence[float] = encoders.IMAGENET_MEAN
    std: Sequence[float] = encoders.IMAGENET_STD


def build_classifier(name: str, *, pretrained: bool = False) -> Classifier:
    """A classifier by name.

    Args:
        name: one of torchvision's that encoders are made of, or `timm/<name>`.
        pretrained: timm's own download; torchvision's weights are loaded by the caller.

    Raises:
        ConfigError: an unknown name, timm is not installed, or there are not 1000 classes.
    """
    if not name.startswith("timm/"):
        return Classifier(encoders.build_backbone(name), 224)
    timm, known = encoders.import_timm(name)
    net = timm.create_model(known, pretrained=pretrained)
    if net.num_classes != CLASSES:
        raise ConfigError(f"{name} knows {net.num_classes} classes; fusion needs {CLASSES}")
    cfg = net.default_cfg
    return Classifier(net, cfg["input_size"][-1], cfg["mean"], cfg["std"])


class FusionEncoder(ConvEncoder):
    """A plain stack whose deepest level is joined with what a classifier says of the whole photo.

    The classifier's probabilities (1000) are repeated at every position, and a 1x1 convolution
    mixes them with the features (Iizuka et al. 2016; Baldassarre et al. 2017).

    Args:
        layout, width: as PlainEncoder's.
        classifier: frozen here, and saved with the network, so that a release file needs no
            download.
        published: divide the gray by 255 first. The published code took gray in 0..1 for 0..255,
            which shows the classifier a black picture.
    """

    rgb_mean: Tensor
    rgb_std: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        width: int,
        classifier: Classifier,
        published: bool = False,
    ) -> None:
        super().__init__(layout, width=width)
        self.classifier = classifier.net.requires_grad_(False)
        self.size = classifier.size
        self.factor = 1 / 255 if published else 1.0
        mean, std = torch.tensor(classifier.mean), torch.tensor(classifier.std)
        self.register_buffer("rgb_mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("rgb_std", std.view(1, 3, 1, 1), persistent=False)
        after = self.channels[-1]
        self.fuse = nn.Sequential(nn.Conv2d(after + CLASSES, after, 1), nn.ReLU(inplace=True))
        self.train(self.training)

    def train(self, mode: bool = True) -> FusionEncoder:
        """As nn.Module's, but the classifier stays in evaluation mode."""
        super().train(mode)
        if hasattr(self, "classifier"):
            self.classifier.eval()
        return self

    @torch.no_grad()
    def probabilities(self, gray_rgb: Tensor) -> Tensor:
        """What the classifier makes of the photo, squeezed to its size: B,1000."""
        small = F.interpolate(
            gray_rgb, size=(self.size, self.size), mode="bilinear", antialias=True
        )
        logits = self.classifier((small * self.factor - self.rgb_mean) / self.rgb_std)
        return logits.float().softmax(1)

    def features(self, gray_rgb: Tensor) -> list[Tensor]:
        """As Encoder's; the last level holds the classifier's knowledge."""
        *finer, deepest = super().features(gray_rgb)
        said = self.probabilities(gray_rgb).to(deepest.dtype)[:, :, None, None]
        said = said.expand(-1, -1, *deepest.shape[-2:])
        return [*finer, self.fuse(torch.cat((deepest, said), dim=1))]

    forward = features
