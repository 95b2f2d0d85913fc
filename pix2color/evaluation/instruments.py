"""The networks that measure, found or named as missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pix2color.errors import WeightsError
from pix2color.evaluation.classifier import PREPARATION, Classifier
from pix2color.evaluation.lpips_distance import Lpips, NetName


@dataclass(frozen=True)
class Instruments:
    """What LPIPS and accuracy are measured with."""

    lpips: Lpips | None
    classifier: Classifier | None
    described: dict[str, str]
    """LPIPS, classifier: net and file."""
    missing: dict[str, tuple[str, str]]
    """Figure -> what its cell says, and why it is missing and how to mend that."""


def find_instruments(
    *,
    net: NetName,
    backbone: str | Path | None,
    classifier: str | Path | None,
    device: torch.device | str,
    lpips: bool = True,
) -> Instruments:
    """Load what is asked for.

    LPIPS without a backbone of one's own is left out where torchvision's cannot be downloaded;
    what is named and does not hold is an error.

    Args:
        net: of LPIPS.
        backbone: its weights; None: torchvision's download.
        classifier: a network's name or a weights file; None: no accuracy.
        device: where they run.
        lpips: False leaves LPIPS out.

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
            missing["lpips"] = ("no backbone: give --lpips-backbone FILE", f"{error}")
    reader: Classifier | None = None
    if classifier is not None:
        reader = Classifier(classifier, device=device)
        described["classifier"] = f"{reader.name}, {PREPARATION}"
    return Instruments(distance, reader, described, missing)
