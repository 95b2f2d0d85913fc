"""What runs the network: torch or onnxruntime, behind one call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.errors import Pix2ColorError
from pix2color.models.generator import Generator
from pix2color.models.heads import Head
from pix2color.runtime.device import find_device, single_threaded

if TYPE_CHECKING:
    from pix2color.runtime.onnx import OnnxRuntime

NAMES = ("torch", "onnx")
ONNX_SUFFIX = ".onnx"


class Runtime(Protocol):
    """A network that is ready to run. Safe to call from several threads."""

    kind: str
    """One of NAMES."""

    @property
    def stride(self) -> int:
        """Pixels of L per pixel of raw."""

    @property
    def head(self) -> Head:
        """Decodes raw."""

    @property
    def accepts_hints(self) -> bool:
        """Whether the network was trained to be given colors."""

    def run(
        self,
        lightness: Tensor,
        device: torch.device,
        *,
        features: bool = False,
        hints: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """One pass; on the CPU by one thread, so that no bit depends on how many there are.

        Args:
            lightness: B,1,H,W in 0..100, on the CPU; any H and W.
            device: where to compute.
            features: also give the decoder's last ones.
            hints: B,3,h,w (`hint_input.pack`), for a network that takes them.

        Returns:
            raw B,C,h,w and features B,F,h,w or None: float32, on the CPU.

        Raises:
            MemoryError, RuntimeError: also for memory that runs out (`devices.out_of_memory`).
        """


class TorchRuntime:
    """A generator as it is."""

    kind = "torch"

    def __init__(self, generator: Generator) -> None:
        self.generator = generator.eval()
        self._place: torch.device | None = None  # the first pass moves it: a device can be full
        self._lock = threading.Lock()  # for the place, and torch's one number of threads

    @property
    def stride(self) -> int:
        """As Backend's."""
        return self.generator.stride

    @property
    def head(self) -> Head:
        """As Backend's."""
        return self.generator.head

    @property
    def accepts_hints(self) -> bool:
        """As Backend's."""
        return self.generator.hint_input is not None

    def run(
        self,
        lightness: Tensor,
        device: torch.device,
        *,
        features: bool = False,
        hints: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As Backend's."""
        with self._lock, torch.inference_mode(), single_threaded(device):
            self._move(device)
            given = () if hints is None else (hints.to(device),)
            if not features:
                return self.generator.predict_raw(lightness.to(device), *given).float().cpu(), None
            both = self.generator.predict_features(lightness.to(device), *given)
            found, raw = (one.float().cpu() for one in both)
            return raw, found

    def _move(self, device: torch.device) -> None:
        if self._place != device:
            self._place = None  # where memory runs out now, it lies in two places
            self.generator.to(device)
            self._place = device


def load(
    name_or_path: str | Path | None,
    device: str | None,
    *,
    backend: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> tuple[checkpoint.Checkpoint | OnnxRuntime, torch.device]:
    """Weights for a backend, and the device they will run on.

    Args:
        name_or_path: as `weights.load`, or an .onnx file.
        device: by name; None: the backend's best.
        backend: one of NAMES; None: onnx for an .onnx file, torch for others. onnx for other
            weights exports them at first use (`onnx_file.cached`).
        announce: is told of such an export, which takes seconds.

    Raises:
        WeightsError: as `weights.load`; not an .onnx file of ours; it cannot be exported.
        Pix2ColorError: a device or a backend that is not there.
    """
    if backend not in (None, *NAMES):
        raise Pix2ColorError(f"no backend {backend!r}: there are {' and '.join(NAMES)}")
    source = None if name_or_path is None else str(name_or_path)
    exported = source is not None and source.lower().endswith(ONNX_SUFFIX)
    if not exported and backend != "onnx":
        where = find_device(device)
        return checkpoint.load(source, device="cpu"), where
    if backend == "torch":
        raise Pix2ColorError(
            f"{source} runs in onnxruntime only", remedy="leave {backend} out, or set it to onnx"
        )
    from pix2color.runtime import onnx, onnx_export

    where = onnx.find_device(device)
    path = Path(str(source)) if exported else onnx_export.cached(source, announce=announce)
    return onnx.OnnxRuntime.read(path), where
