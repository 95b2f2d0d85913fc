"""Pixel formats of videos: luma planes to gray values, and colors to chroma planes.

Luma is copied from the source's frames into the colorized ones; only Cb and Cr are new. ITU-R
BT.601, BT.709 and BT.2020 differ in the weights of luma, limited and full range in the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color import bands
from pix2color.color import icc_matrix
from pix2color.color.lab_numpy import gamut_share
from pix2color.inference import compose
from pix2color.photo.photo import Pixels
from pix2color.video.pyav import import_av

Floats = NDArray[np.float32]

_LIMITED, _FULL = 1, 2  # AVColorRange
_BT709, _BT601, _BT2020 = 1, 6, 9  # AVColorSpace, ISO/IEC 23091-2
_WEIGHTS = {
    _BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    _BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    _BT2020: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by matrix."""
_HIGH_RANGE = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic
_HD = 720  # rows from which a video without tags is BT.709
_FULL_WITHOUT_TAG = frozenset(("rawvideo", "png", "ffv1", "mjpeg", "tiff", "bmp", "huffyuv"))


@dataclass(frozen=True)
class PixelFormat:
    """How colorized frames are coded: as the source's, except for the chroma resolution."""

    width: int
    height: int
    bits: int
    """8 or 10."""
    full_range: bool
    """0..255 (or 0..1023) rather than 16..235 (64..940)."""
    matrix: int
    """AVColorSpace."""
    primaries: int
    """AVColorPrimaries."""
    transfer: int
    """AVColorTransferCharacteristic."""

    @property
    def is_subsampled(self) -> bool:
        """4:2:0, except where an odd size does not allow it."""
        return self.width % 2 == 0 and self.height % 2 == 0

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of it."""
        layout = "yuv420p" if self.is_subsampled else "yuv444p"
        return layout if self.bits == 8 else f"{layout}10le"

    @property
    def chroma_size(self) -> tuple[int, int]:
        """Height and width of the Cb and Cr planes."""
        step = 2 if self.is_subsampled else 1
        return self.height // step, self.width // step

    def luma_range(self) -> tuple[int, int]:
        """The codes of black and white."""
        if self.full_range:
            return 0, 2**self.bits - 1
        return 16 << (self.bits - 8), 235 << (self.bits - 8)

    def make_frame(self, luma: Pixels, chroma: tuple[Pixels, Pixels]) -> Any:
        """An av.VideoFrame of these planes, without times."""
        frame = import_av().VideoFrame(self.width, self.height, self.pix_fmt)
        for plane, values in zip(frame.planes, (luma, *chroma), strict=True):
            rows = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
            rows[:, : values.shape[1]] = values
        frame.color_range = _FULL if self.full_range else _LIMITED
        frame.colorspace = self.matrix
        return frame

    def tag_codec(self, codec_context: Any) -> None:
        """Write what the codes mean to an encoder's headers."""
        codec_context.color_range = _FULL if self.full_range else _LIMITED
        codec_context.colorspace = self.matrix
        codec_context.color_primaries = self.primaries
        codec_context.color_trc = self.transfer


def pixel_format_of(frame: Any, codec: str) -> tuple[PixelFormat, tuple[str, ...]]:
    """The format that keeps what a video's first frame holds, and notes about what it cannot.

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
        notes.append("it is interlaced: the lines are kept, but marked as progressive")
    if frame.color_trc in _HIGH_RANGE:
        name = _HIGH_RANGE[frame.color_trc]
        notes.append(f"its brightness is coded in {name}: it is colorized like an SDR video")
    matrix, full = frame.colorspace, frame.color_range == _FULL
    if not _has_luma_plane(form):
        full = full and not _is_rgb_like(form)
    elif frame.color_range not in (_LIMITED, _FULL):
        full = "yuvj" in form.name or (form.name.startswith("gray") and codec in _FULL_WITHOUT_TAG)
    if matrix not in _WEIGHTS or _is_rgb_like(form):
        matrix = _BT709 if frame.height >= _HD or _is_rgb_like(form) else _BT601
    result = PixelFormat(
        frame.width, frame.height, 8 if deepest <= 8 else 10, full, matrix,
        frame.color_primaries, frame.color_trc,
    )  # fmt: skip
    if not result.is_subsampled:
        notes.append("its odd size requires 4:4:4, which some players cannot play")
    return result, tuple(notes)


def extract_luma(frame: Any, pixel_format: PixelFormat) -> Pixels:
    """Y of an av.VideoFrame, H,W: the decoder's codes, in the depth of `pixel_format`."""
    size = (pixel_format.width, pixel_format.height)
    if not _has_luma_plane(frame.format) or (frame.width, frame.height) != size:
        frame = _reformat(frame, pixel_format)
    form = frame.format
    bits = form.components[0].bits
    stored = np.dtype(np.uint8 if bits <= 8 else (">u2" if form.is_big_endian else "<u2"))
    plane = frame.planes[0]
    rows = np.frombuffer(plane, stored).reshape(plane.height, -1)[:, : plane.width]
    shift = bits - pixel_format.bits
    if _is_msb_aligned(form.name):
        shift += 16 - bits
    if shift > 0:
        rows = rows >> shift
    elif shift < 0:
        rows = rows.astype(np.uint16) << -shift
    return np.ascontiguousarray(rows, np.uint8 if pixel_format.bits == 8 else np.uint16)


def luma_to_gray(luma: Pixels, pixel_format: PixelFormat) -> Pixels:
    """Luma H,W -> gray values of sRGB over their full range, uint8 or uint16."""
    return np.take(_gray_table(pixel_format.bits, pixel_format.full_range), luma)


@cache
def _gray_table(bits: int, full: bool) -> Pixels:
    black, white = PixelFormat(0, 0, bits, full, _BT709, 2, 2).luma_range()
    share = ((np.arange(2**bits) - black) / (white - black)).clip(0, 1)
    dtype, top = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    return np.rint(share * top).astype(dtype)


def chroma_planes(gray: Pixels, ab: Floats, pixel_format: PixelFormat) -> tuple[Pixels, Pixels]:
    """Cb and Cr of colors at the video's own luma.

    The color at the L of the gray value is mapped into the gamut first (`compose`). Then its Cb
    and Cr are reduced until R, G and B are within range at the luma that is kept.

    Args:
        gray: H,W of `luma_to_gray`.
        ab: 2,h,w at any size.

    Returns:
        Two planes of `pixel_format.chroma_size`, uint8 or uint16.
    """
    height, width = pixel_format.chroma_size
    dtype, bits = gray.dtype, pixel_format.bits
    ab_planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in ab]
    out = np.empty((2, height, width), dtype)
    gamut = _gamut_mapper(8 * dtype.itemsize)
    top = np.float32(np.iinfo(dtype).max)
    red, blue = _WEIGHTS[pixel_format.matrix]
    step = 2 if pixel_format.is_subsampled else 1
    code_range = 2**bits - 1 if pixel_format.full_range else 224 << (bits - 8)

    def band(rows: slice) -> None:
        own = gray[rows.start * step : rows.stop * step]
        if step == 2:
            sums = own.astype(np.uint32).reshape(-1, 2, width, 2).sum(axis=(1, 3), dtype=np.uint32)
            own = ((sums + 2) >> 2).astype(dtype)
        a, b = (compose.upsample_band(plane, rows, height, width) for plane in ab_planes)
        rgb = np.empty((*own.shape, 3), dtype)
        gamut.map(own, a, b, rgb)
        r, g, b = (rgb[..., c] / top for c in range(3))
        luma = own / top
        change = luma - (red * r + (1 - red - blue) * g + blue * b)
        r, g, b = (channel + change for channel in (r, g, b))
        share = gamut_share(luma, (r, g, b))
        for plane, channel, weight in ((out[0], b, blue), (out[1], r, red)):
            codes = (channel - luma) * share * np.float32(code_range / (2 - 2 * weight))
            plane[rows] = np.rint(codes + (128 << (bits - 8))).clip(0, 2**bits - 1).astype(dtype)

    bands.for_each_band(band, height, width)
    return out[0], out[1]


@cache
def _gamut_mapper(bits: int) -> compose.GamutMapper:
    return compose.GamutMapper(icc_matrix.SRGB, bits=bits)


def _has_luma_plane(form: Any) -> bool:
    """Whether the first plane holds luma and nothing else."""
    if _is_rgb_like(form) or form.is_bit_stream:
        return False
    first = [component for component in form.components if component.plane == 0]
    return len(first) == 1 and first[0].bits <= 16


def _is_rgb_like(form: Any) -> bool:
    """RGB, a palette or a sensor pattern rather than luma."""
    return bool(form.is_rgb or form.has_palette or form.is_bayer or form.is_bit_stream)


def _is_msb_aligned(name: str) -> bool:
    """Formats like p010 store 10 bits at the upper end of 16."""
    return name[:1] == "p" and name[1:4].isdigit() and not name.startswith("pal")


def _reformat(frame: Any, pixel_format: PixelFormat) -> Any:
    """A frame of another layout or size as luma and chroma planes of the video's size."""
    form = "yuv444p" if pixel_format.bits == 8 else "yuv444p10le"
    options: dict[str, Any] = {}
    if _is_rgb_like(frame.format):
        options = {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
    else:
        color_range = "JPEG" if pixel_format.full_range else "MPEG"
        options = {"src_color_range": color_range, "dst_color_range": color_range}
    return frame.reformat(
        width=pixel_format.width, height=pixel_format.height, format=form,
        interpolation="LANCZOS", **options,
    )  # fmt: skip
