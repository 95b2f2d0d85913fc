"""The networks that measure, found or named as missing."""

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
    """What LPIPS, FD and accuracy are measured with."""

    lpips: Lpips | None
    backbone: Backbone | None
    """Of FD."""
    classifier: Classifier | None
    descriptions: dict[str, str]
    """LPIPS, FD, classifier: net and file."""
    unavailable: dict[str, tuple[str, str]]
    """Figure -> what its cell says, and why it is missing and how to mend that."""


def find_metric_models(
    *,
    net: NetName,
    backbone: str | Path | None,
    classifier: str | Path | None,
    device: torch.device | str,
    lpips: bool = True,
    fd_backbone: str | Path | None = None,
) -> MetricModels:
    """Load what is asked for.

    LPIPS without a backbone of one's own is left out where torchvision's cannot be downloaded;
    what is named and does not hold is an error.

    Args:
        net: of LPIPS.
        backbone: its weights; None: torchvision's download.
        classifier: a network's name or a weights file; None: no accuracy.
        device: where they run.
        lpips: False leaves LPIPS out.
        fd_backbone: a weights file of one of `frechet.BACKBONES`; None: no FD.

    Raises:
        WeightsError: a file or a network that was named.
    """
    described: dict[str, str] = {}
    missing: dict[str, tuple[str, str]] = {}
    distance: Lpips | None = None
    if lpips:
        try:
            distance = Lpips(net, backbone=backbone, device=device)
            described["LPIPS"] = distance.description
        except WeightsError as error:
            if backbone is not None:
                raise
            missing["lpips"] = ("no weights of its backbone", f"{error}")
    features: Backbone | None = None
    if fd_backbone is not None:
        features = Backbone(fd_backbone, device=device)
        described["FD"] = (
            f"Frechet distance of mean-pooled features of {features.description},"
            f" {features.dimensions} dimensions"
        )
    reader: Classifier | None = None
    if classifier is not None:
        reader = Classifier(classifier, device=device)
        described["classifier"] = f"{reader.name}, {PREPARATION}"
    return MetricModels(distance, features, reader, described, missing)
