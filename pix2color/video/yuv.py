"""What the numbers of a film's frames mean: luma to gray codes, and colors to chroma planes.

Luma goes from the source's frames into the colored ones as it is; only Cb and Cr are new. ITU-R
BT.601, BT.709 and BT.2020 differ in the weights of luma, limited and full range in the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.color import icc_matrix
from pix2color.inference import bands, compose
from pix2color.photo.photo import Pixels
from pix2color.video.pyav import library

Floats = NDArray[np.float32]

_LIMITED, _FULL = 1, 2  # AVColorRange
_RGB, _UNKNOWN, _BT709, _BT2020 = 0, 2, 1, 9  # AVColorSpace, ISO/IEC 23091-2
_BT601 = 6
_WEIGHTS = {
    _BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    _BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    _BT2020: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Shares of red and blue in luma, by matrix."""
_HIGH_RANGE = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic
_HD = 720  # lines from which a film without tags is BT.709
_FULL_WITHOUT_TAG = frozenset(("rawvideo", "png", "ffv1", "mjpeg", "tiff", "bmp", "huffyuv"))


@dataclass(frozen=True)
class PixelFormat:
    """How a film's colored frames are coded: as its own, but for the chroma."""

    width: int
    height: int
    bits: int
    """8 or 10."""
    full_range: bool
    """0..255 (or 0..1023) rather than 16..235 (64..940)."""
    matrix: int
    primaries: int
    transfer: int

    @property
    def subsampled(self) -> bool:
        """4:2:0, except where an odd size does not allow it."""
        return self.width % 2 == 0 and self.height % 2 == 0

    @property
    def pixel_format(self) -> str:
        layout = "yuv420p" if self.subsampled else "yuv444p"
        return layout if self.bits == 8 else f"{layout}10le"

    @property
    def chroma_size(self) -> tuple[int, int]:
        """Height and width of the Cb and Cr planes."""
        step = 2 if self.subsampled else 1
        return self.height // step, self.width // step

    def luma_range(self) -> tuple[int, int]:
        """Codes of black and white."""
        if self.full_range:
            return 0, 2**self.bits - 1
        return 16 << (self.bits - 8), 235 << (self.bits - 8)

    def frame(self, luma: Pixels, chroma: tuple[Pixels, Pixels]) -> Any:
        """An av.VideoFrame of these planes; times are the caller's."""
        made = library().VideoFrame(self.width, self.height, self.pixel_format)
        for plane, values in zip(made.planes, (luma, *chroma), strict=True):
            rows = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
            rows[:, : values.shape[1]] = values
        made.color_range = _FULL if self.full_range else _LIMITED
        made.colorspace = self.matrix
        return made

    def tag(self, codec_context: Any) -> None:
        """Say in an encoder's headers what the codes mean."""
        codec_context.color_range = _FULL if self.full_range else _LIMITED
        codec_context.colorspace = self.matrix
        codec_context.color_primaries = self.primaries
        codec_context.color_trc = self.transfer


def pixel_format_of(frame: Any, codec: str) -> tuple[PixelFormat, tuple[str, ...]]:
    """The Signal that keeps a film's first frame, and what to say of it.

    Args:
        frame: av.VideoFrame.
        codec: name of its decoder.
    """
    notes = []
    form = frame.format
    deepest = max(component.bits for component in form.components)
    if deepest > 10:
        notes.append(f"{deepest} bits become 10")
    if any(component.is_alpha for component in form.components):
        notes.append("its transparency is left out")
    if frame.interlaced_frame:
        notes.append("it is interlaced: the lines stay as they are, marked as progressive")
    if frame.color_trc in _HIGH_RANGE:
        name = _HIGH_RANGE[frame.color_trc]
        notes.append(f"its brightness is coded in {name}: colors are made as though it were not")
    matrix, full = frame.colorspace, frame.color_range == _FULL
    if not _has_luma_plane(form):
        full = full and not _is_rgb_like(form)
    elif frame.color_range not in (_LIMITED, _FULL):
        full = "yuvj" in form.name or (form.name.startswith("gray") and codec in _FULL_WITHOUT_TAG)
    if matrix not in _WEIGHTS or _is_rgb_like(form):
        matrix = _BT709 if frame.height >= _HD or _is_rgb_like(form) else _BT601
    made = PixelFormat(
        frame.width, frame.height, 8 if deepest <= 8 else 10, full, matrix,
        frame.color_primaries, frame.color_trc,
    )  # fmt: skip
    if not made.subsampled:
        notes.append("its odd size needs 4:4:4, which some players do not play")
    return made, tuple(notes)


def luma(frame: Any, signal: PixelFormat) -> Pixels:
    """Y of an av.VideoFrame, H,W in the signal's codes: the decoder's own numbers."""
    if not _has_luma_plane(frame.format) or (frame.width, frame.height) != (
        signal.width,
        signal.height,
    ):
        frame = _converted(frame, signal)
    form = frame.format
    bits = form.components[0].bits
    kind = np.dtype(np.uint8 if bits <= 8 else (">u2" if form.is_big_endian else "<u2"))
    plane = frame.planes[0]
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
    shift = bits - signal.bits
    if _high_bits(form.name):
        shift += 16 - bits
    if shift > 0:
        rows = rows >> shift
    elif shift < 0:
        rows = rows.astype(np.uint16) << -shift
    return np.ascontiguousarray(rows, np.uint8 if signal.bits == 8 else np.uint16)


def gray_values(values: Pixels, signal: PixelFormat) -> Pixels:
    """Luma H,W -> gray codes of sRGB over their full range, uint8 or uint16."""
    return np.take(_to_gray(signal.bits, signal.full_range), values)


@cache
def _to_gray(bits: int, full: bool) -> Pixels:
    black, white = PixelFormat(0, 0, bits, full, _BT709, 2, 2).luma_range()
    share = ((np.arange(2**bits) - black) / (white - black)).clip(0, 1)
    kind, top = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    return np.rint(share * top).astype(kind)


def chroma(codes: Pixels, ab: Floats, signal: PixelFormat) -> tuple[Pixels, Pixels]:
    """Cb and Cr of the wanted colors at the film's own luma.

    The color of the L is brought into the gamut first (`full_size`), then its Cb and Cr are
    lowered until R, G and B lie within range at the luma that stays.

    Args:
        codes: H,W of `gray_codes`.
        ab: 2,h,w at any size.

    Returns:
        Two planes of `signal.chroma_size`, uint8 or uint16.
    """
    height, width = signal.chroma_size
    kind = codes.dtype
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in ab]
    made = np.empty((2, height, width), kind)
    mixer = _mixer(8 if kind == np.uint8 else 16)
    top = np.float32(np.iinfo(kind).max)
    red, blue = _WEIGHTS[signal.matrix]
    step = 2 if signal.subsampled else 1
    middle = 128 << (signal.bits - 8)
    reach = 2**signal.bits - 1 if signal.full_range else 224 << (signal.bits - 8)

    def part(rows: slice) -> None:
        own = codes[rows.start * step : rows.stop * step]
        if step == 2:
            sums = own.astype(np.uint32).reshape(-1, 2, width, 2).sum(axis=(1, 3), dtype=np.uint32)
            own = ((sums + 2) >> 2).astype(kind)
        a, b = (compose.enlarged(plane, rows, height, width) for plane in planes)
        rgb = np.empty((*own.shape, 3), kind)
        mixer.map(own, a, b, rgb)
        r, g, b = (rgb[..., c] / top for c in range(3))
        mixed = red * r + (1 - red - blue) * g + blue * b
        share = _gamut_fraction(own / top, [r - mixed, g - mixed, b - mixed])
        for out, channel, weight in ((made[0], b, blue), (made[1], r, red)):
            value = (channel - mixed) * share * np.float32(reach / (2 - 2 * weight)) + middle
            out[rows] = np.rint(value).clip(0, 2**signal.bits - 1).astype(kind)

    bands.for_each_band(part, height, width)
    return made[0], made[1]


@cache
def _mixer(bits: int) -> compose.GamutMapper:
    return compose.GamutMapper(icc_matrix.SRGB, bits=bits)


def _gamut_fraction(gray: NDArray[Any], offsets: list[NDArray[Any]]) -> Floats:
    """The largest share of the offsets, 0..1, with which gray + offset stays within 0..1."""
    high = np.maximum(np.maximum(offsets[0], offsets[1]), offsets[2])
    low = np.minimum(np.minimum(offsets[0], offsets[1]), offsets[2])
    tiny = np.float32(1e-6)
    up, down = (1 - gray) / np.maximum(high, tiny), gray / np.maximum(-low, tiny)
    share: Floats = np.minimum(np.minimum(up, down), np.float32(1))
    return share


def _has_luma_plane(form: Any) -> bool:
    """Whether the first plane is luma and nothing else."""
    if _is_rgb_like(form) or form.is_bit_stream:
        return False
    first = [component for component in form.components if component.plane == 0]
    return len(first) == 1 and first[0].bits <= 16


def _is_rgb_like(form: Any) -> bool:
    """RGB, a palette or a sensor's pattern rather than luma."""
    return bool(form.is_rgb or form.has_palette or form.is_bayer or form.is_bit_stream)


def _high_bits(name: str) -> bool:
    """p010 and its kin keep their 10 bits at the upper end of 16."""
    return name[:1] == "p" and name[1:4].isdigit() and not name.startswith("pal")


def _converted(frame: Any, signal: PixelFormat) -> Any:
    """A frame of another layout or size as planes of luma and chroma of the film's."""
    form = "yuv444p" if signal.bits == 8 else "yuv444p10le"
    options: dict[str, Any] = {}
    if _is_rgb_like(frame.format):
        options = {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
    else:
        own = "JPEG" if signal.full_range else "MPEG"
        options = {"src_color_range": own, "dst_color_range": own}
    return frame.reformat(
        width=signal.width, height=signal.height, format=form, interpolation="LANCZOS", **options
    )
