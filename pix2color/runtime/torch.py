"""A checkpoint's generator, run by torch."""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from pix2color.checkpoints.checkpoint import Checkpoint
from pix2color.models.heads import ClassificationHead
from pix2color.runtime.base import Floats, NetworkInfo, NetworkOutput
from pix2color.runtime.device import single_threaded


class TorchRuntime:
    """A checkpoint's network as a `Runtime`.

    Args:
        checkpoint: as `checkpoint.load` returns it.
        device: where the network runs.
    """

    kind = "torch"

    def __init__(self, checkpoint: Checkpoint, *, device: str | torch.device = "cpu") -> None:
        self.device = str(device)
        self.generator = checkpoint.generator.eval()
        head = self.generator.head
        self.info = NetworkInfo(
            name=checkpoint.name,
            digest=checkpoint.digest,
            decode=checkpoint.decode,
            output_stride=self.generator.stride,
            log_prior=(
                head.log_prior.float().cpu().numpy()
                if isinstance(head, ClassificationHead)
                else None
            ),
            accepts_hints=self.generator.accepts_hints,
            calibration=checkpoint.calibration,
            square_input=checkpoint.model.square_input,
            input_multiple=checkpoint.model.input_multiple,
        )
        self._current: torch.device | None = None  # set by the first pass: a device can be full
        self._lock = threading.Lock()  # for the device, and for torch's one number of threads

    def run(
        self,
        lightness: Floats,
        *,
        features: bool = False,
        hints: Floats | None = None,
        device: str | None = None,
    ) -> NetworkOutput:
        """See `Runtime.run`."""
        if hints is not None and not self.info.accepts_hints:
            raise ValueError("this network takes no hints: it was trained without them")
        target = torch.device(device or self.device)
        with self._lock, torch.inference_mode(), single_threaded(target):
            self._move(target)
            inputs = [
                torch.from_numpy(np.array(array)).to(target)  # a copy: callers keep their own
                for array in (lightness, hints)
                if array is not None
            ]
            if not features:
                return NetworkOutput(self._values(self.generator.predict_raw(*inputs)))
            last, raw = self.generator.predict_features(*inputs)
            return NetworkOutput(self._values(raw), last.float().cpu().numpy())

    def _values(self, raw: Tensor) -> Floats:
        if self.info.log_prior is None:
            raw = self.generator.head.to_ab(raw, temperature=1.0, vividness=0.0)
        values: Floats = raw.float().cpu().numpy()
        return values

    def _move(self, device: torch.device) -> None:
        if self._current != device:
            self._current = None  # where memory runs out now, parts are on both devices
            self.generator.to(device)
            self._current = device
