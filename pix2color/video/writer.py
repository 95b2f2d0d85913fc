"""Colored frames into segments: short films of their own that are joined without encoding again.

Every segment begins with a key frame and has no frames that refer forwards, so that packets lie in
the order in which they are shown and segments follow each other without a seam.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pix2color.video.pyav import library
from pix2color.video.reader import Reader
from pix2color.video.yuv import PixelFormat

CRF = 14
"""Constant rate factor; 18 is often called visually lossless. At 14 luma of a clean 480p film is
off by 0.5 codes of 255 in the mean (docs/video.md)."""
_KEY = 250  # frames between key frames, at most


@dataclass(frozen=True)
class Encoding:
    """An encoder and its settings."""

    codec: str
    options: dict[str, str]
    tag: str | None = None
    """What MP4 and MOV call it, where their usual name is not understood everywhere."""


def encoding_for(suffix: str, signal: PixelFormat) -> Encoding:
    """How films of a container and depth are encoded.

    H.264 for 8 bits; HEVC for 10, since hardware that plays 10-bit H.264 is rare. WebM takes
    neither: VP9 and AV1 there.
    """
    if suffix.lower() == ".webm":
        if signal.bits == 8:
            return Encoding(
                "libvpx-vp9",
                {"crf": str(CRF), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
            )
        os.environ.setdefault("SVT_LOG", "1")  # it reports on standard error by itself
        return Encoding("libsvtav1", {"crf": "16", "preset": "7", "svtav1-params": "pred-struct=1"})
    if signal.bits == 8:
        return Encoding("libx264", {"crf": str(CRF), "preset": "medium", "bf": "0"})
    params = "bframes=0:log-level=none"
    options = {"crf": str(CRF), "preset": "fast", "x265-params": params}
    return Encoding("libx265", options, tag="hvc1" if suffix.lower() != ".mkv" else None)


class SegmentWriter:
    """One segment being written; a context manager. Times in it begin at 0."""

    def __init__(
        self, path: Path, encoding: Encoding, signal: PixelFormat, rate: Fraction, base: Fraction,
        aspect: Fraction | None,
    ) -> None:  # fmt: skip
        """Args:
        signal: of its frames.
        rate: frames a second, about.
        base: seconds in a unit of their times.
        aspect: width of a pixel over its height.
        """
        av = library()
        self._container = av.open(str(path), "w", format="mp4")
        stream = self._container.add_stream(
            encoding.codec, rate=rate, time_base=base, width=signal.width, height=signal.height,
            options=dict(encoding.options),
        )  # fmt: skip
        stream.pix_fmt = signal.pixel_format
        stream.codec_context.gop_size = _KEY
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        signal.tag(stream.codec_context)
        self._base = base
        self._stream = stream
        self._lengths: dict[int, int] = {}
        self._first: int | None = None
        self.frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._mux(self._stream.encode(None))
        self._container.close()

    @property
    def start(self) -> int:
        """Time of its first frame in the film."""
        return self._first or 0

    def add(self, frame: Any, *, pts: int, length: int) -> None:
        """Encode an av.VideoFrame shown at `pts` for `length` units."""
        if self._first is None:
            self._first = pts
        frame.pts, frame.time_base = pts - self._first, self._base
        self._lengths[frame.pts] = length
        self.frames += 1
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._lengths.pop(packet.pts, packet.duration or 0)
            self._container.mux(packet)


def aspect_of(reader: Reader) -> Fraction | None:
    """Width of a film's pixels over their height, where it says so."""
    aspect = reader.stream.sample_aspect_ratio or reader.stream.codec_context.sample_aspect_ratio
    return Fraction(aspect) if aspect else None
