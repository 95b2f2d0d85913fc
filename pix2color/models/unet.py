"""The U-Net decoder: from an encoder's features to one map at the output stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU: B,in,H,W -> B,out,H,W."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


RESIDUALS = "decoder.residuals"
"""Where a generator has its residual blocks."""
_GAIN = (".body.2.weight", ".body.2.bias")


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input; the identity until it is trained.

    He et al. 2016, the last batch norm beginning at 0 (Goyal et al. 2017), so that a trained
    network can be given more of them without losing what it knows. B,C,H,W -> the same shape.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.body = nn.Sequential(
            ConvBlock(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm,
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions, added with a gain that starts at 0.

    Lets one end of a photo know what the other shows (SAGAN, Zhang et al. 2019); used where the map
    is small. B,C,H,W -> the same shape.
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
    """Upsample, join the skip, convolve: level by level up to `stride`.

    Args:
        channels, reduction: the encoder's.
        widths: channels at the deepest level, the next one, ...; the last repeats.
        depth: 3x3 convolutions a level; the last repeats.
        residual: residual blocks after them, a level; levels beyond the last have none.
        stride: reduction of the output; an encoder without a level there is upsampled beyond its
            finest one.
        attention: self-attention at reduction 16.
        dropout: share of the output's channels dropped while training.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        widths: Sequence[int],
        depth: Sequence[int] = (1,),
        residual: Sequence[int] = (),
        stride: int = 4,
        attention: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        strides = _strides(reduction, stride)
        skips = dict(zip(reduction, channels, strict=True))
        blocks, residuals, attentions = [], [], []
        previous = 0
        for level, at in enumerate(strides):
            width = widths[min(level, len(widths) - 1)]
            count = depth[min(level, len(depth) - 1)]
            first = ConvBlock(previous + skips.get(at, 0), width)
            blocks.append(
                nn.Sequential(first, *(ConvBlock(width, width) for _ in range(count - 1)))
            )
            more = residual[level] if level < len(residual) else 0
            residuals.append(nn.Sequential(*(ResidualBlock(width) for _ in range(more))))
            use = attention and at == 16
            attentions.append(SelfAttention(width) if use else nn.Identity())
            previous = width
        self.blocks = nn.ModuleList(blocks)
        self.residuals = nn.ModuleList(residuals)
        self.attentions = nn.ModuleList(attentions)
        self.dropout = nn.Dropout2d(dropout)
        self.strides = strides
        self.reduction = tuple(reduction)
        self.out_channels = previous

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        skips = dict(zip(self.reduction, features, strict=True))
        deepest = features[-1]
        height = deepest.shape[-2] * self.strides[0]
        width = deepest.shape[-1] * self.strides[0]
        x: Tensor | None = None
        levels = zip(self.strides, self.blocks, self.residuals, self.attentions, strict=True)
        for at, block, residual, attend in levels:
            skip = skips.get(at)
            if x is None:
                x = deepest
            else:
                size = skip.shape[-2:] if skip is not None else (height // at, width // at)
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
                if skip is not None:
                    x = torch.cat((x, skip), dim=1)
            x = attend(residual(block(x)))
        assert x is not None
        return self.dropout(x)


def add_identity_blocks(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A generator's weights with the residual blocks of another's that it has not, switched off.

    The blocks' convolutions are the other's, so that a mean of both is between the two networks.
    """
    own = {key.rpartition(".body.")[0] for key in tensors}
    added = {
        key: torch.zeros_like(value) if key.endswith(_GAIN) else value
        for key, value in like.items()
        if key.startswith(f"{RESIDUALS}.") and key.rpartition(".body.")[0] not in own
    }
    return {**tensors, **added}


def _strides(reduction: Sequence[int], stride: int) -> tuple[int, ...]:
    """The reductions a decoder passes, deepest first: the encoder's, then halves down to stride."""
    deepest = max(reduction)
    if stride > deepest:
        raise ConfigError(
            f"model.output_stride {stride} is coarser than the encoder's deepest level"
        )
    passed = [r for r in sorted(reduction, reverse=True) if r >= stride]
    while passed[-1] > stride:
        passed.append(passed[-1] // 2)
    return tuple(passed)
