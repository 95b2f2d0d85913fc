"""A decoder without skips: the deepest features, doubled and convolved stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError


class UpsampleDecoder(nn.Module):
    """Stages of 3x3 convolutions with ReLU, each at twice the size of the one before.

    Args:
        channels, reduction: the encoder's; only its deepest level is used.
        stages: channels of the convolutions of each stage; the first is at the encoder's size.
        stride: reduction of the output, which the stages must reach.
        by: nearest | bilinear | transposed; the last doubles with a 4x4 convolution of stride 2
            that gives the stage's first channels.
        norm: none | each (batch norm before each ReLU) | stage (after a stage's last ReLU).
        dropout: with norm stage: share of values dropped after it while training.

    Raises:
        ConfigError: the stages lead to another stride, or one has nothing to double with.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        stages: Sequence[Sequence[int]],
        stride: int,
        by: str = "nearest",
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
        if by == "transposed" and not all(stages[1:]):
            raise ConfigError("model.upsample.by: transposed needs channels in every later stage")
        self.by = by
        before = channels[-1]
        blocks = []
        for number, widths in enumerate(stages):
            modules: list[nn.Module] = []
            for position, after in enumerate(widths):
                doubling = by == "transposed" and number > 0 and position == 0
                modules += _convolution(before, after, doubling=doubling, norm=norm == "each")
                before = after
            if norm == "stage" and widths:
                modules += [nn.BatchNorm2d(before), nn.Dropout(dropout)]
            blocks.append(nn.Sequential(*modules))
        self.stages = nn.ModuleList(blocks)
        self.out_channels = before

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        x = features[-1]
        for number, stage in enumerate(self.stages):
            if number and self.by != "transposed":
                x = F.interpolate(x, scale_factor=2.0, mode=self.by)
            x = stage(x)
        return x


def _convolution(before: int, after: int, *, doubling: bool, norm: bool) -> list[nn.Module]:
    conv: nn.Module = (
        nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        if doubling
        else nn.Conv2d(before, after, 3, padding=1)
    )
    between: list[nn.Module] = [nn.BatchNorm2d(after)] if norm else []
    return [conv, *between, nn.ReLU(inplace=True)]
