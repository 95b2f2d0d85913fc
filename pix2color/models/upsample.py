"""A decoder without skips: the deepest features, upsampled and convolved stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.blocks import conv_block, upsample_block


class UpsampleDecoder(nn.Module):
    """Stages of 3x3 convolutions with ReLU, each at twice the size of the one before.

    Args:
        channels, reduction: the encoder's; only its deepest level is used.
        stages: channels of the convolutions of each stage; the first is at the encoder's size.
        stride: reduction of the output, which the stages must reach.
        mode: nearest | bilinear | transposed. How a stage doubles the size; transposed: its first
            convolution is a 4x4 transposed one of stride 2.
        norm: none | each (batch norm before each ReLU) | stage (after a stage's last ReLU).
        dropout: with norm stage: share of values dropped after it while training.

    Raises:
        ConfigError: the stages lead to another stride, or a stage has no transposed convolution to
            double the size with.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        stages: Sequence[Sequence[int]],
        stride: int,
        mode: str = "nearest",
        norm: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        reached = reduction[-1] / 2 ** (len(stages) - 1) if stages else 0
        if reached != stride:
            raise ConfigError(
                f"model.upsample.stages: {len(stages)} stages lead from the encoder's stride "
                f"{reduction[-1]} to {reached:g}, not to model.output_stride {stride}"
            )
        if mode == "transposed" and not all(stages[1:]):
            raise ConfigError("model.upsample.mode: transposed needs channels in every later stage")
        self.mode = mode
        self.stages = nn.ModuleList()
        in_channels = channels[-1]
        for number, widths in enumerate(stages):
            modules: list[nn.Module] = []
            for position, out_channels in enumerate(widths):
                if mode == "transposed" and number > 0 and position == 0:
                    modules += upsample_block(in_channels, out_channels, norm=norm == "each")
                else:
                    modules += conv_block(in_channels, out_channels, bias=True, norm=norm == "each")
                in_channels = out_channels
            if norm == "stage" and widths:
                modules += [nn.BatchNorm2d(in_channels), nn.Dropout(dropout)]
            self.stages.append(nn.Sequential(*modules))
        self.out_channels = in_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        x = features[-1]
        for number, stage in enumerate(self.stages):
            if number and self.mode != "transposed":
                x = F.interpolate(x, scale_factor=2.0, mode=self.mode)
            x = stage(x)
        return x
