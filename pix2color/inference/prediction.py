"""What the network makes of one photo, kept: settings are tried on it without another pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError
from pix2color.models.heads import ClassificationHead, Head

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """One photo's output of the network, on the CPU; h x w cells."""

    raw: Tensor
    """C,h,w float32."""
    input_lightness: Floats
    """h * stride, w * stride: the L that the network saw."""
    guide: Floats
    """L at the middle size to which colors are enlarged (`lightness.guide_size`)."""
    head: Head
    features: Tensor | None = None
    """F,h,w float32: the decoder's last features, where they were asked for."""

    def ab(self, decode: DecodeConfig) -> Tensor:
        """2,h,w: the color of each cell."""
        ab = self.head.to_ab(
            self.raw[None], temperature=decode.temperature, vividness=decode.vividness
        )[0]
        return (decode.saturation * ab).float()

    def cell_lightness(self) -> Floats:
        """h,w: the mean L of each cell."""
        rows, columns = self.raw.shape[1:]
        height, width = self.input_lightness.shape
        return self.input_lightness.reshape(rows, height // rows, columns, width // columns).mean(
            axis=(1, 3)
        )

    def with_logits(self, raw: Tensor) -> Prediction:
        """The same with another output."""
        return replace(self, raw=raw)

    def log_probabilities(self) -> Tensor:
        """313,h,w: of the classes, as the network was trained to give them.

        Raises:
            Pix2ColorError: the weights have no classes.
        """
        self._classes()
        return torch.log_softmax(self.raw, dim=0)

    def confidence(self) -> Tensor:
        """h,w in 0..1: 1 less the entropy of the classes over that of the training photos' prior.

        0: the place says no more about its color than that it is one of a photo's; 1: there is
        but one color.

        Raises:
            Pix2ColorError: the weights have no classes.
        """
        log_p = self.log_probabilities()
        entropy = -(log_p.exp() * log_p).sum(0)
        prior = torch.softmax(self._classes().log_prior.cpu(), 0)
        most = -(prior * prior.clamp_min(1e-12).log()).sum()
        return (1 - entropy / most).clamp(0, 1)

    def _classes(self) -> ClassificationHead:
        if not isinstance(self.head, ClassificationHead):
            raise Pix2ColorError(
                "these weights predict ab, not 313 classes: confidence, variants and palettes need"
                " weights with classes, such as the packaged ones"
            )
        return self.head
