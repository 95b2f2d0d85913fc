"""DDColor, written plainly after its published layers.

Nothing here is shared with pix2color: `shapes` names every tensor of a published file, and
`ddcolor_ab` computes its colors from such a file's tensors, in double precision.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

DEPTHS = {"ddcolor": (3, 3, 27, 3), "ddcolor-tiny": (3, 3, 9, 3)}
DIMS = {"ddcolor": (192, 384, 768, 1536), "ddcolor-tiny": (96, 192, 384, 768)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Shapes = dict[str, tuple[int, ...]]


def affine(name: str, *shape: int) -> Shapes:
    """A weight and a bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def batch_norm(name: str, channels: int) -> Shapes:
    return affine(name, channels) | {
        f"{name}.running_mean": (channels,),
        f"{name}.running_var": (channels,),
        f"{name}.num_batches_tracked": (),
    }


def spectral(name: str, out: int, inside: int, kernel: int, *, bias: bool = False) -> Shapes:
    """A convolution with a spectral norm."""
    made: Shapes = {f"{name}.bias": (out,)} if bias else {}
    return made | {
        f"{name}.weight_orig": (out, inside, kernel, kernel),
        f"{name}.weight_u": (out,),
        f"{name}.weight_v": (inside * kernel * kernel,),
    }


def shapes(kind: str) -> Shapes:
    """Every tensor of a file and its shape."""
    dims = DIMS[kind]
    made: Shapes = {"mean": (1, 3, 1, 1), "std": (1, 3, 1, 1)}
    arch = "encoder.arch"
    made |= affine(f"{arch}.downsample_layers.0.0", dims[0], 3, 4, 4)
    made |= affine(f"{arch}.downsample_layers.0.1", dims[0])
    for i in (1, 2, 3):
        made |= affine(f"{arch}.downsample_layers.{i}.0", dims[i - 1])
        made |= affine(f"{arch}.downsample_layers.{i}.1", dims[i], dims[i - 1], 2, 2)
    for i, (dim, depth) in enumerate(zip(dims, DEPTHS[kind], strict=True)):
        for j in range(depth):
            block = f"{arch}.stages.{i}.{j}"
            made |= {f"{block}.gamma": (dim,)}
            made |= affine(f"{block}.dwconv", dim, 1, 7, 7) | affine(f"{block}.norm", dim)
            made |= affine(f"{block}.pwconv1", 4 * dim, dim)
            made |= affine(f"{block}.pwconv2", dim, 4 * dim)
        made |= affine(f"{arch}.norm{i}", dim)
    made |= affine(f"{arch}.norm", dims[3])
    steps = ((dims[3], dims[2], 512), (512, dims[1], 512), (512, dims[0], 256))
    for i, (up, skip, out) in enumerate(steps):
        layer = f"decoder.layers.{i}"
        made |= spectral(f"{layer}.shuf.conv.0", 4 * out, up, 1)
        made |= batch_norm(f"{layer}.shuf.conv.1", 4 * out) | batch_norm(f"{layer}.bn", skip)
        made |= spectral(f"{layer}.conv.0", out, out + skip, 3)
        made |= batch_norm(f"{layer}.conv.2", out)
    made |= spectral("decoder.last_shuf.conv.0", 16 * 256, 256, 1, bias=True)
    return made | color_shapes() | spectral("refine_net.0.0", 2, 103, 1, bias=True)


def color_shapes() -> Shapes:
    colors = "decoder.color_decoder"
    made: Shapes = {
        f"{colors}.query_feat.weight": (100, 256),
        f"{colors}.query_embed.weight": (100, 256),
        f"{colors}.level_embed.weight": (3, 256),
    }
    for i, channels in enumerate((512, 512, 256)):
        made |= affine(f"{colors}.input_proj.{i}", 256, channels, 1, 1)
    for i in range(9):
        for attention in ("cross_attention_layers.{}.multihead", "self_attention_layers.{}.self"):
            name = f"{colors}.transformer_{attention.format(i)}_attn"
            made |= {f"{name}.in_proj_weight": (768, 256), f"{name}.in_proj_bias": (768,)}
            made |= affine(f"{name}.out_proj", 256, 256)
            made |= affine(f"{name.rpartition('.')[0]}.norm", 256)
        ffn = f"{colors}.transformer_ffn_layers.{i}"
        made |= affine(f"{ffn}.linear1", 2048, 256) | affine(f"{ffn}.linear2", 256, 2048)
        made |= affine(f"{ffn}.norm", 256)
        if i < 3:
            made |= affine(f"{colors}.color_embed.layers.{i}", 256, 256)
    return made | affine(f"{colors}.decoder_norm", 256)


@functools.cache
def ddcolor_tensors(kind: str) -> dict[str, Tensor]:
    """A random file. Shared: do not change it."""
    random = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes(kind).items():
        leaf = name.rpartition(".")[2]
        if not shape:
            tensors[name] = torch.tensor(7)
            continue
        noise = torch.randn(shape, generator=random)
        if leaf == "running_var":
            tensors[name] = 0.5 + noise.abs()
        elif "query" in name or "level_embed" in name or leaf.endswith(("_u", "_v")):
            tensors[name] = noise
        elif len(shape) == 1:
            tensors[name] = float(leaf in ("weight", "gamma")) + 0.1 * noise
        else:
            tensors[name] = noise * math.prod(shape[1:]) ** -0.5
    for name in [name for name in tensors if name.endswith("weight_orig")]:
        base, matrix = name.removesuffix("_orig"), tensors[name].flatten(1)
        u = tensors[f"{base}_u"]
        for _ in range(3):  # power iterations, as in training
            v = F.normalize(u @ matrix, dim=0)
            u = F.normalize(matrix @ v, dim=0)
        tensors[f"{base}_u"], tensors[f"{base}_v"] = u, v
    tensors["decoder.color_decoder.color_embed.layers.2.weight"] *= 20  # some 20 ab, not 1
    tensors["mean"] = torch.tensor(MEAN).view(1, 3, 1, 1)
    tensors["std"] = torch.tensor(STD).view(1, 3, 1, 1)
    return tensors


class Plain:
    """The network of a file's tensors."""

    def __init__(self, tensors: dict[str, Tensor], kind: str) -> None:
        self.tensors, self.kind = tensors, kind

    def get(self, name: str) -> Tensor:
        return self.tensors[name].double()

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get(f"{name}.weight"), self.get(f"{name}.bias")

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, *self.pair(name))

    def norm(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        """Layer norm over the last axis."""
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        weight, bias = self.pair(name)
        return (x - mean) / (variance + eps).sqrt() * weight + bias

    def channel_norm(self, name: str, x: Tensor) -> Tensor:
        return self.norm(name, x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance = self.get(f"{name}.running_mean"), self.get(f"{name}.running_var")
        return F.batch_norm(x, mean, variance, *self.pair(name))

    def spectral_conv(self, name: str, x: Tensor, *, bias: bool = False) -> Tensor:
        original = self.get(f"{name}.weight_orig")
        u, v = self.get(f"{name}.weight_u"), self.get(f"{name}.weight_v")
        weight = original / torch.dot(u, torch.mv(original.reshape(len(original), -1), v))
        padding = original.shape[-1] // 2
        return F.conv2d(x, weight, self.get(f"{name}.bias") if bias else None, padding=padding)

    def encoder(self, x: Tensor) -> Iterator[Tensor]:
        """ConvNeXt's four stages, each through a norm of its own."""
        arch = "encoder.arch"
        for i, depth in enumerate(DEPTHS[self.kind]):
            down = f"{arch}.downsample_layers.{i}"
            if i == 0:
                x = F.conv2d(x, *self.pair(f"{down}.0"), stride=4)
                x = self.channel_norm(f"{down}.1", x)
            else:
                x = F.conv2d(self.channel_norm(f"{down}.0", x), *self.pair(f"{down}.1"), stride=2)
            for j in range(depth):
                block = f"{arch}.stages.{i}.{j}"
                y = F.conv2d(x, *self.pair(f"{block}.dwconv"), padding=3, groups=x.shape[1])
                y = self.norm(f"{block}.norm", y.permute(0, 2, 3, 1), 1e-6)
                y = self.linear(f"{block}.pwconv2", F.gelu(self.linear(f"{block}.pwconv1", y)))
                x = x + (self.get(f"{block}.gamma") * y).permute(0, 3, 1, 2)
            yield self.channel_norm(f"{arch}.norm{i}", x)

    def enlarge(self, x: Tensor, scale: int) -> Tensor:
        """ReLU, pixel shuffle, and the mean of each pixel, its left, upper and diagonal one."""
        x = F.pixel_shuffle(F.relu(x), scale)
        x = torch.cat((x[:, :, :1], x), 2)
        x = torch.cat((x[:, :, :, :1], x), 3)
        return (x[:, :, 1:, 1:] + x[:, :, :-1, 1:] + x[:, :, 1:, :-1] + x[:, :, :-1, :-1]) / 4

    def pixel_decoder(self, features: list[Tensor]) -> list[Tensor]:
        """Maps at strides 16, 8, 4 and 1."""
        maps = []
        x = features[3]
        for i, skip in enumerate((features[2], features[1], features[0])):
            layer = f"decoder.layers.{i}"
            up = self.spectral_conv(f"{layer}.shuf.conv.0", x)
            up = self.enlarge(self.batch_norm(f"{layer}.shuf.conv.1", up), 2)
            joined = F.relu(torch.cat((up, self.batch_norm(f"{layer}.bn", skip)), 1))
            x = F.relu(self.spectral_conv(f"{layer}.conv.0", joined))
            x = self.batch_norm(f"{layer}.conv.2", x)
            maps.append(x)
        last = self.spectral_conv("decoder.last_shuf.conv.0", x, bias=True)
        return [*maps, self.enlarge(last, 4)]

    def attention(self, name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Eight heads, each of 32 channels."""
        weight, bias = self.get(f"{name}.in_proj_weight"), self.get(f"{name}.in_proj_bias")
        q, k, v = (
            F.linear(x, w, b)
            for x, w, b in zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)
        )
        heads = []
        for at in range(0, 256, 32):
            part = slice(at, at + 32)
            score = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(32)
            heads.append(score.softmax(-1) @ v[..., part])
        return self.linear(f"{name}.out_proj", torch.cat(heads, -1))

    def color_decoder(self, maps: list[Tensor]) -> Tensor:
        """B,100,256."""
        name = "decoder.color_decoder"
        values, places = [], []
        for i, x in enumerate(maps):
            projected = F.conv2d(x, *self.pair(f"{name}.input_proj.{i}")).flatten(2).mT
            values.append(projected + self.get(f"{name}.level_embed.weight")[i])
            places.append(positions(*x.shape[-2:]))
        own = self.get(f"{name}.query_embed.weight")[None]
        x = self.get(f"{name}.query_feat.weight")[None].expand(len(maps[0]), -1, -1)
        for i in range(9):
            cross = f"{name}.transformer_cross_attention_layers.{i}"
            seen = values[i % 3]
            given = self.attention(f"{cross}.multihead_attn", x + own, seen + places[i % 3], seen)
            x = self.norm(f"{cross}.norm", x + given)
            among = f"{name}.transformer_self_attention_layers.{i}"
            x = self.norm(
                f"{among}.norm", x + self.attention(f"{among}.self_attn", x + own, x + own, x)
            )
            ffn = f"{name}.transformer_ffn_layers.{i}"
            wide = F.relu(self.linear(f"{ffn}.linear1", x))
            x = self.norm(f"{ffn}.norm", x + self.linear(f"{ffn}.linear2", wide))
        x = self.norm(f"{name}.decoder_norm", x)
        x = F.relu(self.linear(f"{name}.color_embed.layers.0", x))
        x = F.relu(self.linear(f"{name}.color_embed.layers.1", x))
        return self.linear(f"{name}.color_embed.layers.2", x)


def positions(height: int, width: int) -> Tensor:
    """height*width,256: 128 waves of y, then 128 of x, sines and cosines in turn."""
    waves = torch.zeros(height, width, 256, dtype=torch.float64)
    for channel in range(128):
        period = 10_000 ** (2 * (channel // 2) / 128)
        wave = torch.cos if channel % 2 else torch.sin
        down = torch.arange(1, height + 1) / (height + 1e-6) * 2 * math.pi
        across = torch.arange(1, width + 1) / (width + 1e-6) * 2 * math.pi
        waves[:, :, channel] = wave(down.double() / period)[:, None]
        waves[:, :, 128 + channel] = wave(across.double() / period)[None]
    return waves.reshape(height * width, 256)


def gray_of(lightness: Tensor) -> Tensor:
    """L -> the sRGB gray of Lab (L, 0, 0)."""
    f = (lightness + 16) / 116
    linear = torch.where(lightness > 8, f**3, lightness / 903.2963)
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear
    )


def ddcolor_ab(kind: str, lightness: Tensor) -> Tensor:
    """L, B,1,H,W in 0..100, H and W multiples of 32 -> ab, B,2,H,W."""
    net = Plain(ddcolor_tensors(kind), kind)
    rgb = gray_of(lightness.double()).expand(-1, 3, -1, -1)
    x = (rgb - net.get("mean")) / net.get("std")
    *maps, pixels = net.pixel_decoder(list(net.encoder(x)))
    colors = torch.einsum("bqc,bchw->bqhw", net.color_decoder(maps), pixels)
    return net.spectral_conv("refine_net.0.0", torch.cat((colors, x), 1), bias=True)
