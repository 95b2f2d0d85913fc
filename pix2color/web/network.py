"""The network as the page loads it: a graph, the release file beside it, and what it computes."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2color.checkpoints import hub
from pix2color.color.ab_bins_numpy import BIN_CENTERS
from pix2color.errors import WeightsError
from pix2color.runtime.load import ONNX_SUFFIX
from pix2color.runtime.onnx import INITIALIZERS, MAKE_GRAPH, OnnxRuntime

_REMEDY = f"make it with the command `{MAKE_GRAPH}`"
_LOCATION = re.compile(rb"\n\x08location\x12(.)", re.DOTALL)
"""A key of external data in an ONNX file (protobuf), and the length of its value."""


@dataclass(frozen=True)
class WebNetwork:
    """A network for the page."""

    meta: dict[str, Any]
    """What chain.js calls Model."""
    graph: bytes
    """The ONNX file."""
    external: dict[str, bytes]
    """Files that the graph takes weights from, by the names that it has for them."""


def web_network(name_or_path: str | None = None) -> WebNetwork:
    """The network of a release file with its graph beside it, or of an .onnx file.

    Raises:
        WeightsError: missing, without a graph, of other weights than its graph, without classes, or
            one that takes a square or hints.
        Pix2ColorError: onnxruntime is missing or too old.
    """
    path = Path(name_or_path or "")
    if path.suffix.lower() != ONNX_SUFFIX:
        weights = hub.resolve(name_or_path)
        path = weights.with_suffix(ONNX_SUFFIX)
        if not path.is_file():
            raise WeightsError(f"no graph {path.name} beside {weights.name}", remedy=_REMEDY)
    runtime = OnnxRuntime.read(path, device="cpu")  # as infer.py: what it refuses is refused here
    info = runtime.info
    if info.log_prior is None:
        raise WeightsError(
            f"{path.name}: the page needs a network of 313 color classes",
            remedy="leave {checkpoint} out for the packaged one",
        )
    if info.square_input:
        raise WeightsError(
            f"{path.name}: the page does not stretch photos to a square, as this network needs it",
            remedy="leave {checkpoint} out for the packaged one",
        )
    if info.accepts_hints:
        raise WeightsError(
            f"{path.name}: the page gives no hints to a network, which this one takes",
            remedy="leave {checkpoint} out for the packaged one",
        )
    graph = path.read_bytes()
    external = {}
    if INITIALIZERS in runtime.meta:
        external[_external_name(graph)] = path.with_suffix(".safetensors").read_bytes()
    meta = {
        "digest": info.digest,
        "stride": info.output_stride,
        "decode": {"calibration": 0} | info.decode.model_dump(mode="json"),
        "log_prior": info.log_prior.tolist(),
        "bins": BIN_CENTERS.tolist(),
        "calibration": calibration_table(getattr(info, "calibration", None)),
    }
    return WebNetwork(meta, graph, external)


def _external_name(graph: bytes) -> str:
    """What a graph calls its release file, which may have another name by now."""
    found = _LOCATION.search(graph)
    if found is None:
        raise WeightsError("the graph names no file of weights", remedy=_REMEDY)
    return graph[found.end() : found.end() + found[1][0]].decode()


def calibration_table(calibration: Any) -> dict[str, str] | None:
    """What decode.js calls Calibration."""
    if calibration is None:
        return None
    return {"shift": base64.b64encode(calibration.shift.astype("<f4").tobytes()).decode()}
