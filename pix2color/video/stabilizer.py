"""Temporal stabilization: a frame's colors are mixed with those of the frame before.

The earlier colors are moved along the optical flow. Where L differs from the moved L (something
came into view, a shadow fell), only the new colors count, so that moving edges leave no ghosts. A
new shot starts without a past.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.inference.filters import box_mean
from pix2color.inference.prediction import Prediction
from pix2color.video.optical_flow import flow, inside, warp
from pix2color.video.scene_cuts import is_cut

Floats = NDArray[np.float32]
Method = Literal["none", "filter", "flow"]

MOMENTUM = 0.85
"""Weight of the past where L agrees."""
RANGE_SIGMA = 5.0
"""Difference of L at which the weight of the past falls to 0.61 of that."""
_SMOOTHING = 3  # side of the window over which differences of L are averaged, pixels


class TemporalStabilizer:
    """The colors of successive frames -> the same with less flicker."""

    def __init__(self, method: Method = "flow") -> None:
        """Start without a past.

        Args:
            method: none leaves each frame as it is; filter mixes the same pixels of two frames;
                flow follows the motion.
        """
        self._method = method
        self._past: dict[str, Floats] = {}

    def __call__(self, ab: Floats, guide: Floats, flow_guide: Floats) -> Floats:
        """The next frame's colors, mixed with the past: 2,H,W.

        Args:
            ab: 2,H,W, the frame's own colors.
            guide: H,W, its L.
            flow_guide: h,w, its L at the size at which motion is estimated (`flow_input`).
        """
        if self._method == "none":
            return ab
        if self._past and not is_cut(self._past["flow_guide"], flow_guide):
            ab = self._mix(ab, guide, flow_guide)
        self._past = {"ab": ab, "guide": guide, "flow_guide": flow_guide}
        return ab

    def _mix(self, ab: Floats, guide: Floats, flow_guide: Floats) -> Floats:
        past = np.concatenate((self._past["ab"], self._past["guide"][None]))
        visible: Any = np.float32(1)
        if self._method == "flow":
            displacement = _resize_flow(flow(self._past["flow_guide"], flow_guide), guide.shape)
            past, visible = warp(past, displacement), inside(displacement)
        change = (guide - guide.mean()) - (past[2] - past[2].mean())
        change = box_mean(change, _SMOOTHING, outside="edge")
        weight = np.square(change, out=change)
        weight *= np.float32(-0.5 / RANGE_SIGMA**2)
        np.exp(weight, out=weight)
        weight *= visible
        weight *= np.float32(MOMENTUM)
        return ab + weight * (past[:2] - ab)

    def state(self) -> dict[str, Floats]:
        """The arrays from which `restore` continues."""
        return dict(self._past)

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Continue from an earlier `state`."""
        self._past = dict(state)


def flow_input(prediction: Prediction) -> Floats:
    """h,w: the network's input L, reduced to about twice its cells in each direction."""
    lightness = prediction.input_lightness
    height, width = lightness.shape
    step = max(1, height // (2 * prediction.grid[0]))
    blocks = lightness.reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _resize_flow(displacement: Floats, shape: tuple[int, ...]) -> Floats:
    """2,h,w motion at another size, in pixels of that size."""
    height, width = shape
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        * np.float32(new / old)
        for plane, new, old in zip(displacement, shape, displacement.shape[1:], strict=True)
    ]
    return np.stack(planes)
