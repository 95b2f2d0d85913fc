"""Which runtime runs which weights. Imports torch only where torch runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pix2color.errors import Pix2ColorError
from pix2color.runtime.base import Runtime
from pix2color.runtime.onnx import OnnxRuntime

KINDS = ("torch", "onnx")
ONNX_SUFFIX = ".onnx"


def load_runtime(
    name_or_path: str | Path | None = None,
    device: str | None = None,
    *,
    kind: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> Runtime:
    """Weights, ready to run on a device.

    Args:
        name_or_path: as `checkpoint.load`, or an .onnx file.
        device: by name; None: the best that the runtime has.
        kind: one of KINDS; None: onnx for an .onnx file, torch for others. onnx for other weights
            exports them at first use (`onnx_export.cached`).
        announce: called with a message before such an export, which takes seconds.

    Raises:
        WeightsError: as `checkpoint.load`; not an .onnx file of pix2color; it cannot be exported.
        Pix2ColorError: a device or a runtime that is not there.
    """
    if kind not in (None, *KINDS):
        raise Pix2ColorError(f"no backend {kind!r}: there are {' and '.join(KINDS)}")
    source = None if name_or_path is None else str(name_or_path)
    if source is not None and source.lower().endswith(ONNX_SUFFIX):
        if kind == "torch":
            raise Pix2ColorError(
                f"{source} runs in onnxruntime only",
                remedy="leave {backend} out, or set it to onnx",
            )
        return OnnxRuntime.read(Path(source), device=device)
    if kind == "onnx":
        from pix2color.runtime import onnx_export

        return OnnxRuntime.read(onnx_export.cached(source, announce=announce), device=device)
    from pix2color.checkpoints import checkpoint
    from pix2color.runtime.device import find_device
    from pix2color.runtime.torch import TorchRuntime

    target = find_device(device)
    return TorchRuntime(checkpoint.load(source), device=target)
