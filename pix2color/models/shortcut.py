"""A decoder that adds the encoder's levels to its own (Zhang et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pix2color.errors import ConfigError


class ShortcutDecoder(nn.Module):
    """Stage by stage: double the size, add a convolved level of the encoder, convolve.

    Doubling is a 4x4 transposed convolution of stride 2. ReLU follows the sum and each 3x3
    convolution, and a batch norm each stage; the last stage ends with a leaky ReLU of slope 0.2.

    Args:
        channels, reduction: the encoder's, which has a level at every stride from its deepest one
            to that of the output.
        stages: channels of the 3x3 convolutions of each stage.
        stride: reduction of the output, which the stages must reach.

    Raises:
        ConfigError: the stages lead to another stride, or a level is missing.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        stages: Sequence[Sequence[int]],
        stride: int,
    ) -> None:
        super().__init__()
        levels = dict(zip(reduction, channels, strict=True))
        strides = [reduction[-1] // 2 ** (number + 1) for number in range(len(stages))]
        if not strides or strides[-1] != stride or not levels.keys() >= set(strides):
            raise ConfigError(
                f"model.shortcut.stages: {len(stages)} stages do not lead from the encoder's"
                f" strides {tuple(reduction)} to model.output_stride {stride}"
            )
        self.ups, self.shortcuts, self.stages = (nn.ModuleList() for _ in range(3))
        current = channels[-1]
        for at, widths in zip(strides, stages, strict=True):
            self.ups.append(nn.ConvTranspose2d(current, widths[0], 4, stride=2, padding=1))
            self.shortcuts.append(nn.Conv2d(levels[at], widths[0], 3, padding=1))
            current = widths[0]
            modules: list[nn.Module] = [nn.ReLU()]
            for width in widths:
                modules += [nn.Conv2d(current, width, 3, padding=1), nn.ReLU()]
                current = width
            if at == stride:
                modules[-1] = nn.LeakyReLU(0.2)
            else:
                modules.append(nn.BatchNorm2d(current))
            self.stages.append(nn.Sequential(*modules))
        self.skips = [tuple(reduction).index(at) for at in strides]
        self.out_channels = current

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        x = features[-1]
        for up, shortcut, stage, skip in zip(
            self.ups, self.shortcuts, self.stages, self.skips, strict=True
        ):
            x = stage(up(x) + shortcut(features[skip]))
        return x
