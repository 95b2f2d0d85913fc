"""The release file: one `.safetensors` with a generator and all that is needed to use it.

`NAME.onnx` beside it is the network's graph, which reads its weights from here (docs/onnx.md).
Weights are float16, batch statistics and the prior float32. Metadata values are strings, JSON where
they are no plain text: `format`, `model` (the config's section, enough to rebuild the network),
`decode`, `data`, `figures`, `notice`, `version`, `config_digest`. No pickle is ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pix2color.errors import WeightsError
from pix2color.io import atomic_write

if TYPE_CHECKING:  # a file is read for onnxruntime without torch
    import torch
    from torch import Tensor

FORMAT = "pix2color-1"
DEFAULT_FILE = Path(__file__).parent / "default.safetensors"
"""The packaged weights."""
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


@dataclass(frozen=True)
class ReleaseFile:
    """The contents of a release file."""

    tensors: dict[str, Any]
    """torch's tensors, or numpy's arrays, as `read` was asked for."""
    meta: dict[str, Any]
    """The metadata, decoded from JSON."""
    digest: str
    """12 hex digits of the file's SHA-256."""
    path: Path


def read(path: str | Path, *, framework: Literal["pt", "np"] = "pt") -> ReleaseFile:
    """Read a release file.

    Args:
        path: of the file.
        framework: of the tensors: torch, or numpy, which imports no torch.

    Raises:
        WeightsError: it is missing, a pickle, not safetensors, or of another format version.
    """
    path = Path(path)
    tensors, meta = read_safetensors(path, framework=framework)
    version = meta.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{path} is not a pix2color release file"
            + (f" of this version (it is {version}, expected {FORMAT})" if version else ""),
            remedy="make one with the command `python -m pix2color release`",
        )
    decoded = {key: _decode(value) for key, value in meta.items()}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return ReleaseFile(tensors, decoded, digest, path)


def write(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a release file atomically.

    Args:
        tensors: a generator's state dict; floating-point weights become float16, except for those
            that `keep_float32` names.
        meta: JSON values; `format` is added.
    """
    from safetensors.torch import save

    stored = {
        key: _to_storage_dtype(key, value.detach().cpu()).clone().contiguous()
        for key, value in tensors.items()
    }
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in meta.items()}
    atomic_write(Path(path), save(stored, metadata={"format": FORMAT, **texts}))


def keep_float32(key: str) -> bool:
    """Whether a tensor of this name stays float32: batch statistics and the prior."""
    return key.rsplit(".", 1)[-1] in {"running_mean", "running_var", "log_prior"}


def read_safetensors(
    path: Path, *, framework: Literal["pt", "np"] = "pt"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors (torch or numpy) and metadata of any safetensors file.

    Raises:
        WeightsError: it is missing, truncated, a pickle, or otherwise not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsError(f"no weights file {path}: check the path")
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_PICKLE_STARTS):
        raise WeightsError(
            f"{path} is a pickle, which can run code when it is read; "
            "pix2color reads .safetensors here: convert it if you trust its source"
        )
    try:
        with safe_open(path, framework=framework) as file:
            meta = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, meta  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from None


def load_state_strict(
    module: torch.nn.Module, tensors: Mapping[str, Tensor], *, source: str
) -> None:
    """Load weights in the module's data types.

    Args:
        module: where they go.
        tensors: exactly the module's state dict.
        source: where they come from, for the error.

    Raises:
        WeightsError: a tensor is missing, foreign or of another shape; the message names it.
    """
    state = module.state_dict()
    common = state.keys() & tensors.keys()
    problems = {
        "missing": sorted(state.keys() - common),
        "foreign": sorted(tensors.keys() - common),
        "of another shape": sorted(k for k in common if state[k].shape != tensors[k].shape),
    }
    reasons = [f"{len(keys)} {how} ({keys[0]}, ...)" for how, keys in problems.items() if keys]
    if reasons:
        raise WeightsError(f"{source} holds the weights of another network: {'; '.join(reasons)}")
    module.load_state_dict({k: v.to(state[k].dtype) for k, v in tensors.items()})


def _to_storage_dtype(key: str, value: Tensor) -> Tensor:
    return value if keep_float32(key) or not value.is_floating_point() else value.half()


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
