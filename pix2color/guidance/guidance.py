"""What a person wants of a photo's colors beside the settings: hints, a palette, versions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError
from pix2color.guidance.hints import Hint, rasterize
from pix2color.guidance.palette import match_palette
from pix2color.guidance.propagation import propagate_hints
from pix2color.guidance.variants import sample_variants
from pix2color.inference.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Guidance:
    """None by default."""

    hints: tuple[Hint, ...] = ()
    palette: Tensor | None = None
    """Of `palette.palette_of`: 313, sum 1."""
    strength: float = 0.5
    """Of the palette, 0..1."""
    variants: int = 1
    """Versions wanted, the likeliest first."""
    seed: int = 0
    """Of the variants."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise Pix2ColorError(f"the number of variants is at least 1, not {self.variants}")
        if not 0 <= self.strength <= 1:
            raise Pix2ColorError(
                f"the strength of a reference lies in 0..1, not at {self.strength:g}"
            )

    @property
    def needs_features(self) -> bool:
        """Whether the guess must keep the network's features."""
        return bool(self.hints) or self.variants > 1

    def apply(
        self, guess: Prediction, decode: DecodeConfig, photo: tuple[int, int]
    ) -> list[Tensor]:
        """The colors of each version: 2,h,w.

        Args:
            guess: with features where they are needed.
            decode: the settings.
            photo: its height and width, to which hints refer.

        Raises:
            Pix2ColorError: a hint outside the photo, or weights without classes.
        """
        if self.palette is not None:
            guess = match_palette(guess, self.palette, self.strength)
        versions = sample_variants(guess, self.variants, decode, seed=self.seed)
        colors = [one.ab(decode) for one in versions]
        if not self.hints:
            return colors
        rows, columns = guess.raw.shape[1:]
        share, wanted = rasterize(self.hints, photo, (rows, columns))
        return [torch.from_numpy(propagate_hints(guess, ab, share, wanted)) for ab in colors]


NO_GUIDANCE = Guidance()
