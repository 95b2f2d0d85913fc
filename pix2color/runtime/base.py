"""What a runtime of a network offers: torch and onnxruntime behind one call. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.config import DecodeConfig

Floats = NDArray[np.float32]

_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, MPS
    "not enough memory",  # torch's CPU allocator
    "can't allocate memory",
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "could not create a ",  # oneDNN: a primitive, a memory object
    "Failed to allocate memory",  # onnxruntime
    "bad allocation",
    "bad_alloc",
)
"""Parts of the messages of plain RuntimeErrors where memory ran out."""


@dataclass(frozen=True, eq=False)
class NetworkInfo:
    """What a network is, and what its output means."""

    name: str
    """For messages: the file's or repository's name."""
    digest: str
    """12 hex digits of the release file."""
    decode: DecodeConfig
    """The decoding that it ships with."""
    output_stride: int
    """Pixels of L per cell of the output."""
    log_prior: Floats | None = None
    """313 for a network whose output is class logits: the logarithm of the classes' prior. None:
    the output is ab."""
    accepts_hints: bool = False
    """Whether `Runtime.run` takes hints: the network was trained with simulated ones."""
    calibration: ChromaCalibration | None = None
    """Fitted for these weights; None: they have none, and `decode.calibration` is 0."""
    square_input: bool = False
    """Whether photos are stretched to a square of `decode.input_size` pixels."""
    input_multiple: int = 1
    """Sides of the input are multiples of this as well as of `output_stride`."""

    @property
    def size_multiple(self) -> int:
        """Sides of the input are rounded to multiples of this."""
        return math.lcm(self.output_stride, self.input_multiple)

    def describe(self) -> str:
        """What it takes and gives, in words."""
        side = "a square of {} pixels" if self.square_input else "a shorter side of {} pixels"
        output = "ab" if self.log_prior is None else f"{len(self.log_prior)} classes"
        hints = " and hints" if self.accepts_hints else ""
        return (
            f"takes L{hints} at {side.format(self.decode.input_size)}, a multiple of"
            f" {self.size_multiple}; gives {output} per {self.output_stride} pixels"
        )


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """One pass of a network over a batch."""

    values: Floats
    """B,313,h,w logits where the network has a `log_prior`, else B,2,h,w ab in Lab units."""
    features: Floats | None = None
    """B,F,h,w: the decoder's last features, where they were asked for."""


class Runtime(Protocol):
    """A network that is ready to run. Safe to call from several threads."""

    kind: str
    """torch or onnx."""
    device: str
    """Where it runs: cpu, cuda, cuda:1, mps."""
    info: NetworkInfo

    def run(
        self,
        lightness: Floats,
        *,
        features: bool = False,
        hints: Floats | None = None,
        device: str | None = None,
    ) -> NetworkOutput:
        """One pass; on the CPU by one thread, so that no bit depends on the number of threads.

        Args:
            lightness: B,1,H,W in 0..100; any H and W.
            features: also return the decoder's last features.
            hints: B,3,h,w (`guidance.hints.encode_hints`), for a network that accepts them.
            device: in place of `self.device`, for this pass.

        Raises:
            ValueError: hints for a network that does not accept them.
            MemoryError, RuntimeError: also where memory runs out (`out_of_memory`).
        """


def out_of_memory(error: Exception) -> bool:
    """Whether an error of a runtime or of numpy says that memory ran out."""
    # torch's own class is known by its name: this module must not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)
