"""Perceptual loss: distance of photos in the features of a frozen pretrained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.encoders import Encoder

DEFAULT_LEVELS = (0, 1, 2, 3)
"""Compared where no blocks are named: the early ones see color best."""


class PerceptualLoss(nn.Module):
    """Weighted sum of distances between the features of two photos.

    Args:
        encoder: pretrained; taken over, frozen, and never saved with a run.
        distance: `l1` or `lpips`, see `DISTANCES`.
        blocks: `LEVEL.BLOCK` as in the names of the encoder's parameters -> its weight. None or
            empty: the ends of levels 0 to 3, as far as the encoder has them, with equal shares.

    Raises:
        ConfigError: a block that the encoder does not have.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        distance: str = "l1",
        blocks: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.distance = DISTANCES[distance]
        names = [f"{i}.{j}" for i, level in enumerate(encoder.levels) for j in _parts(level)]
        unknown = sorted(set(blocks or {}) - set(names))
        if unknown:
            has = f"{names[0]} to {names[-1]}" if names else "none"
            raise ConfigError(
                f"loss.perceptual_layers: {unknown[0]} is not a block of the network ({has})"
            )
        self.blocks = dict(blocks or {})

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stays in evaluation mode: the network is a measure, and its statistics are part of it."""
        return super().train(False)

    def forward(self, rgb: Tensor, target: Tensor) -> Tensor:
        """B,3,H,W each, in 0..1 (values outside are allowed: unclipped colors keep a gradient)."""
        with torch.no_grad():
            wanted = self.features(target)
        found = self.features(rgb)
        total = rgb.new_zeros(())
        equal = dict.fromkeys(wanted, 1 / len(wanted))
        for name, weight in (self.blocks or equal).items():
            total = total + weight * self.distance(found[name], wanted[name])
        return total

    def features(self, rgb: Tensor) -> dict[str, Tensor]:
        """B,3,H,W -> a feature map for each block or, where none is named, level."""
        if not self.blocks:
            ends = self.encoder.features(rgb)
            return {str(i): ends[i] for i in DEFAULT_LEVELS if i < len(ends)}
        features = {}
        x = self.encoder.normalize(rgb)
        last = max(int(name.split(".")[0]) for name in self.blocks)
        for number, level in enumerate(self.encoder.levels[: last + 1]):
            for part, block in _parts(level).items():
                x = block(x)
                if f"{number}.{part}" in self.blocks:
                    features[f"{number}.{part}"] = x.clone()  # what follows may work in place
        return features


def scale_normalized_l1(found: Tensor, wanted: Tensor) -> Tensor:
    """L1 of B,C,h,w each, over the wanted features' mean size, so that no level rules by its units.

    After Johnson et al., Perceptual Losses for Real-Time Style Transfer (2016).
    """
    scale = wanted.abs().mean().clamp_min(1e-6)
    return F.l1_loss(found, wanted) / scale


def normalized_l2(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of B,C,h,w each after every place's features are scaled to length 1.

    Zhang et al., The Unreasonable Effectiveness of Deep Features (2018), equation 1, with the
    channels weighted alike.
    """
    difference = F.normalize(found, dim=1) - F.normalize(wanted, dim=1)
    return difference.square().sum(1).mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": scale_normalized_l1,
    "lpips": normalized_l2,
}


def _parts(level: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a level that are run one after the other; none for a level of another kind."""
    return dict(level.named_children()) if isinstance(level, nn.Sequential) else {}
