"""The networks of Zhang et al., written plainly after their published layer lists.

Nothing here is shared with pix2color: the lists name every tensor of a published file and its
shape, and the functions compute its colors from such a file's tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Layer = tuple[str, str, int, int, int, int]
"""Name, kind, channels in and out, stride, dilation."""


def group(name: str, *convs: tuple[int, int, int, int]) -> list[Layer]:
    """Convolutions (in, out, stride, dilation) with a ReLU behind each, then a batch norm."""
    layers: list[Layer] = []
    for i, (inside, outside, stride, dilation) in enumerate(convs):
        layers.append((f"{name}.{2 * i}", "conv", inside, outside, stride, dilation))
        layers.append((f"{name}.{2 * i + 1}", "relu", 0, 0, 0, 0))
    return [*layers, (f"{name}.{2 * len(convs)}", "norm", convs[-1][1], 0, 0, 0)]


ECCV16: list[Layer] = [
    *group("model1", (1, 64, 1, 1), (64, 64, 2, 1)),
    *group("model2", (64, 128, 1, 1), (128, 128, 2, 1)),
    *group("model3", (128, 256, 1, 1), (256, 256, 1, 1), (256, 256, 2, 1)),
    *group("model4", (256, 512, 1, 1), (512, 512, 1, 1), (512, 512, 1, 1)),
    *group("model5", (512, 512, 1, 2), (512, 512, 1, 2), (512, 512, 1, 2)),
    *group("model6", (512, 512, 1, 2), (512, 512, 1, 2), (512, 512, 1, 2)),
    *group("model7", (512, 512, 1, 1), (512, 512, 1, 1), (512, 512, 1, 1)),
    ("model8.0", "up", 512, 256, 2, 1),
    ("model8.1", "relu", 0, 0, 0, 0),
    ("model8.2", "conv", 256, 256, 1, 1),
    ("model8.3", "relu", 0, 0, 0, 0),
    ("model8.4", "conv", 256, 256, 1, 1),
    ("model8.5", "relu", 0, 0, 0, 0),
    ("model8.6", "1x1", 256, 313, 1, 1),
]
SIGGRAPH17: dict[str, list[Layer]] = {
    name: group(name, *convs)
    for name, convs in {
        "model1": [(4, 64, 1, 1), (64, 64, 1, 1)],
        "model2": [(64, 128, 1, 1), (128, 128, 1, 1)],
        "model3": [(128, 256, 1, 1), (256, 256, 1, 1), (256, 256, 1, 1)],
        "model4": [(256, 512, 1, 1), (512, 512, 1, 1), (512, 512, 1, 1)],
        "model5": [(512, 512, 1, 2), (512, 512, 1, 2), (512, 512, 1, 2)],
        "model6": [(512, 512, 1, 2), (512, 512, 1, 2), (512, 512, 1, 2)],
        "model7": [(512, 512, 1, 1), (512, 512, 1, 1), (512, 512, 1, 1)],
    }.items()
} | {
    "model8up": [("model8up.0", "up", 512, 256, 2, 1)],
    "model3short8": [("model3short8.0", "conv", 256, 256, 1, 1)],
    "model8": [
        ("model8.0", "relu", 0, 0, 0, 0),
        ("model8.1", "conv", 256, 256, 1, 1),
        ("model8.2", "relu", 0, 0, 0, 0),
        ("model8.3", "conv", 256, 256, 1, 1),
        ("model8.4", "relu", 0, 0, 0, 0),
        ("model8.5", "norm", 256, 0, 0, 0),
    ],
    "model9up": [("model9up.0", "up", 256, 128, 2, 1)],
    "model2short9": [("model2short9.0", "conv", 128, 128, 1, 1)],
    "model9": [
        ("model9.0", "relu", 0, 0, 0, 0),
        ("model9.1", "conv", 128, 128, 1, 1),
        ("model9.2", "relu", 0, 0, 0, 0),
        ("model9.3", "norm", 128, 0, 0, 0),
    ],
    "model10up": [("model10up.0", "up", 128, 128, 2, 1)],
    "model1short10": [("model1short10.0", "conv", 64, 128, 1, 1)],
    "model10": [("model10.0", "relu", 0, 0, 0, 0), ("model10.1", "conv", 128, 128, 1, 1)],
    "model_class": [("model_class.0", "1x1", 256, 529, 1, 1)],
    "model_out": [("model_out.0", "1x1", 128, 2, 1, 1)],
}
"""Its parts; how they are joined is in `siggraph17_ab`."""
BINS = [
    (a, b)
    for a, first, last in (
        (-90, 50, 90), (-80, 20, 90), (-70, 0, 90), (-60, -20, 90), (-50, -30, 100),
        (-40, -40, 100), (-30, -50, 100), (-20, -50, 100), (-10, -60, 100), (0, -70, 100),
        (10, -80, 90), (20, -80, 90), (30, -90, 90), (40, -100, 90), (50, -100, 80),
        (60, -110, 80), (70, -110, 80), (80, -110, 70), (90, -110, 70), (100, -90, 0),
    )
    for b in range(first, last + 1, 10)
]  # fmt: skip
"""The published pts_in_hull.npy: the ab of each of the 313 classes."""
KERNELS = {"conv": 3, "up": 4, "1x1": 1}


def random_tensors(layers: list[Layer]) -> dict[str, Tensor]:
    """Random weights under the published names, of a size that keeps signals alive."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int, std: float) -> Tensor:
        return torch.randn(*shape, generator=random) * std

    tensors = {}
    for name, kind, inside, outside, _, _ in layers:
        if kind in KERNELS:
            k = KERNELS[kind]
            shape = (inside, outside, k, k) if kind == "up" else (outside, inside, k, k)
            # A transposed convolution of stride 2 adds a quarter of its products at each place.
            fan_in = inside * k * k / (4 if kind == "up" else 1)
            tensors[f"{name}.weight"] = normal(*shape, std=(2 / fan_in) ** 0.5)
            tensors[f"{name}.bias"] = normal(outside, std=0.1)
        elif kind == "norm":
            tensors[f"{name}.weight"] = 1 + normal(inside, std=0.1)
            tensors[f"{name}.bias"] = normal(inside, std=0.1)
            tensors[f"{name}.running_mean"] = 0.5 + normal(inside, std=0.1)
            tensors[f"{name}.running_var"] = torch.rand(inside, generator=random) + 0.5
            tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)
    return tensors


def run(tensors: Mapping[str, Tensor], layers: list[Layer], x: Tensor) -> Tensor:
    """One layer after the other, in double precision."""
    for name, kind, _, _, stride, dilation in layers:
        if kind == "relu":
            x = F.relu(x)
            continue
        weight, bias = (tensors[f"{name}.{part}"].double() for part in ("weight", "bias"))
        if kind == "norm":
            mean, var = (tensors[f"{name}.running_{part}"].double() for part in ("mean", "var"))
            x = F.batch_norm(x, mean, var, weight, bias)
        elif kind == "up":
            x = F.conv_transpose2d(x, weight, bias, stride=stride, padding=1)
        else:
            padding = dilation if kind == "conv" else 0
            x = F.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    return x


@functools.cache
def eccv16_tensors() -> dict[str, Tensor]:
    """A random file of the kind eccv16. Shared: do not change it."""
    centers = torch.tensor(BINS, dtype=torch.float32).T.reshape(2, 313, 1, 1)
    return random_tensors(ECCV16) | {"model_out.weight": centers / 110}


def eccv16_logits(tensors: Mapping[str, Tensor], lightness: Tensor) -> Tensor:
    """L, B,1,H,W in 0..100 -> B,313,H/4,W/4."""
    return run(tensors, ECCV16, (lightness.double() - 50) / 100)


def eccv16_ab(tensors: Mapping[str, Tensor], lightness: Tensor) -> Tensor:
    """L, B,1,H,W in 0..100 -> ab, B,2,H/4,W/4; its users enlarge it bilinearly."""
    classes = eccv16_logits(tensors, lightness).softmax(1)
    return 110 * F.conv2d(classes, tensors["model_out.weight"].double())


@functools.cache
def siggraph17_tensors() -> dict[str, Tensor]:
    """A random file of the kind siggraph17. Shared: do not change it."""
    tensors = random_tensors([layer for part in SIGGRAPH17.values() for layer in part])
    return tensors | {"model_out.0.weight": 0.05 * tensors["model_out.0.weight"]}  # some 20 ab


def siggraph17_ab(tensors: Mapping[str, Tensor], lightness: Tensor, hints: Tensor) -> Tensor:
    """Colors with hints.

    Args:
        tensors: of a file.
        lightness: B,1,H,W in 0..100, H and W multiples of 8.
        hints: B,3,H,W: ab and whether there is a hint, all 0 where there is none.

    Returns:
        ab, B,2,H,W.
    """

    def part(name: str, x: Tensor) -> Tensor:
        return run(tensors, SIGGRAPH17[name], x)

    planes = torch.cat(((lightness - 50) / 100, hints[:, :2] / 110, hints[:, 2:]), 1).double()
    one = part("model1", planes)
    two = part("model2", one[:, :, ::2, ::2])
    three = part("model3", two[:, :, ::2, ::2])
    seven = part("model4", three[:, :, ::2, ::2])
    for name in ("model5", "model6", "model7"):
        seven = part(name, seven)
    eight = part("model8", part("model8up", seven) + part("model3short8", three))
    nine = part("model9", part("model9up", eight) + part("model2short9", two))
    ten = part("model10", part("model10up", nine) + part("model1short10", one))
    return 110 * torch.tanh(part("model_out", F.leaky_relu(ten, 0.2)))
