"""Named feature maps of an encoder, for the perceptual loss."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.encoders import Encoder

DEFAULT_LEVELS = (0, 1, 2, 3)
"""Levels whose outputs are taken where no blocks are named."""


class FeatureMaps(nn.Module):
    """The outputs of an encoder's blocks, by name.

    Args:
        encoder: pretrained; it is used as it is, not copied.
        blocks: `LEVEL.BLOCK` as in the names of the encoder's parameters. Empty: the outputs of
            levels 0 to 3, as far as the encoder has them, named `0` to `3`.

    Raises:
        ConfigError: a block that the encoder does not have.
    """

    def __init__(self, encoder: Encoder, blocks: Iterable[str] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.blocks = frozenset(blocks)
        names = [f"{i}.{j}" for i, level in enumerate(encoder.levels) for j in _blocks_of(level)]
        unknown = sorted(self.blocks - set(names))
        if unknown:
            known = f"{names[0]} to {names[-1]}" if names else "none"
            raise ConfigError(
                f"loss.perceptual_layers: {unknown[0]} is not a block of the network ({known})"
            )

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """B,3,H,W in 0..1 -> name: B,C,h,w."""
        if not self.blocks:
            levels = self.encoder.features(rgb)
            return {str(i): levels[i] for i in DEFAULT_LEVELS if i < len(levels)}
        maps = {}
        x = self.encoder.normalize(rgb)
        last = max(int(name.split(".")[0]) for name in self.blocks)
        for number, level in enumerate(self.encoder.levels[: last + 1]):
            for part, block in _blocks_of(level).items():
                x = block(x)
                if f"{number}.{part}" in self.blocks:
                    maps[f"{number}.{part}"] = x.clone()  # the next block may work in place
        return maps


def _blocks_of(level: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a level that are run one after the other; none for other kinds of levels."""
    return dict(level.named_children()) if isinstance(level, nn.Sequential) else {}
