"""The two decoders of DDColor (Kang et al. 2023): one of pixels, one of colors.

The pixel decoder doubles the encoder's deepest level up to the photo's own size. The color decoder
lets learned queries look at its levels; each query becomes a vector, whose products with the
pixels' features are the maps that the head mixes, beside the photo itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError

_HEADS = 8  # of each attention
_PERIOD = 10_000.0  # of the slowest wave of the positions


class DDColorDecoder(nn.Module):
    """The encoder's features, the photo among them -> the queries' maps and the photo.

    Args:
        channels, reduction: the encoder's; the first level is the photo (`model.input_level`), and
            each further one has half the size of the one before.
        stride: reduction of the output: 1.
        width: channels of the pixel decoder's levels; the finest has half as many.
        queries: of the color decoder.
        layers: of the color decoder, which look at the levels in turn.

    Raises:
        ConfigError: levels that are missing, or another stride.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        stride: int,
        width: int,
        queries: int,
        layers: int,
    ) -> None:
        super().__init__()
        image, *levels = reduction
        halved = all(2 * fine == coarse for fine, coarse in itertools.pairwise(levels))
        if image != 1 or len(levels) < 2 or not halved or stride != 1:
            raise ConfigError(
                "the decoder ddcolor needs model.input_level: true, model.output_stride: 1 and an"
                f" encoder with halved levels, not {tuple(reduction)}"
            )
        self.norms = nn.ModuleList(ChannelNorm(count) for count in channels[1:])
        widths = [width] * (len(levels) - 2) + [width // 2]
        self.blocks = nn.ModuleList()
        current = channels[-1]
        for skip, out in zip(reversed(channels[1:-1]), widths, strict=True):
            self.blocks.append(_PixelBlock(current, skip, out))
            current = out
        last = nn.Conv2d(current, current * levels[0] ** 2, 1)
        self.enlarge = _Enlarge(nn.Sequential(last), levels[0])
        self.colors = ColorDecoder(widths, width=width // 2, queries=queries, layers=layers)
        self.out_channels = queries + channels[0]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H,W."""
        image, *levels = features
        levels = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        x = levels[-1]
        maps = []
        for block, skip in zip(self.blocks, reversed(levels[:-1]), strict=True):
            x = block(x, skip)
            maps.append(x)
        pixels = self.enlarge(x)  # B,width/2,H,W
        queries = self.colors(maps)  # B,queries,width/2
        out = (queries @ pixels.flatten(2)).unflatten(2, pixels.shape[-2:])
        return torch.cat((out, image), dim=1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel: B,C,H,W -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Enlarge(nn.Module):
    """Convolution, ReLU and pixel shuffle, then each pixel's mean with its upper left neighbors."""

    def __init__(self, conv: nn.Module, scale: int) -> None:
        super().__init__()
        self.conv = conv
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shuffle(F.relu(self.conv(x)))
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class _PixelBlock(nn.Module):
    """Double the size, concatenate the encoder's level, convolve."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        shuffled = nn.Conv2d(in_channels, 4 * out_channels, 1, bias=False)
        self.enlarge = _Enlarge(nn.Sequential(shuffled, nn.BatchNorm2d(4 * out_channels)), 2)
        self.norm = nn.BatchNorm2d(skip_channels)
        joined = out_channels + skip_channels
        self.conv = nn.Sequential(
            nn.Conv2d(joined, out_channels, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        joined = torch.cat((self.enlarge(x), self.norm(skip)), dim=1)
        out: Tensor = self.conv(F.relu(joined))
        return out


class ColorDecoder(nn.Module):
    """Queries that look at maps of several sizes in turn, and at each other.

    Args:
        channels: of each map.
        width: of the queries.
        queries: their number.
        layers: layer i looks at map i modulo the number of maps.
    """

    def __init__(self, channels: Sequence[int], *, width: int, queries: int, layers: int) -> None:
        super().__init__()
        self.features = nn.Embedding(queries, width)
        self.positions = nn.Embedding(queries, width)
        self.levels = nn.Embedding(len(channels), width)
        self.projections = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.layers = nn.ModuleList(_QueryLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, width),
        )  # fmt: skip

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """B,channels[i],h,w each -> B,queries,width."""
        seen = []
        for number, (project, x) in enumerate(zip(self.projections, maps, strict=True)):
            values = project(x).flatten(2).transpose(1, 2) + self.levels.weight[number]
            waves = sine_positions(x[:1, :1], values.shape[-1]).to(values.dtype)
            seen.append((values, values + waves))
        own = self.positions.weight[None]
        queries = self.features.weight.expand(len(maps[0]), -1, -1)
        for number, layer in enumerate(self.layers):
            queries = layer(queries, own, *seen[number % len(seen)])
        out: Tensor = self.embed(self.norm(queries))
        return out


class _QueryLayer(nn.Module):
    """The queries look at a map, then at each other; a layer norm follows each sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.cross_norm = nn.LayerNorm(width)
        self.self_ = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.self_norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 8 * width)
        self.narrow = nn.Linear(8 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, own: Tensor, values: Tensor, keys: Tensor) -> Tensor:
        x = self.cross_norm(x + self.cross(x + own, keys, values, need_weights=False)[0])
        placed = x + own
        x = self.self_norm(x + self.self_(placed, placed, x, need_weights=False)[0])
        out: Tensor = self.norm(x + self.narrow(F.relu(self.wide(x))))
        return out


def sine_positions(like: Tensor, width: int) -> Tensor:
    """Sines and cosines of each pixel's place (Carion et al. 2020): 1,1,h,w -> 1,h*w,width.

    Places are 1..h and 1..w, scaled to 2 pi at the end; half of the channels stand for y.
    """
    ones = torch.ones_like(like[0, 0], dtype=torch.float32)
    number = torch.arange(width // 2, device=like.device)
    period = _PERIOD ** (2 * (number // 2) / (width // 2))
    parts = []
    for axis in (0, 1):
        place = ones.cumsum(axis)
        place = place / (place.amax() + 1e-6) * (2 * math.pi)
        angle = place[..., None] / period  # h,w,width/2
        parts.append(torch.where(number % 2 == 0, angle.sin(), angle.cos()))
    return torch.cat(parts, dim=-1).flatten(0, 1)[None]
