"""The generator: L -> raw output -> ab, one class for every recipe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.color.lab import lightness_to_gray
from pix2color.config import DecodeConfig
from pix2color.models.encoders import Encoder
from pix2color.models.heads import Head
from pix2color.models.hint_encoder import HintEncoder


class Generator(nn.Module):
    """Encoder, decoder and head.

    Args:
        encoder: sees the gray photo as RGB.
        decoder: features -> one map at `stride`.
        head: that map -> raw; raw -> ab.
        stride: pixels of L per pixel of raw.
        hint_input: takes given colors, for a network that is trained with them.
    """

    precisions = ("float32",)
    """Arithmetic in which predict is exact. Training in bfloat16 works (losses and decoding are
    float32 in any case); colors predicted in it are some units of ab off."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: nn.Module,
        head: Head,
        *,
        stride: int,
        hint_input: HintEncoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.stride = stride
        self.hint_input = hint_input
        self.frozen_statistics = False

    @property
    def size_divisor(self) -> int:
        """Height and width that `forward` takes are multiples of this."""
        return max(*self.encoder.reduction, self.stride)

    def train(self, mode: bool = True) -> Generator:
        """As nn.Module's; with `frozen_statistics` batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """L -> raw.

        Args:
            lightness: B,1,H,W in 0..100, H and W multiples of `multiple`.
            hints: B,3,H/stride,W/stride (`hint_input.pack`), for a network that takes them.

        Returns:
            B,C,H/stride,W/stride.
        """
        raw: Tensor = self.head(self._features(lightness, hints))
        return raw

    def _features(self, lightness: Tensor, hints: Tensor | None) -> Tensor:
        """The decoder's last features: B,F,H/stride,W/stride."""
        gray = lightness_to_gray(lightness).expand(-1, 3, -1, -1)
        features = self.encoder.features(gray)
        if hints is not None:
            if self.hint_input is None:
                raise ValueError("this network takes no hints: it was trained without them")
            features = self.hint_input(features, hints)
        found: Tensor = self.decoder(features)
        return found

    @torch.no_grad()
    def predict_raw(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """`forward` for any H, W >= 1: pads to a multiple, then crops to ceil(H/stride), ..."""
        return self.predict_features(lightness, hints)[1]

    @torch.no_grad()
    def predict_features(
        self, lightness: Tensor, hints: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The decoder's last features beside `predict_raw`: B,F,h,w and B,C,h,w, one pass."""
        rows, columns = (_ceil(side, self.stride) for side in lightness.shape[-2:])
        padded = pad_to_multiple(lightness, self.size_divisor)
        if hints is not None:
            below = padded.shape[-2] // self.stride - rows
            right = padded.shape[-1] // self.stride - columns
            hints = F.pad(hints, (0, right, 0, below))
        features = self._features(padded, hints)
        raw: Tensor = self.head(features)
        return features[..., :rows, :columns], raw[..., :rows, :columns]

    @torch.no_grad()
    def predict(self, lightness: Tensor, decode: DecodeConfig) -> Tensor:
        """Colors of photos of any size, H, W >= 1.

        `decode.input_size` is the caller's: L is used at the size it comes in.

        Args:
            lightness: B,1,H,W in 0..100.
            decode: temperature, vividness and saturation.

        Returns:
            ab: B,2,H,W in Lab units, float32; may lie outside sRGB (see color.fit_gamut).
        """
        height, width = lightness.shape[-2:]
        return self.decode_raw(self.predict_raw(lightness), (height, width), decode)

    def decode_raw(self, raw: Tensor, size: tuple[int, int], decode: DecodeConfig) -> Tensor:
        """What `predict_raw` returned -> ab B,2,*size, enlarged bilinearly.

        Kept apart so that many settings can be tried on one pass of the network.
        """
        ab = self.head.to_ab(raw, temperature=decode.temperature, vividness=decode.vividness)
        ab = decode.saturation * ab
        full = (raw.shape[-2] * self.stride, raw.shape[-1] * self.stride)
        ab = F.interpolate(ab, size=full, mode="bilinear", align_corners=False)
        return ab[..., : size[0], : size[1]]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom to multiples by reflection; what that does not reach repeats the start.

    One rule for all sizes, without a branch: an exported graph pads as this does.
    """
    for axis in (-2, -1):
        last = x.shape[axis] - 1
        index = torch.arange(_ceil(x.shape[axis], multiple) * multiple, device=x.device)
        x = x.index_select(axis, (last - (last - index).abs()).clamp_min(0))
    return x


def _ceil(length: int, part: int) -> int:
    """How many parts cover a length."""
    return (length + part - 1) // part
