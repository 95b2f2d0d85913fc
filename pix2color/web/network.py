"""The network as the page loads it: a graph with float16 weights, and what its output means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pix2color.checkpoints.checkpoint import Checkpoint
from pix2color.color.ab_bins_numpy import BIN_CENTERS
from pix2color.errors import WeightsError
from pix2color.models.heads import ClassificationHead
from pix2color.runtime import onnx_export

_MIN_SIZE = 64  # values, below which float16 saves nothing


@dataclass(frozen=True)
class WebNetwork:
    """A network for the page."""

    meta: dict[str, Any]
    """What chain.js calls Model."""
    graph: bytes
    """The ONNX file."""
    external: dict[str, bytes]
    """Files that the graph points to, by their names in it."""


def web_network(released: Checkpoint) -> WebNetwork:
    """The network of a release file.

    Raises:
        WeightsError: it has no classes, or parts that ONNX lacks.
        Pix2ColorError: the `onnx` extra is not installed.
    """
    head = released.generator.head
    if not isinstance(head, ClassificationHead):
        raise WeightsError(
            f"{released.name}: the page needs a network of 313 color classes",
            remedy="leave {checkpoint} out for the packaged one",
        )
    meta = {
        "digest": released.digest,
        "stride": released.generator.stride,
        "decode": released.decode.model_dump(mode="json"),
        "log_prior": head.log_prior.tolist(),
        "bins": BIN_CENTERS.tolist(),
    }
    graph = onnx_export.graph(released.generator, fuse=False)
    return WebNetwork(meta, with_half_weights(graph), {})


def with_half_weights(graph: bytes) -> bytes:
    """An ONNX file whose weights are stored as float16, each behind one Cast to float32.

    Only weights that float16 holds exactly are stored so, as are those of a release file; the
    network therefore computes the same. onnxruntime removes the Casts when it loads the file.
    """
    onnx = onnx_export.library()
    model = onnx.load_model_from_string(graph)
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_SIZE:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}/float16"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}/float16"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
