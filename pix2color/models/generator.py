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
    """Encoder, decoder and head: one class for every recipe.

    forward(L) -> raw, the head's output (logits or ab before the activation). `predict` accepts
    photos of any size: it pads L, crops raw, decodes it to ab and enlarges ab to the size of L.

    Args:
        encoder: gray photo as RGB -> features of falling resolution.
        decoder: features -> one map.
        head: that map -> raw; raw -> ab.
        stride: pixels of L per pixel of raw.
        hint_input: adds color hints to the features; None: a network without hints, or one whose
            encoder takes them.
    """

    precisions = ("float32",)
    """Data types in which `predict` is exact. Training in bfloat16 works (losses and decoding are
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
        """The height and width of `forward`'s input are multiples of this."""
        return max(*self.encoder.reduction, self.stride)

    @property
    def accepts_hints(self) -> bool:
        """Whether `forward` takes hints."""
        return self.hint_input is not None or self.encoder.takes_hints

    def train(self, mode: bool = True) -> Generator:
        """Set the training mode; with `frozen_statistics` batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """L -> raw.

        Args:
            lightness: B,1,H,W in 0..100, H and W multiples of `size_divisor`.
            hints: B,3,H/stride,W/stride from `encode_hints`, for a network with a hint input.

        Returns:
            B,C,H/stride,W/stride.
        """
        raw: Tensor = self.head(self._features(lightness, hints))  # B,C,H/stride,W/stride
        return raw

    def _features(self, lightness: Tensor, hints: Tensor | None) -> Tensor:
        """The head's input: B,F,h,w, where h, w = H/stride, W/stride but for an enlarging head."""
        gray = lightness_to_gray(lightness).expand(-1, 3, -1, -1)  # B,3,H,W in 0..1
        if hints is not None and not self.accepts_hints:
            raise ValueError("this network takes no hints: it was trained without them")
        given = (hints,) if self.encoder.takes_hints else ()
        features = self.encoder.features(gray, *given)  # B,channels[i],H/reduction[i],...
        if hints is not None and self.hint_input is not None:
            features = self.hint_input(features, hints)  # same shapes
        x: Tensor = self.decoder(features)  # B,F,h,w
        return x

    @torch.no_grad()
    def predict_raw(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """`forward` for any H, W >= 1: B,1,H,W -> B,C,ceil(H/stride),ceil(W/stride)."""
        return self.predict_features(lightness, hints)[1]

    @torch.no_grad()
    def predict_features(
        self, lightness: Tensor, hints: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The decoder's last features B,F,h,w and `predict_raw`'s raw B,C,h,w in one pass."""
        rows, columns = (_ceil_div(side, self.stride) for side in lightness.shape[-2:])
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

        Args:
            lightness: B,1,H,W in 0..100; it is not resized to `decode.input_size`.
            decode: temperature, vividness and saturation.

        Returns:
            ab: B,2,H,W in Lab units, float32; may be outside of the sRGB gamut.
        """
        height, width = lightness.shape[-2:]
        return self.decode_raw(self.predict_raw(lightness), (height, width), decode)

    def decode_raw(self, raw: Tensor, size: tuple[int, int], decode: DecodeConfig) -> Tensor:
        """Result of `predict_raw` -> ab B,2,*size, enlarged bilinearly.

        It is separate from `predict` so that many settings can be tried on one pass of the network.
        """
        ab = self.head.to_ab(raw, temperature=decode.temperature, vividness=decode.vividness)
        ab = decode.saturation * ab
        full = (raw.shape[-2] * self.stride, raw.shape[-1] * self.stride)
        ab = F.interpolate(ab, size=full, mode="bilinear", align_corners=False)
        return ab[..., : size[0], : size[1]]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom to multiples by reflection; beyond its reach repeat the first pixel.

    The rule has no branch on the size, so that an exported graph pads the same way.
    """
    for axis in (-2, -1):
        last = x.shape[axis] - 1
        index = torch.arange(_ceil_div(x.shape[axis], multiple) * multiple, device=x.device)
        x = x.index_select(axis, (last - (last - index).abs()).clamp_min(0))
    return x


def _ceil_div(length: int, part: int) -> int:
    """length / part, rounded up."""
    return (length + part - 1) // part
