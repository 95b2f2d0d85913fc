"""DDColor (Kang et al., ICCV 2023), with a large or a tiny ConvNeXt as its encoder.

Layers and names: basicsr/archs/ddcolor_arch.py of github.com/piddnad/DDColor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pix2color.checkpoints.foreign.network import ForeignNetwork
from pix2color.models.encoders import IMAGENET_MEAN, IMAGENET_STD

_QUERIES, _LAYERS = 100, 9


def _encoder_names(depths: Sequence[int]) -> dict[str, str]:
    """Our ConvNeXt, torchvision's, and its norms -> theirs."""
    names = {}
    arch = "encoder.arch"
    for level, depth in enumerate(depths):
        ours = f"encoder.levels.{level + 1}"  # the first one is the photo
        for number in (0, 1):
            theirs = f"{arch}.downsample_layers.{level}.{number}"
            names[f"{ours}.{2 * level}.{number}"] = theirs
        for block in range(depth):
            own = f"{ours}.{2 * level + 1}.{block}"
            other = f"{arch}.stages.{level}.{block}"
            names |= {
                f"{own}.block.0": f"{other}.dwconv",
                f"{own}.block.2": f"{other}.norm",
                f"{own}.block.3": f"{other}.pwconv1",
                f"{own}.block.5": f"{other}.pwconv2",
                f"{own}.layer_scale": f"{other}.gamma",
            }
        names[f"decoder.norms.{level}"] = f"{arch}.norm{level}"
    return names


def _pixel_names() -> dict[str, str]:
    """The pixel decoder and the last layer."""
    names = {"decoder.enlarge.conv.0": "decoder.last_shuf.conv.0", "head.project": "refine_net.0.0"}
    for number in range(3):
        ours, theirs = f"decoder.blocks.{number}", f"decoder.layers.{number}"
        names |= {
            f"{ours}.enlarge.conv.0": f"{theirs}.shuf.conv.0",
            f"{ours}.enlarge.conv.1": f"{theirs}.shuf.conv.1",
            f"{ours}.norm": f"{theirs}.bn",
            f"{ours}.conv.0": f"{theirs}.conv.0",
            f"{ours}.conv.2": f"{theirs}.conv.2",
        }
    return names


def _color_names() -> dict[str, str]:
    """The color decoder."""
    ours, theirs = "decoder.colors", "decoder.color_decoder"
    names = {
        f"{ours}.features": f"{theirs}.query_feat",
        f"{ours}.positions": f"{theirs}.query_embed",
        f"{ours}.levels": f"{theirs}.level_embed",
        f"{ours}.norm": f"{theirs}.decoder_norm",
    }
    for number in range(3):
        names[f"{ours}.projections.{number}"] = f"{theirs}.input_proj.{number}"
        names[f"{ours}.embed.{2 * number}"] = f"{theirs}.color_embed.layers.{number}"
    for number in range(_LAYERS):
        own = f"{ours}.layers.{number}"
        cross = f"{theirs}.transformer_cross_attention_layers.{number}"
        among = f"{theirs}.transformer_self_attention_layers.{number}"
        ffn = f"{theirs}.transformer_ffn_layers.{number}"
        names |= {
            f"{own}.cross": f"{cross}.multihead_attn",
            f"{own}.cross.out_proj": f"{cross}.multihead_attn.out_proj",
            f"{own}.cross_norm": f"{cross}.norm",
            f"{own}.self_": f"{among}.self_attn",
            f"{own}.self_.out_proj": f"{among}.self_attn.out_proj",
            f"{own}.self_norm": f"{among}.norm",
            f"{own}.wide": f"{ffn}.linear1",
            f"{own}.narrow": f"{ffn}.linear2",
            f"{own}.norm": f"{ffn}.norm",
        }
    return names


def _ddcolor(encoder: str, depths: Sequence[int], deepest: int, file: str) -> ForeignNetwork:
    pixel = _pixel_names()
    normed = [name for ours, name in pixel.items() if ours.endswith(("conv.0", "head.project"))]
    return ForeignNetwork(
        model={
            "encoder": encoder,
            "pretrained": "none",
            "input_level": True,
            "decoder": "ddcolor",
            "ddcolor": {"width": 512, "queries": _QUERIES, "layers": _LAYERS},
            "output_stride": 1,
            "square_input": True,
            "input_multiple": 32,
            "head": {"type": "regression", "activation": "linear", "ab_scale": 1.0},
        },
        decode={"input_size": 512},
        names=_encoder_names(depths) | pixel | _color_names(),
        origin={
            "authors": "Xiaoyang Kang, Tao Yang, Wenqi Ouyang, Peiran Ren, Lingzhi Li,"
            " Xuansong Xie",
            "license": "Apache-2.0",
            "url": "https://github.com/piddnad/DDColor",
        },
        file=file,
        hub_files=("model.safetensors", "pytorch_model.bin"),
        spectral=frozenset(normed),
        unused={f"encoder.arch.norm.{part}": (deepest,) for part in ("weight", "bias")},
        ignored=("encoder.arch.head_cls.",),
        constants={
            "mean": torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1),
            "std": torch.tensor(IMAGENET_STD).view(1, 3, 1, 1),
        },
    )


_HUB = "pytorch_model.bin of huggingface.co/piddnad/"
DDCOLOR = _ddcolor("convnext_large", (3, 3, 27, 3), 1536, f"{_HUB}ddcolor_modelscope")
DDCOLOR_TINY = _ddcolor("convnext_tiny", (3, 3, 9, 3), 768, f"{_HUB}ddcolor_paper_tiny")
