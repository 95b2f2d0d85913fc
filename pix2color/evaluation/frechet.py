"""FD: Frechet distance of mean-pooled features of a network.

It is the distance of FID (Heusel et al. 2017) in the features of another network than Inception,
so its values cannot be compared with a published FID. Like FID it falls with the number of photos:
compare it only for the same photos, the same network and the same image size.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pix2color.checkpoints.state_dict import read_tensors
from pix2color.errors import WeightsError
from pix2color.models.encoders import IMAGENET_MEAN, IMAGENET_STD
from pix2color.models.mobilenet import MobileNetV2

Array = npt.NDArray[np.float64]
BACKBONES = ("mobilenet_v2", "squeezenet1_1")
_SMALLEST = {"mobilenet_v2": 64, "squeezenet1_1": 17}
"""Smallest sides with features: below, mobilenet_v2's last map is a single pixel that depends on
more padding than image, and its activations are 0."""


class Backbone:
    """A frozen network's last feature map, averaged over the image.

    Images are normalized with ImageNet's mean and standard deviation, at the size they have.

    Args:
        path: torchvision's weights of one of BACKBONES (`.safetensors` or `.pth`; the `features`
            part is enough), identified by its keys and shapes.
        device: where it runs.

    Raises:
        WeightsError: the file is missing or holds another network.
    """

    def __init__(self, path: str | Path, *, device: torch.device | str = "cpu") -> None:
        path = Path(path)
        tensors = read_tensors(path)
        self.name, features = _recognize(tensors, path)
        with path.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        self.description = f"{self.name} ({path.name}, SHA-256 {self.digest})"
        # Channels last is the faster layout on a CPU.
        features = features.eval().requires_grad_(False).to(device)
        self._net = features.to(memory_format=torch.channels_last)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        with torch.no_grad():
            self.dimensions = self._pooled(torch.zeros(1, 3, 32, 32, device=device)).shape[1]

    @torch.no_grad()
    def features(self, rgb: Tensor) -> Tensor:
        """B,3,H,W in 0..1 -> B,dimensions float32; NaN where the images are too small."""
        if min(rgb.shape[-2:]) < _SMALLEST[self.name]:
            return torch.full((len(rgb), self.dimensions), torch.nan, device=rgb.device)
        return self._pooled(rgb.float())

    def _pooled(self, rgb: Tensor) -> Tensor:
        scaled = (rgb - self._mean) / self._std
        maps: Tensor = self._net(scaled.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3))


def frechet_distance(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    """Frechet distance of the Gaussians fitted to two sets of features, in float64.

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), with unbiased covariances C. The last trace is
    the sum of the singular values of X1 X2' / sqrt((n1 - 1) (n2 - 1)), X the centered features: no
    product or root of covariances is computed, so singular ones lose no precision. With at most as
    many photos as dimensions the covariances are singular; the formula is still exact for them,
    but the distance of two draws of the same images is far from 0.

    Args:
        one, other: N,F; rows that are not finite are left out.

    Returns:
        At least 0; NaN where a set has fewer than two photos.
    """
    sets = [np.asarray(x, dtype=np.float64) for x in (one, other)]
    sets = [x[np.isfinite(x).all(1)] for x in sets]
    if min(map(len, sets)) < 2:
        return float("nan")
    means = [x.mean(0) for x in sets]
    roots = [_root(x - mean) for x, mean in zip(sets, means, strict=True)]
    traces = sum(float(np.square(root).sum()) for root in roots)
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    distance = float(np.square(means[0] - means[1]).sum()) + traces - 2.0 * float(cross)
    return max(distance, 0.0)


def _root(centered: Array) -> Array:
    """K,F with root' root the covariance of centered features N,F; K is the smaller of N and F."""
    scaled = centered / np.sqrt(len(centered) - 1)
    if len(scaled) <= scaled.shape[1]:
        return scaled
    return np.asarray(np.linalg.qr(scaled, mode="r"), dtype=np.float64)


def _recognize(tensors: dict[str, Tensor], path: Path) -> tuple[str, nn.Module]:
    """The network whose `features` these tensors are, filled with them."""
    features_only = {
        key.removeprefix("features."): value
        for key, value in tensors.items()
        if not key.startswith("classifier.")
    }
    for name in BACKBONES:
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in _features(name).state_dict().items()}
        if shapes == {key: value.shape for key, value in features_only.items()}:
            features = _features(name)
            features.load_state_dict({key: value.float() for key, value in features_only.items()})
            return name, features
    raise WeightsError(
        f"{path} does not hold a network that FD can be measured with:"
        f" torchvision's {' and '.join(BACKBONES)}"
    )


def _features(name: str) -> nn.Module:
    if name == "mobilenet_v2":
        return MobileNetV2().features
    from torchvision.models import squeezenet1_1

    features: nn.Module = squeezenet1_1().features
    return features
