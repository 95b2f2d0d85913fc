"""MobileNetV2 without torchvision, whose import takes longer than coloring a photo.

Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (CVPR 2018). Names, order and
first weights of the parameters are torchvision's (a test compares them): its weights files load
unchanged, and one seed gives one network.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from pix2color.models.blocks import conv_block

_GROUPS = (
    # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_FIRST, _LAST = 32, 1280
_CLASSES = 1000
_conv_block = partial(conv_block, activation=nn.ReLU6)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; added to the input where the shapes agree.

    B,in,H,W -> B,out,H/stride,W/stride.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        width = in_channels * expansion
        expand = [] if expansion == 1 else [_conv_block(in_channels, width, kernel=1)]
        self.conv = nn.Sequential(
            *expand,
            _conv_block(width, width, stride=stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.is_residual else y


class MobileNetV2(nn.Module):
    """The classifier of ImageNet's 1000 classes; `features` are its 19 modules, finest first."""

    def __init__(self) -> None:
        super().__init__()
        modules: list[nn.Module] = [_conv_block(3, _FIRST, stride=2)]
        previous = _FIRST
        for expansion, channels, blocks, stride in _GROUPS:
            for block in range(blocks):
                step = 1 if block else stride
                modules.append(
                    InvertedResidual(previous, channels, stride=step, expansion=expansion)
                )
                previous = channels
        modules.append(_conv_block(previous, _LAST, kernel=1))
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_LAST, _CLASSES))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """RGB, normalized, B,3,H,W -> logits B,1000."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits
