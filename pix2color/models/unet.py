"""The U-Net decoder: from an encoder's features to one map at the output stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.blocks import ResidualBlock, conv_block

RESIDUAL_PREFIX = "decoder.residuals."
"""Start of the state-dict keys of a generator's residual blocks."""
_LAST_NORM = (".body.2.weight", ".body.2.bias")


def identity_block(channels: int) -> ResidualBlock:
    """A residual block of two 3x3 convolutions that is the identity until it is trained.

    The last batch norm starts at 0 (Goyal et al. 2017), so that blocks can be added to a trained
    network without changing what it computes.
    """
    first = conv_block(channels, channels)
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    norm = nn.BatchNorm2d(channels)
    nn.init.zeros_(norm.weight)
    return ResidualBlock(nn.Sequential(first, conv, norm))


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions, added with a gain that starts at 0.

    It lets distant parts of a photo exchange information (SAGAN, Zhang et al. 2019); its memory
    grows with the square of the map's size. B,C,H,W -> the same shape.
    """

    def __init__(self, channels: int, *, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.query_key_value(self.norm(x)).view(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # B,heads,HW,c
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.gamma * self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))


class UNetDecoder(nn.Module):
    """Upsample, concatenate the skip, convolve: level by level up to `stride`.

    Args:
        channels, reduction: the encoder's.
        decoder_channels: channels at the deepest level, the next one, ...; the last repeats.
        convs_per_level: 3x3 convolutions at each level; the last repeats.
        residual_blocks: residual blocks after them at each level; further levels have none.
        stride: reduction of the output; where the encoder has no level there, its finest one is
            upsampled further.
        attention: self-attention at reduction 16.
        dropout: share of the output's channels dropped while training.

    Raises:
        ConfigError: the stride is coarser than the encoder's deepest level.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        decoder_channels: Sequence[int],
        convs_per_level: Sequence[int] = (1,),
        residual_blocks: Sequence[int] = (),
        stride: int = 4,
        attention: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        skips = dict(zip(reduction, channels, strict=True))
        self.strides = _strides(reduction, stride)
        self.blocks = nn.ModuleList()
        self.residuals = nn.ModuleList()
        self.attentions = nn.ModuleList()
        previous = 0
        for level, at in enumerate(self.strides):
            width = decoder_channels[min(level, len(decoder_channels) - 1)]
            convs = convs_per_level[min(level, len(convs_per_level) - 1)]
            first = conv_block(previous + skips.get(at, 0), width)
            self.blocks.append(
                nn.Sequential(first, *(conv_block(width, width) for _ in range(convs - 1)))
            )
            count = residual_blocks[level] if level < len(residual_blocks) else 0
            self.residuals.append(nn.Sequential(*(identity_block(width) for _ in range(count))))
            attend = attention and at == 16
            self.attentions.append(SelfAttention(width) if attend else nn.Identity())
            previous = width
        self.dropout = nn.Dropout2d(dropout)
        self.reduction = tuple(reduction)
        self.out_channels = previous

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        skips = dict(zip(self.reduction, features, strict=True))
        height, width = (side * self.strides[0] for side in features[-1].shape[-2:])
        x = self._level(0, features[-1])
        for level, at in enumerate(self.strides[1:], start=1):
            skip = skips.get(at)
            size = (height // at, width // at) if skip is None else skip.shape[-2:]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = self._level(level, x if skip is None else torch.cat((x, skip), dim=1))
        output: Tensor = self.dropout(x)
        return output

    def _level(self, level: int, x: Tensor) -> Tensor:
        """The modules of one level: B,in,h,w -> B,decoder_channels[level],h,w."""
        x = self.residuals[level](self.blocks[level](x))
        return self.attentions[level](x)


def add_identity_blocks(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A generator's weights plus the residual blocks that only `like` has, as the identity.

    The blocks' convolutions are those of `like`, so that a mean of both weights lies between the
    two networks.
    """
    present = {_block_of(key) for key in tensors}
    added = {
        key: torch.zeros_like(value) if key.endswith(_LAST_NORM) else value
        for key, value in like.items()
        if key.startswith(RESIDUAL_PREFIX) and _block_of(key) not in present
    }
    return {**tensors, **added}


def _block_of(key: str) -> str:
    """The residual block that a state-dict key belongs to."""
    return key.rpartition(".body.")[0]


def _strides(reduction: Sequence[int], stride: int) -> tuple[int, ...]:
    """The decoder's reductions, deepest first: the encoder's, then halves down to `stride`."""
    deepest = max(reduction)
    if stride > deepest:
        raise ConfigError(
            f"model.output_stride {stride} is coarser than the encoder's deepest level"
        )
    strides = [r for r in sorted(reduction, reverse=True) if r >= stride]
    while strides[-1] > stride:
        strides.append(strides[-1] // 2)
    return tuple(strides)
