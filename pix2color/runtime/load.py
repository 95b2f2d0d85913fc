"""Which runtime runs which weights. Imports torch only where torch runs them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from pix2color.checkpoints import hub
from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.runtime.base import Runtime
from pix2color.runtime.onnx import MAKE_GRAPH, OnnxRuntime

KINDS = ("torch", "onnx")
ONNX_SUFFIX = ".onnx"
_GPU_DRIVERS = (
    "/dev/nvidiactl",
    "/dev/dxg",  # of the Windows Subsystem for Linux
    "/dev/kfd",  # AMD
    r"C:\Windows\System32\nvcuda.dll",
)


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
        device: by name; None: a GPU where there is one.
        kind: one of KINDS; None: onnx on a CPU for weights with a graph beside them
            (`NAME.onnx`) and for .onnx files, torch for others. onnx for weights without a graph
            exports them at first use (`onnx_export.cached`).
        announce: called with a message before such an export, which takes seconds.

    Raises:
        WeightsError: as `checkpoint.load`; not an .onnx file of pix2color; a graph of other
            weights; it cannot be exported.
        Pix2ColorError: a device or a runtime that is not there.
    """
    if kind not in (None, *KINDS):
        raise Pix2ColorError(f"no runtime {kind!r}: there are {' and '.join(KINDS)}")
    source = None if name_or_path is None else str(name_or_path)
    if source is not None and source.lower().endswith(ONNX_SUFFIX):
        if kind == "torch":
            raise Pix2ColorError(
                f"{source} runs in onnxruntime only",
                remedy="leave {runtime} out, or set it to onnx",
            )
        return OnnxRuntime.read(Path(source), device=device)
    weights, name = hub.resolve(source), hub.display_name(source)
    graph = find_graph(weights)
    if graph and (kind == "onnx" or (kind is None and runs_on_cpu(device))):
        return OnnxRuntime.read(graph, weights=weights, name=name, device=device)
    try:
        if kind == "onnx":
            from pix2color.runtime import onnx_export

            return OnnxRuntime.read(onnx_export.cached(source, announce=announce), device=device)
        from pix2color.checkpoints import checkpoint
        from pix2color.runtime.device import find_device
        from pix2color.runtime.torch import TorchRuntime
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        raise _needs_torch(weights) from None
    target = find_device(device)
    return TorchRuntime(checkpoint.load(weights, name=name), device=target)


def runs_on_cpu(device: str | None) -> bool:
    """Whether the network will run on the CPU.

    torch, which takes a second to import, is asked only where a GPU's driver is installed.
    """
    if device not in (None, "auto"):
        return device == "cpu"
    if find_spec("torch") is None or not any(Path(path).exists() for path in _GPU_DRIVERS):
        return True
    import torch

    return not torch.cuda.is_available()


def find_graph(weights: Path) -> Path | None:
    """The graph beside a release file, where there is one."""
    path = weights.with_suffix(ONNX_SUFFIX)
    return path if path.is_file() else None


def _needs_torch(weights: Path) -> Pix2ColorError:
    """What to do without torch, which runs weights without a graph."""
    if find_graph(weights):
        return Pix2ColorError(
            "torch is not installed: pip install torch torchvision",
            remedy="or leave {runtime} and {device} out",
        )
    return WeightsError(
        f"no graph {weights.stem}{ONNX_SUFFIX} beside {weights.name}, and torch, which runs such"
        " weights, is not installed",
        remedy=f"make the graph where torch is, with `{MAKE_GRAPH}`, or install torch: pip install"
        " torch torchvision",
    )
