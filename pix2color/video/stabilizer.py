"""Colors that do not flicker: those of earlier frames go on where they fit.

A frame's colors are mixed with those of the frame before, carried along the motion. Where L does
not agree with what was carried (something came into view, a shadow fell), only the new ones count:
moving edges leave no ghosts. A new shot begins from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pix2color.inference.prediction import Prediction
from pix2color.video.optical_flow import flow, inside, warp
from pix2color.video.scene_cuts import is_cut

Floats = NDArray[np.float32]
Method = Literal["none", "filter", "flow"]

MOMENTUM = 0.85
"""Share of the past where L agrees."""
RANGE_SIGMA = 5.0
"""Difference of L at which the past's share falls to 0.61 of that."""
_GRAIN = 3  # pixels over which differences of L are averaged


class TemporalStabilizer:
    """A film's colors, frame after frame -> the same, steadier."""

    def __init__(
        self, kind: Method = "flow", *, kept: float = MOMENTUM, spread: float = RANGE_SIGMA
    ) -> None:
        """Args:
        kind: none leaves each frame as it is; filter mixes what lies at the same place; flow
            follows the motion.
        kept: share of the past, 0..1.
        spread: in L.
        """
        self._kind, self._kept, self._spread = kind, kept, spread
        self._past: tuple[Floats, Floats, Floats] | None = None
        self.shots = 0
        """How many have begun."""

    def __call__(self, ab: Floats, guide: Floats, seen: Floats) -> Floats:
        """The next frame's colors, mixed with the past.

        Args:
            ab: 2,H,W.
            guide: H,W, its L.
            seen: h,w, its L where motion is looked for (`seen_of`).
        """
        if self._kind == "none":
            return ab
        if self._past is None or is_cut(self._past[2], seen):
            self.shots += 1
        else:
            ab = self._mixed(self._past, ab, guide, seen)
        self._past = (ab, guide, seen)
        return ab

    def _mixed(
        self, past: tuple[Floats, Floats, Floats], ab: Floats, guide: Floats, seen: Floats
    ) -> Floats:
        before = np.concatenate((past[0], past[1][None]))
        there: Any = np.float32(1)
        if self._kind == "flow":
            moved = _at(flow(past[2], seen), guide.shape)
            before, there = warp(before, moved), inside(moved)
        change = (guide - guide.mean()) - (before[2] - before[2].mean())
        change = ndimage.uniform_filter(change, _GRAIN, mode="nearest")
        share = np.square(change, out=change)
        share *= np.float32(-0.5 / self._spread**2)
        np.exp(share, out=share)
        share *= there
        share *= np.float32(self._kept)
        return ab + share * (before[:2] - ab)

    def state(self) -> dict[str, NDArray[Any]]:
        """What a later Steady needs to go on from here."""
        if self._past is None:
            return {}
        ab, guide, seen = self._past
        return {"ab": ab, "guide": guide, "seen": seen, "shots": np.array(self.shots)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        if "ab" in state:
            self._past = (state["ab"], state["guide"], state["seen"])
            self.shots = int(state["shots"])


def flow_input(guess: Prediction) -> Floats:
    """The L that the network saw, at twice its cells: h,w."""
    rows, _ = guess.grid
    height, width = guess.input_lightness.shape
    step = max(1, height // (2 * rows))
    blocks = guess.input_lightness.reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _at(moved: Floats, shape: tuple[int, ...]) -> Floats:
    """2,h,w motion at another size, in its pixels."""
    size = (shape[1], shape[0])
    scales = (shape[0] / moved.shape[1], shape[1] / moved.shape[2])
    planes = [
        np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) * np.float32(scale)
        for one, scale in zip(moved, scales, strict=True)
    ]
    return np.stack(planes)
