"""Encoding colorized frames into segments, which are joined later without encoding again.

Every segment begins with a key frame and has no frames that refer to later ones, so that packets
are stored in the order in which they are shown and segments follow each other without a seam.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from pix2color.video.pyav import import_av
from pix2color.video.reader import VideoReader
from pix2color.video.rotation import Rotation
from pix2color.video.yuv import PixelFormat

CRF = 14
"""Constant rate factor; 18 is often called visually lossless. At 14 the luma of a clean 480p video
changes by 0.5 codes of 255 on average (docs/video.md)."""
_KEY_INTERVAL = 250  # frames between key frames, at most


@dataclass(frozen=True)
class Encoding:
    """An encoder and its settings."""

    codec: str
    options: dict[str, str]
    tag: str | None = None
    """Codec tag in MP4 and MOV, where not every player knows the default one."""


def encoding_for(suffix: str, bits: int) -> Encoding:
    """The encoder of a container (by its ending) and a depth (8 or 10).

    H.264 for 8 bits; HEVC for 10, since hardware that plays 10-bit H.264 is rare. WebM allows
    neither: VP9 and AV1 there.
    """
    if suffix.lower() == ".webm":
        if bits == 8:
            return Encoding(
                "libvpx-vp9",
                {"crf": str(CRF), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
            )
        os.environ.setdefault("SVT_LOG", "1")  # otherwise it logs to standard error
        return Encoding("libsvtav1", {"crf": "16", "preset": "7", "svtav1-params": "pred-struct=1"})
    if bits == 8:
        return Encoding("libx264", {"crf": str(CRF), "preset": "medium", "bf": "0"})
    params = "bframes=0:log-level=none"
    options = {"crf": str(CRF), "preset": "fast", "x265-params": params}
    return Encoding("libx265", options, tag="hvc1" if suffix.lower() != ".mkv" else None)


@dataclass(frozen=True)
class StreamParams:
    """What all segments of a video have in common."""

    encoding: Encoding
    pixel_format: PixelFormat
    time_base: Fraction
    """Seconds per unit of frame times."""
    frame_rate: Fraction
    """Frames per second, about."""
    pixel_aspect: Fraction | None
    """Width of a pixel over its height."""
    rotation: Rotation

    @classmethod
    def for_video(cls, reader: VideoReader, suffix: str) -> StreamParams:
        """Those of a source, for a target with this ending."""
        return cls(
            encoding_for(suffix, reader.pixel_format.bits), reader.pixel_format, reader.time_base,
            reader.frame_rate, reader.pixel_aspect, reader.rotation,
        )  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """An encoded segment; times in units of the video's time base."""

    path: Path
    start: int
    """Time of its first frame in the video."""
    frames: int
    duration: int
    """From the start of its first frame to the end of its last one."""


class SegmentWriter:
    """Encodes one segment; a context manager. Times in the file begin at 0."""

    def __init__(self, path: Path, params: StreamParams) -> None:
        """Create the file; raises av.error.FFmpegError."""
        self._path, self._time_base = path, params.time_base
        self._container = import_av().open(str(path), "w", format="mp4")
        form = params.pixel_format
        self._stream = self._container.add_stream(
            params.encoding.codec, rate=params.frame_rate, time_base=params.time_base,
            width=form.width, height=form.height, options=dict(params.encoding.options),
        )  # fmt: skip
        self._stream.pix_fmt = form.pix_fmt
        self._stream.codec_context.gop_size = _KEY_INTERVAL
        if params.pixel_aspect:
            self._stream.codec_context.sample_aspect_ratio = params.pixel_aspect
        form.tag_codec(self._stream.codec_context)
        self._durations: dict[int, int] = {}
        self._start = self._end = self.frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._mux(self._stream.encode(None))
        self._container.close()

    @property
    def segment(self) -> Segment:
        """The segment of the frames added so far; on the disk after the context ends."""
        return Segment(self._path, self._start, self.frames, self._end - self._start)

    def add(self, frame: Any, *, pts: int, duration: int) -> None:
        """Encode an av.VideoFrame shown from `pts` on for `duration` units."""
        if not self.frames:
            self._start = pts
        frame.pts, frame.time_base = pts - self._start, self._time_base
        self._durations[frame.pts] = duration
        self._end = pts + duration
        self.frames += 1
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration or 0)
            self._container.mux(packet)
