"""A kind of network of others: which of our parts it is made of, and how its weights become ours.

Weights are renamed, one by one and strictly. A spectral norm (`weight_orig`, `weight_u`,
`weight_v`) is folded into the weight.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pix2color.build import build_generator
from pix2color.config import ModelConfig
from pix2color.errors import WeightsError

OWN = ("head.log_prior",)
"""Tensors of ours that no file of others has; the packaged values stay."""
OPTIONAL = "num_batches_tracked"
"""Last part of the names that old files lack."""

Tensors = dict[str, Tensor]
Adjust = Callable[[Tensors, Tensors, dict[str, Any]], tuple[Tensors, str]]
"""Our tensors, theirs and the decode section, which it may change -> our tensors as they are
written, and a sentence about what was found."""


@dataclass(frozen=True)
class ForeignNetwork:
    """A kind of network of others."""

    model: Mapping[str, Any]
    """The config section that builds it."""
    decode: Mapping[str, Any]
    """The decoding with which it gives its published colors."""
    names: Mapping[str, str]
    """Our modules, or whole names of tensors -> theirs."""
    origin: Mapping[str, str]
    """For the metadata: authors, license, url."""
    file: str
    """The published file, for messages."""
    sha256: str = ""
    """First digits of its digest, where its authors state them."""
    hub_files: tuple[str, ...] = ()
    """Names of the file in its repositories of the Hugging Face Hub, the preferred one first."""
    spectral: frozenset[str] = frozenset()
    """Their modules with a spectral norm."""
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Tensors that its colors do not depend on, and their shapes."""
    ignored: tuple[str, ...] = ()
    """Starts of the names of tensors that some files have and its authors' code does not use."""
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that are the same in every file of the kind."""
    adjust: Adjust | None = None

    @functools.cached_property
    def own_shapes(self) -> dict[str, torch.Size]:
        """Our tensors and their shapes; nothing is computed."""
        with torch.device("meta"):
            state = build_generator(
                ModelConfig.model_validate(self.model), pretrained=False
            ).state_dict()
        return {key: value.shape for key, value in state.items()}

    def theirs(self, key: str) -> str:
        """Their name of one of our tensors."""
        if key in self.names:
            return self.names[key]
        module, _, leaf = key.rpartition(".")
        return f"{self.names[module]}.{leaf}"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a file of this kind, and its shape."""
        shapes = dict(self.unused) | {key: tuple(v.shape) for key, v in self.constants.items()}
        for key, shape in self.own_shapes.items():
            if key not in OWN:
                shapes |= self._stored(self.theirs(key), tuple(shape))
        return shapes

    def _stored(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The tensors of a file that one of ours is made of."""
        module, _, leaf = name.rpartition(".")
        if leaf == "gamma":  # ours is C,1,1
            shape = shape[:1]
        if leaf != "weight" or module not in self.spectral:
            return {name: shape}
        columns = (math.prod(shape[1:]),)
        return {f"{name}_orig": shape, f"{name}_u": shape[:1], f"{name}_v": columns}

    def convert(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """A checked file's tensors under our names, float32 where they are numbers."""
        converted = {}
        for key, shape in self.own_shapes.items():
            if key in OWN:
                continue
            name = self.theirs(key)
            if name.endswith(OPTIONAL) and name not in tensors:
                converted[key] = torch.tensor(0)
                continue
            module = name.rpartition(".")[0]
            is_normed = name == f"{module}.weight" and module in self.spectral
            value = _folded(tensors, name) if is_normed else tensors[name]
            value = value.float() if value.is_floating_point() else value
            converted[key] = value.reshape(shape).contiguous()
        return converted

    def problems(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """What keeps a file from being of this kind, by the names of its tensors."""
        shapes = self.shapes()
        common = shapes.keys() & tensors.keys()
        missing = sorted(k for k in shapes.keys() - common if not k.endswith(OPTIONAL))
        foreign = sorted(k for k in tensors.keys() - common if not k.startswith(self.ignored))
        other = sorted(k for k in common if tuple(tensors[k].shape) != shapes[k])
        found = [f"{len(keys)} {how} ({keys[0]}, ...)" for how, keys in (
            ("missing", missing), ("foreign", foreign),
        ) if keys]  # fmt: skip
        if other:
            name = other[0]
            shape = f"{list(tensors[name].shape)}, not {list(shapes[name])}"
            found.append(f"{len(other)} of another shape ({name}: {shape}, ...)")
        found += [
            f"{key} has other values"
            for key, value in self.constants.items()
            if key in common and not found and not torch.allclose(tensors[key].float(), value)
        ]
        return found


def _folded(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The weight of a layer with a spectral norm, as it is used after training.

    weight_orig / (u W v), where W is weight_orig as a matrix (Miyato et al. 2018).
    """
    original, u, v = (tensors[f"{name}_{part}"].double() for part in ("orig", "u", "v"))
    norm = u @ original.flatten(1) @ v
    if not norm.isfinite() or norm == 0:
        raise WeightsError(f"{name}_orig has a spectral norm of {float(norm):g}: it is damaged")
    return (original / norm).float()
