"""LPIPS (Zhang et al. 2018) by the lpips package, version 0.1, with a backbone from a file or a
download."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pix2color.checkpoints.state_dict import read_tensors
from pix2color.errors import WeightsError

NetName = Literal["alex", "vgg", "squeeze"]
NETS: tuple[NetName, ...] = get_args(NetName)
_ARCHITECTURE = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}  # smallest sides with features


class Lpips:
    """Distances of images in a network's features.

    Features of the truth are computed once for all methods, which halves the cost.

    Args:
        net: alex (the usual report), vgg or squeeze.
        backbone: torchvision's weights of alexnet, vgg16 or squeezenet1_1 (`.safetensors` or
            `.pth`; the `features` part is enough); None: torchvision's own download.
        device: where it runs.

    Raises:
        WeightsError: the file is missing or of another network, or nothing could be downloaded.
    """

    def __init__(
        self,
        net: NetName = "alex",
        *,
        backbone: str | Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        import lpips

        self.net = net
        self.source = Path(backbone).name if backbone else "torchvision's download"
        tensors = read_tensors(backbone) if backbone else {}
        with warnings.catch_warnings():
            # lpips 0.1.4 names torchvision's weights the old way.
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
            if backbone is None:
                model = _downloaded(net)
            else:
                model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
                _fill(model.net, tensors, net, backbone)
        # Channels last: 1.6 times as fast on a CPU.
        self._model = (
            model.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)
        )

    @property
    def description(self) -> str:
        """Net and backbone, for the report."""
        return f"lpips 0.1, {self.net}, backbone from {self.source}"

    @torch.no_grad()
    def features(self, rgb: Tensor) -> list[Tensor] | None:
        """Normalized features of images B,3,H,W in 0..1; None where these are too small."""
        from lpips import normalize_tensor

        if min(rgb.shape[-2:]) < _SMALLEST[self.net]:
            return None
        model = self._model
        scaled = model.scaling_layer(2 * rgb.float() - 1)
        levels = model.net.forward(scaled.contiguous(memory_format=torch.channels_last))
        return [normalize_tensor(level) for level in levels]

    @torch.no_grad()
    def distance(self, one: list[Tensor] | None, other: list[Tensor] | None) -> Tensor | None:
        """LPIPS of two sets of features of the same shapes: B float64 on the CPU, 0 for equals."""
        if one is None or other is None:
            return None
        total = torch.zeros(len(one[0]), dtype=torch.float64)
        for linear, a, b in zip(self._model.lins, one, other, strict=True):
            total += linear((a - b).square()).flatten(1).cpu().double().mean(1)
        return total


def _downloaded(net: NetName) -> Any:
    import lpips

    try:
        return lpips.LPIPS(net=net, verbose=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"no LPIPS: {_ARCHITECTURE[net]} cannot be downloaded ({error!s:.80})",
            remedy="name a file of torchvision's weights of it in {lpips_backbone}",
        ) from None


def _fill(
    backbone: torch.nn.Module, tensors: dict[str, Tensor], net: NetName, path: str | Path
) -> None:
    """Copy torchvision's `features.N.*` to the package's `sliceK.N.*`, by N."""
    features = {key.removeprefix("features."): value for key, value in tensors.items()}
    state = {}
    for key, parameter in backbone.state_dict().items():
        value = features.get(key.partition(".")[2])
        if value is None or value.shape != parameter.shape:
            raise WeightsError(
                f"{path} does not hold torchvision's {_ARCHITECTURE[net]}, the backbone of"
                f" LPIPS ({net}): features.{key.partition('.')[2]} is missing or of another"
                " shape"
            )
        state[key] = value.to(parameter.dtype)
    backbone.load_state_dict(state)
