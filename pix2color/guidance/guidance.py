"""Optional user guidance: hints, a palette, several variants; empty by default."""

from __future__ import annotations

from dataclasses import dataclass

from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError
from pix2color.guidance.hints import Hint, rasterize
from pix2color.guidance.palette import match_palette
from pix2color.guidance.propagation import propagate_hints
from pix2color.guidance.variants import sample_variants
from pix2color.inference.prediction import Floats, Prediction


@dataclass(frozen=True, eq=False)
class Guidance:
    """What a user asks of a photo's colors beside the decoding options."""

    hints: tuple[Hint, ...] = ()
    palette: Floats | None = None
    """Of `palette.palette_of`: 313, sum 1."""
    strength: float = 0.5
    """Of the palette, 0..1."""
    variants: int = 1
    """Number of versions, the likeliest first."""
    seed: int = 0
    """Of the variants."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise Pix2ColorError(f"the number of variants is at least 1, not {self.variants}")
        if not 0 <= self.strength <= 1:
            raise Pix2ColorError(f"the strength of a reference is in 0..1, not {self.strength:g}")

    @property
    def needs_features(self) -> bool:
        """Whether the prediction must keep the network's features."""
        return bool(self.hints) or self.variants > 1

    def apply(
        self, prediction: Prediction, decode: DecodeConfig, photo_size: tuple[int, ...]
    ) -> list[Floats]:
        """The colors of each variant: 2,h,w in Lab units.

        Hints keep the colors that were stated, as they are set after decoding. A palette takes the
        place of the calibration by its strength: both say how frequent each color is.

        Args:
            prediction: with features where they are needed.
            decode: the settings.
            photo_size: its height and width in pixels, to which hints refer.

        Raises:
            Pix2ColorError: a hint outside the photo, or weights without classes.
        """
        if self.palette is not None:
            prediction = match_palette(prediction, self.palette, self.strength)
            share = decode.calibration * (1 - self.strength)
            decode = decode.model_copy(update={"calibration": share})
        variants = sample_variants(prediction, self.variants, decode, seed=self.seed)
        colors = [variant.ab(decode) for variant in variants]
        if not self.hints:
            return colors
        coverage, hint_ab = rasterize(self.hints, photo_size, prediction.grid)
        return [propagate_hints(prediction, ab, coverage, hint_ab) for ab in colors]


NO_GUIDANCE = Guidance()
