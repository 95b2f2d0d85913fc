"""The networks of Zhang et al.: eccv16 (2016, classes) and siggraph17 (2017, hints).

Layers and names: colorizers/eccv16.py and siggraph17.py of github.com/richzhang/colorization.
"""

from __future__ import annotations

from typing import Any

import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.build import build_generator
from pix2color.checkpoints import release_file
from pix2color.checkpoints.foreign.network import ForeignNetwork, Tensors
from pix2color.color.ab_bins import bin_centers
from pix2color.color.constants import AB_RANGE
from pix2color.color.lab import rgb_to_lightness
from pix2color.config import ModelConfig
from pix2color.errors import WeightsError
from pix2color.models.generator import Generator
from pix2color.models.init import skip_weight_init

SHARPENING = 2.606
"""1 / 0.38: what the original network's deployment multiplies its logits by, for the annealed mean
(models/colorization_deploy_v2.prototxt of the same repository)."""
SHARPEST = 0.8
"""Above it are the highest probabilities of a network whose logits are multiplied.

The network is trained towards the soft encoding of colors, in which no bin has more than 0.62 (0.78
at the rim of the bins). Multiplied logits turn 0.62 into 0.98.
"""
_PROBE_SIDE = 128  # pixels
_ORIGIN = {
    "authors": "Richard Zhang, Phillip Isola, Alexei A. Efros",
    "license": "BSD-2-Clause",
    "url": "https://github.com/richzhang/colorization",
}


def _group_names(ours: str, start: int, theirs: str, convs: int) -> dict[str, str]:
    """Convolutions, each with a ReLU behind it, and a batch norm: our modules -> theirs."""
    return {f"{ours}.{start + 2 * number}": f"{theirs}.{2 * number}" for number in range(convs + 1)}


_ECCV16_NAMES = {
    **_group_names("encoder.levels.0", 0, "model1", 2),
    **_group_names("encoder.levels.1", 0, "model2", 2),
    **_group_names("encoder.levels.2", 0, "model3", 3),
    **_group_names("encoder.levels.2", 7, "model4", 3),
    **_group_names("encoder.levels.2", 14, "model5", 3),
    **_group_names("encoder.levels.2", 21, "model6", 3),
    **_group_names("encoder.levels.2", 28, "model7", 3),
    **{f"decoder.stages.1.{number}": f"model8.{number}" for number in (0, 2, 4)},
    "head.project": "model8.6",
}
_SIGGRAPH17_NAMES = {
    **_group_names("encoder.levels.0", 0, "model1", 2),
    **_group_names("encoder.levels.1", 1, "model2", 2),
    **_group_names("encoder.levels.2", 1, "model3", 3),
    **_group_names("encoder.levels.3", 1, "model4", 3),
    **_group_names("encoder.levels.3", 8, "model5", 3),
    **_group_names("encoder.levels.3", 15, "model6", 3),
    **_group_names("encoder.levels.3", 22, "model7", 3),
    "decoder.ups.0": "model8up.0",
    "decoder.ups.1": "model9up.0",
    "decoder.ups.2": "model10up.0",
    "decoder.shortcuts.0": "model3short8.0",
    "decoder.shortcuts.1": "model2short9.0",
    "decoder.shortcuts.2": "model1short10.0",
    **{f"decoder.stages.0.{number}": f"model8.{number}" for number in (1, 3, 5)},
    **{f"decoder.stages.1.{number}": f"model9.{number}" for number in (1, 3)},
    "decoder.stages.2.1": "model10.1",
    "head.project": "model_out.0",
}


def _eccv16_adjust(state: Tensors, theirs: Tensors, decode: dict[str, Any]) -> tuple[Tensors, str]:
    """Logits without the factor of the annealed mean, and the temperature that restores it."""
    centers = theirs["model_out.weight"].float().flatten(1).T * AB_RANGE  # 313,2
    off = float((centers - bin_centers()).abs().max())
    if off > 0.5:
        raise WeightsError(f"model_out.weight is not the 313 bins: it is up to {off:.3g} ab off")
    sharpest = _sharpest(state)
    if sharpest <= SHARPEST:
        return state, (
            f"the logits do not hold the factor {SHARPENING} (the sharpest probabilities are"
            f" {sharpest:.2f}): temperature 1 gives the file's own colors, 0.38 those of the paper"
        )
    decode["temperature"] = 1 / SHARPENING
    head = {key: state[key] / SHARPENING for key in ("head.project.weight", "head.project.bias")}
    return state | head, (
        f"the logits hold the factor {SHARPENING} (the sharpest probabilities are {sharpest:.2f}):"
        " it was taken out and is the temperature 0.38"
    )


@torch.inference_mode()
def _sharpest(state: Tensors) -> float:
    """The 99th percentile of the highest probability of each place, over two photos."""
    generator = _generator(state)
    highest = [generator(lightness).softmax(1).amax(1).flatten() for lightness in _probes()]
    return float(torch.cat(highest).quantile(0.99))


def _generator(state: Tensors) -> Generator:
    with skip_weight_init():
        generator = build_generator(ModelConfig.model_validate(ECCV16.model), pretrained=False)
    prior = {key: value for key, value in generator.state_dict().items() if key not in state}
    release_file.load_state_strict(generator, state | prior, source="the file")
    return generator.eval()


def _probes() -> list[Tensor]:
    """L of two photos, 1,1,128,128 each."""
    photos = (skimage.data.astronaut(), skimage.data.coffee())
    probes = []
    for photo in photos:
        rgb = torch.tensor(photo).movedim(-1, 0)[None].float() / 255
        small = F.interpolate(rgb, (_PROBE_SIDE, _PROBE_SIDE), mode="bilinear", antialias=True)
        probes.append(rgb_to_lightness(small))
    return probes


ECCV16 = ForeignNetwork(
    model={
        "encoder": "zhang_cnn",
        "pretrained": "none",
        "conv_encoder": {"width": 64, "seventh_group": 8, "center_lightness": True},
        "decoder": "upsample",
        "upsample": {"stages": [[], [256, 256, 256]], "mode": "transposed"},
        "square_input": True,
        "input_multiple": 8,
        "head": {"type": "classes", "rebalance_lambda": 0.5},
    },
    decode={"input_size": 256},
    names=_ECCV16_NAMES,
    origin=_ORIGIN,
    file="colorization_release_v2-9b330a0b.pth",
    sha256="9b330a0b",
    unused={"model_out.weight": (2, 313, 1, 1)},
    adjust=_eccv16_adjust,
)

SIGGRAPH17 = ForeignNetwork(
    model={
        "encoder": "siggraph_cnn",
        "pretrained": "none",
        "conv_encoder": {"width": 64, "center_lightness": True},
        "decoder": "shortcut",
        "shortcut": {"stages": [[256, 256], [128], [128]]},
        "output_stride": 1,
        "square_input": True,
        "input_multiple": 8,
        "hints": True,
        "head": {"type": "regression", "activation": "tanh", "ab_scale": AB_RANGE},
    },
    decode={"input_size": 256},
    names=_SIGGRAPH17_NAMES,
    origin=_ORIGIN
    | {
        "authors": "Richard Zhang, Jun-Yan Zhu, Phillip Isola, Xinyang Geng, Angela S. Lin,"
        " Tianhe Yu, Alexei A. Efros"
    },
    file="siggraph17-df00044c.pth",
    sha256="df00044c",
    unused={"model_class.0.weight": (529, 256, 1, 1), "model_class.0.bias": (529,)},
)
