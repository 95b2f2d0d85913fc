"""What a person wants of a photo's colours beside the settings: hints, a palette, versions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pix2color.config import Decode
from pix2color.errors import Pix2ColorError
from pix2color.inference.guess import Guess
from pix2color.inference.hints import Hint, draw
from pix2color.inference.palette import towards
from pix2color.inference.spread import spread
from pix2color.inference.variants import vary


@dataclass(frozen=True, eq=False)
class Wishes:
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
    def need_features(self) -> bool:
        """Whether the guess must keep the network's features."""
        return bool(self.hints) or self.variants > 1

    def fulfil(self, guess: Guess, decode: Decode, photo: tuple[int, int]) -> list[Tensor]:
        """The colours of each version: 2,h,w.

        Args:
            guess: with features where they are needed.
            decode: the settings.
            photo: its height and width, to which hints refer.

        Raises:
            Pix2ColorError: a hint outside the photo, or weights without classes.
        """
        if self.palette is not None:
            guess = towards(guess, self.palette, self.strength)
        versions = vary(guess, self.variants, decode, seed=self.seed)
        colours = [one.ab(decode) for one in versions]
        if not self.hints:
            return colours
        rows, columns = guess.raw.shape[1:]
        share, wanted = draw(self.hints, photo, (rows, columns))
        return [torch.from_numpy(spread(guess, ab, share, wanted)) for ab in colours]


PLAIN = Wishes()
