"""Frechet inception distance (Heusel et al. 2017) by torch-fidelity, an extra.

It compares the distributions of two sets of images in a network's features. It falls with the
number of photos (Chong and Forsyth 2020): compare it only between methods on the same photos.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pix2color.checkpoints.state_dict import read_tensors
from pix2color.errors import ConfigError, WeightsError
from pix2color.evaluation.methods import Batch, Method

Features = Callable[[Tensor], Tensor]
"""uint8 B,3,H,W -> B,F."""


class Fid:
    """Collects the features of the images of several methods.

    Args:
        features: of images, from `inception`.
        description: of the network, for the report.
    """

    def __init__(self, features: Features, *, description: str) -> None:
        self.description = description
        self._features = features
        self._collected: dict[str, list[Tensor]] = {}

    def update(self, method: str, rgb: Tensor) -> None:
        """Add images of a method: B,3,H,W in 0..1."""
        levels = (rgb.clamp(0, 1) * 255).round().byte()
        self._collected.setdefault(method, []).append(self._features(levels).cpu().double())

    def update_from(self, method: Method, batch: Batch, rgb: Tensor, ab: Tensor) -> None:
        """`update` as a hook of `evaluate_methods`."""
        self.update(method.name, rgb)

    def reset(self) -> None:
        """Remove all images."""
        self._collected.clear()

    def distances(self, reference: str) -> dict[str, float]:
        """The distance of every method to a reference, whose own is 0.

        Empty with fewer than two images, which have no distribution.
        """
        from torch_fidelity.metric_fid import (
            KEY_METRIC_FID,
            fid_features_to_statistics,
            fid_statistics_to_metric,
        )

        if sum(map(len, self._collected.get(reference, []))) < 2:
            return {}
        statistics = {
            name: fid_features_to_statistics(torch.cat(features))
            for name, features in self._collected.items()
        }
        return {
            name: float(fid_statistics_to_metric(one, statistics[reference], False)[KEY_METRIC_FID])
            for name, one in statistics.items()
        }


def inception(source: str, *, device: torch.device | str) -> Fid:
    """Inception v3 of the original FID.

    Args:
        source: inception (torch-fidelity downloads its weights), or a file with them.
        device: where it runs.

    Raises:
        ConfigError: torch-fidelity is not installed.
        WeightsError: the weights cannot be loaded or downloaded.
    """
    try:
        from torch_fidelity import version
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise ConfigError('FID needs torch-fidelity: pip install "pix2color[fid]"') from None
    path = None if source == "inception" else Path(source)
    if path is not None:
        if path.suffix == ".safetensors":
            raise WeightsError(f"{path}: torch-fidelity reads its weights only from a .pth file")
        read_tensors(path)  # refuses pickles with code, which torch-fidelity would run
    try:
        net: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=path
        )
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"Inception's weights for FID cannot be loaded ({str(error).splitlines()[0]:.80})",
            remedy="give torch-fidelity's file of them in {evaluate.fid}",
        ) from None
    net = net.eval().to(device)

    @torch.no_grad()
    def features(levels: Tensor) -> Tensor:
        pooled: Tensor = net(levels)[0]
        return pooled

    origin = path.name if path is not None else "torch-fidelity's download"
    description = f"torch-fidelity {version.__version__}, Inception v3, weights from {origin}"
    return Fid(features, description=description)
