"""The PatchGAN discriminator (Isola et al. 2017) on Lab photos."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_LAB_CENTER = (50.0, 0.0, 0.0)
LAB_SCALE = (50.0, 110.0, 110.0)
"""Lab units per unit of a discriminator's input."""


class PatchDiscriminator(nn.Module):
    """4x4 convolutions and LeakyReLU 0.2: one logit per patch of the photo.

    Args:
        layers: number of convolutions of stride 2; the receptive field is 16, 34, 70, 142, 286
            pixels for 1..5.
        width: channels of the first convolution; doubled by each further one, up to 8 * width.
        norm: batch | instance | spectral.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, *, layers: int = 3, width: int = 64, norm: str = "spectral") -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer("center", torch.tensor(_LAB_CENTER).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(LAB_SCALE).view(1, 3, 1, 1), persistent=False)
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        blocks: list[nn.Module] = [self._conv(3, widths[0], stride=2), nn.LeakyReLU(0.2)]
        for i in range(layers):
            stride = 2 if i < layers - 1 else 1
            blocks += self._block(widths[i], widths[i + 1], stride)
        blocks.append(self._conv(widths[-1], 1, stride=1))
        self.net = nn.Sequential(*blocks)

    def _conv(
        self, in_channels: int, out_channels: int, *, stride: int, bias: bool = True
    ) -> nn.Module:
        conv = nn.Conv2d(in_channels, out_channels, 4, stride=stride, padding=1, bias=bias)
        nn.init.normal_(conv.weight, std=0.02)
        return spectral_norm(conv) if self.norm == "spectral" else conv

    def _block(self, in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
        # A batch norm subtracts its mean, and with it any bias of the convolution before it.
        conv = self._conv(in_channels, out_channels, stride=stride, bias=self.norm != "batch")
        norm: list[nn.Module] = []
        if self.norm == "batch":
            norm = [nn.BatchNorm2d(out_channels)]
        elif self.norm == "instance":
            norm = [nn.InstanceNorm2d(out_channels)]
        return [conv, *norm, nn.LeakyReLU(0.2)]

    def forward(self, lab: Tensor) -> Tensor:
        """Lab B,3,H,W (L 0..100) -> logits B,1,h,w; H, W of at least 24 at three layers."""
        logits: Tensor = self.net((lab - self.center) / self.scale)
        return logits
