"""The network's output for one photo, kept: settings are tried on it without another pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pix2color.color import ab_bins_numpy
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One photo's output of the network: h x w cells."""

    values: Floats
    """313,h,w class logits where `log_prior` is given, else 2,h,w ab in Lab units."""
    input_lightness: Floats
    """h * stride, w * stride: the L that the network saw."""
    guide: Floats
    """L at the middle size to which colors are upsampled (`preprocess.guide_size`)."""
    log_prior: Floats | None = None
    """313: the logarithm of the classes' prior."""
    features: Floats | None = None
    """F,h,w: the decoder's last features, where they were asked for."""
    calibration: ChromaCalibration | None = None
    """Of the weights; None: they have none."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        rows, columns = self.values.shape[1:]
        return rows, columns

    def ab(self, decode: DecodeConfig) -> Floats:
        """2,h,w in Lab units: the color of each cell. ab output has no temperature or vividness.

        This is the one place where colors are calibrated.
        """
        ab = self.values
        if self.log_prior is not None:
            ab = ab_bins_numpy.annealed_mean(
                self.values,
                temperature=decode.temperature,
                log_prior=self.log_prior,
                vividness=decode.vividness,
            )
        if self.calibration is not None:
            ab = self.calibration.apply(ab, self.cell_lightness(), decode.calibration)
        return np.float32(decode.saturation) * ab

    def cell_lightness(self) -> Floats:
        """h,w: the mean L of each cell."""
        rows, columns = self.grid
        height, width = self.input_lightness.shape
        cells = self.input_lightness.reshape(rows, height // rows, columns, width // columns)
        return cells.mean(axis=(1, 3))

    def with_logits(self, logits: Floats) -> Prediction:
        """The same with other logits."""
        return replace(self, values=logits)

    def log_probabilities(self) -> Floats:
        """313,h,w: of the classes, as the network was trained to predict them.

        Raises:
            Pix2ColorError: the weights have no classes.
        """
        self._class_log_prior()
        return ab_bins_numpy.log_softmax(self.values, axis=0)

    def confidence(self) -> Floats:
        """h,w in 0..1: 1 less the entropy of the classes over that of the training photos' prior.

        0: the cell's color is as uncertain as that of any cell of any photo; 1: one color has all
        the probability.

        Raises:
            Pix2ColorError: the weights have no classes.
        """
        log_p = self.log_probabilities()
        entropy = -(np.exp(log_p) * log_p).sum(axis=0)
        prior = ab_bins_numpy.softmax(self._class_log_prior(), axis=0)
        most = -(prior * np.log(np.maximum(prior, 1e-12))).sum()
        return np.clip(1 - entropy / most, 0, 1)

    def _class_log_prior(self) -> Floats:
        if self.log_prior is None:
            raise Pix2ColorError(
                "these weights predict ab, not 313 classes: confidence, variants and palettes need"
                " weights with classes, such as the packaged ones"
            )
        return self.log_prior
