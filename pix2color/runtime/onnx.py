"""A network exported to ONNX, run by onnxruntime (the `onnx` extra)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pix2color.build import build_head
from pix2color.config import DecodeConfig, ModelConfig
from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.models.heads import ClassificationHead, Head
from pix2color.models.init import skip_weight_init

FORMAT = "pix2color-onnx-1"
"""Of the files that are written and read here (docs/onnx.md)."""
INPUT, OUTPUTS = "lightness", ("raw", "features")
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_QUIET = 4  # of onnxruntime's logs: only what is fatal; errors are raised


class OnnxRuntime:
    """A Backend, and what its file says of it (as `weights.Released`)."""

    kind = "onnx"
    accepts_hints = False  # the graph has no input for them: they are spread afterwards

    def __init__(self, data: bytes, name: str) -> None:
        """Args:
            data: the file.
            name: what errors call it.

        Raises:
            WeightsError: not such a file, truncated, of another version.
            Pix2ColorError: onnxruntime is not installed.
        """
        library()
        self.name = name
        self._data = data
        try:
            session = self._session(torch.device("cpu"))
        except Exception as error:  # onnxruntime's kinds have no common base
            raise WeightsError(f"{name} is not a whole ONNX file: {_first_line(error)}") from None
        self._sessions = {torch.device("cpu"): session}
        texts: dict[str, str] = session.get_modelmeta().custom_metadata_map
        found = texts.get("format")
        if found != FORMAT:
            says = f" of this version (it says {found}, wanted {FORMAT})" if found else ""
            raise WeightsError(
                f"{name} is not an ONNX file of pix2color{says}",
                remedy="make one with the command `python -m pix2color export`",
            )
        try:
            self.meta: dict[str, Any] = {k: _decoded(v) for k, v in texts.items()}
            self.decode = DecodeConfig.model_validate(self.meta["decode"])
            self.head = _head(self.meta)
            self.stride = int(self.meta["stride"])
            self.digest = texts["digest"]
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise WeightsError(
                f"{name} was written by another version of pix2color "
                f"({texts.get('version', 'unknown')}): {_first_line(error)}; export it again"
            ) from None

    @classmethod
    def read(cls, path: Path) -> OnnxRuntime:
        """The network of a file; raises as the constructor, and WeightsError for none there."""
        if not path.is_file():
            raise WeightsError(f"no weights file {path}: check the path")
        return cls(path.read_bytes(), path.name)

    def run(
        self,
        lightness: Tensor,
        device: torch.device,
        *,
        features: bool = False,
        hints: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As Backend's; raises ValueError for hints."""
        if hints is not None:
            raise ValueError("an exported network takes no hints")
        wanted = OUTPUTS if features else OUTPUTS[:1]
        try:
            if device not in self._sessions:
                self._sessions[device] = self._session(device)
            found = self._sessions[device].run(wanted, {INPUT: lightness.numpy()})
        except Pix2ColorError:
            raise
        except Exception as error:  # as above; what memory says is known to `devices`
            raise RuntimeError(f"onnxruntime: {error}") from error
        raw, *rest = (torch.from_numpy(one) for one in found)
        return raw, rest[0] if rest else None

    def _session(self, device: torch.device) -> Any:
        """One thread, as torch's path; no arena, which would keep the most that any photo took."""
        onnxruntime = library()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = _QUIET
        provider = _PROVIDERS[device.type]
        settings = {"device_id": str(device.index or 0)} if device.type == "cuda" else {}
        session = onnxruntime.InferenceSession(
            self._data, options, providers=[(provider, settings)]
        )
        if session.get_providers()[0] != provider:  # it takes another one without a word
            raise _not_installed(str(device))
        return session


def find_device(name: str | None) -> torch.device:
    """The device of that name where onnxruntime has it, or its best.

    Raises Pix2ColorError for one that it does not have.
    """
    there = library().get_available_providers()
    if name in (None, "auto"):
        return torch.device("cuda" if _PROVIDERS["cuda"] in there else "cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise _not_installed(str(name)) from None
    if _PROVIDERS.get(device.type) not in there:
        raise _not_installed(str(name))
    return device


def library() -> Any:
    """onnxruntime.

    Raises Pix2ColorError where it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise Pix2ColorError('ONNX files need onnxruntime: pip install "pix2color[onnx]"') from None
    return onnxruntime


def _not_installed(name: str) -> Pix2ColorError:
    package = "install onnxruntime-gpu, or " if name.startswith("cuda") else ""
    return Pix2ColorError(
        f"onnxruntime has no device {name!r} here", remedy=package + "leave {device} out"
    )


def _head(meta: dict[str, Any]) -> Head:
    """A head that only decodes: its convolution lies in the graph."""
    with skip_weight_init():
        head = build_head(ModelConfig.model_validate(meta["model"]).head, 1)
    if isinstance(head, ClassificationHead):
        head.log_prior.copy_(torch.tensor(meta["log_prior"]))
    return head.requires_grad_(False).eval()


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _first_line(error: Exception) -> str:
    """The first words of a message, on one line."""
    return " ".join(str(error).split())[:120]
