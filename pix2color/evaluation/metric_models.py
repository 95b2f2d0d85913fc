"""The networks behind LPIPS, FD and accuracy: loaded, or named as missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pix2color.errors import WeightsError
from pix2color.evaluation.classifier import PREPARATION, Classifier
from pix2color.evaluation.frechet import Backbone
from pix2color.evaluation.lpips import Lpips, NetName


@dataclass(frozen=True)
class MetricModels:
    """The networks behind LPIPS, FD and accuracy."""

    lpips: Lpips | None
    backbone: Backbone | None
    """Of FD."""
    classifier: Classifier | None
    descriptions: dict[str, str]
    """LPIPS, FD, classifier -> network and file."""
    unavailable: dict[str, tuple[str, str]]
    """Metric -> text of its cells, and why it is missing and the remedy."""


def find_metric_models(
    *,
    net: NetName,
    backbone: str | Path | None,
    classifier: str | Path | None,
    device: torch.device | str,
    lpips: bool = True,
    fd_backbone: str | Path | None = None,
) -> MetricModels:
    """Load the networks.

    LPIPS without a backbone file is left out where torchvision's weights cannot be downloaded. A
    file or network that was named and cannot be loaded is an error.

    Args:
        net: of LPIPS.
        backbone: its weights; None: torchvision's download.
        classifier: a network's name or a weights file; None: no accuracy.
        device: where they run.
        lpips: False leaves LPIPS out.
        fd_backbone: a weights file of one of `frechet.BACKBONES`; None: no FD.

    Raises:
        WeightsError: a file or a network that was named cannot be loaded.
    """
    descriptions: dict[str, str] = {}
    unavailable: dict[str, tuple[str, str]] = {}
    distance: Lpips | None = None
    if lpips:
        try:
            distance = Lpips(net, backbone=backbone, device=device)
            descriptions["LPIPS"] = distance.description
        except WeightsError as error:
            if backbone is not None:
                raise
            unavailable["lpips"] = ("no weights of its backbone", f"{error}")
    features: Backbone | None = None
    if fd_backbone is not None:
        features = Backbone(fd_backbone, device=device)
        descriptions["FD"] = (
            f"Frechet distance of mean-pooled features of {features.description},"
            f" {features.dimensions} dimensions"
        )
    network: Classifier | None = None
    if classifier is not None:
        network = Classifier(classifier, device=device)
        descriptions["classifier"] = f"{network.name}, {PREPARATION}"
    return MetricModels(distance, features, network, descriptions, unavailable)
