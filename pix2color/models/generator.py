"""The generator: L -> raw output -> ab, one class for every recipe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.color import lightness_to_gray
from pix2color.config import Decode
from pix2color.models.encoders import Encoder
from pix2color.models.heads import Head


class Generator(nn.Module):
    """Encoder, decoder and head.

    Args:
        encoder: sees the gray photo as RGB.
        decoder: features -> one map at `stride`.
        head: that map -> raw; raw -> ab.
        stride: pixels of L per pixel of raw.
    """

    precisions = ("float32", "bfloat16")
    """Arithmetic in which predict stays within 1 unit of ab (losses and decoding are always
    float32)."""

    def __init__(self, encoder: Encoder, decoder: nn.Module, head: Head, *, stride: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.stride = stride
        self.frozen_statistics = False

    @property
    def multiple(self) -> int:
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

    def forward(self, lightness: Tensor) -> Tensor:
        """L, B,1,H,W in 0..100, H and W multiples of `multiple` -> raw B,C,H/stride,W/stride."""
        gray = lightness_to_gray(lightness).expand(-1, 3, -1, -1)
        raw: Tensor = self.head(self.decoder(self.encoder.features(gray)))
        return raw

    @torch.no_grad()
    def predict_raw(self, lightness: Tensor) -> Tensor:
        """`forward` for any H, W >= 1: pads to a multiple, then crops to ceil(H/stride), ..."""
        height, width = lightness.shape[-2:]
        raw = self(pad_to_multiple(lightness, self.multiple))
        return raw[..., : -(-height // self.stride), : -(-width // self.stride)]

    @torch.no_grad()
    def predict_features(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's last features beside `predict_raw`: B,F,h,w and B,C,h,w, one pass."""
        height, width = lightness.shape[-2:]
        gray = lightness_to_gray(pad_to_multiple(lightness, self.multiple)).expand(-1, 3, -1, -1)
        features: Tensor = self.decoder(self.encoder.features(gray))
        raw: Tensor = self.head(features)
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        return features[..., :rows, :columns], raw[..., :rows, :columns]

    @torch.no_grad()
    def predict(self, lightness: Tensor, decode: Decode) -> Tensor:
        """Colours of photos of any size, H, W >= 1.

        `decode.size` is the caller's: L is used at the size it comes in.

        Args:
            lightness: B,1,H,W in 0..100.
            decode: temperature, vividness and saturation.

        Returns:
            ab: B,2,H,W in Lab units, float32; may lie outside sRGB (see color.fit_gamut).
        """
        height, width = lightness.shape[-2:]
        return self.decode_raw(self.predict_raw(lightness), (height, width), decode)

    def decode_raw(self, raw: Tensor, size: tuple[int, int], decode: Decode) -> Tensor:
        """What `predict_raw` returned -> ab B,2,*size, enlarged bilinearly.

        Kept apart so that many settings can be tried on one pass of the network.
        """
        ab = self.head.to_ab(raw, temperature=decode.temperature, vividness=decode.vividness)
        ab = decode.saturation * ab
        full = (raw.shape[-2] * self.stride, raw.shape[-1] * self.stride)
        ab = F.interpolate(ab, size=full, mode="bilinear", align_corners=False)
        return ab[..., : size[0], : size[1]]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom to multiples: by reflection where the photo is large enough for it."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return x
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)
