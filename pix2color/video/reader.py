"""Reading videos: what the header says, and the frames in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from pix2color.errors import PhotoError
from pix2color.video.pyav import import_av
from pix2color.video.rotation import rotation_of
from pix2color.video.yuv import pixel_format_of

_MAX_BROKEN = 50  # broken packets in a row after which reading ends
_MIN_MISSING = 1.0  # seconds missing at the end that are worth a note


class VideoReader:
    """A video open for reading; a context manager.

    `frames()` decodes it once; afterwards `notes` says what was wrong with it. `stream` is its
    video stream, `time_base` and `frame_rate` are that stream's (the rate is about right where it
    varies), `pixel_format` and `rotation` those of the first frame.
    """

    def __init__(self, path: Path) -> None:
        """Open a video and decode its first frame.

        Raises:
            PhotoError: not a video, or one without a frame that can be decoded.
        """
        self.container = open_container(path)
        self._broken = self._damaged = self._dropped = 0
        self._resized: tuple[int, int] | None = None
        self._end: float | None = None
        try:
            self.stream = find_video_stream(self.container)
            if self.stream is None:
                raise PhotoError("it has no video stream")
            if self.stream.codec_context is None:
                raise PhotoError("its video codec is not supported")
            self.time_base: Fraction = self.stream.time_base
            self.frame_rate = _frame_rate(self.stream)
            frames = self._decode()
            first = next(frames, None)
            if first is None:
                raise PhotoError(
                    "no frame of it can be decoded" if self._broken else "it holds no frames"
                )
            self._frames: Iterator[Any] = itertools.chain([first], frames)
            self.pixel_format, self._notes = pixel_format_of(first, self.stream.codec_context.name)
            self.rotation = rotation_of(first)
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._frames = iter(())
        self.container.close()

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width of a pixel over its height, where the video says it."""
        aspect = self.stream.sample_aspect_ratio or self.stream.codec_context.sample_aspect_ratio
        return Fraction(aspect) if aspect else None

    @property
    def seconds(self) -> float | None:
        """Duration according to the header."""
        if self.stream.duration is not None:
            return float(self.stream.duration * self.time_base)
        duration = self.container.duration
        return None if duration is None else duration / import_av().time_base

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there are."""
        if self.stream.frames:
            return int(self.stream.frames)
        return None if self.seconds is None else max(1, round(self.seconds * self.frame_rate))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know; complete once all frames are read."""
        notes = list(self._notes)
        if self._broken:
            notes.append(f"{self._broken} broken {_plural('packet', self._broken)} passed over")
        if self._damaged:
            notes.append(f"{self._damaged} {_plural('frame', self._damaged)} damaged in the source")
        if self._dropped:
            notes.append(f"{self._dropped} {_plural('frame', self._dropped)} out of order left out")
        if self._resized:
            notes.append(
                f"its frames change their size, to {self._resized[0]} x {self._resized[1]}: all"
                f" become {self.pixel_format.width} x {self.pixel_format.height}"
            )
        seconds = self.seconds
        if self._end is not None and seconds is not None and seconds - self._end > _MIN_MISSING:
            notes.append(f"it ends after {self._end:.1f} of the {seconds:.1f} s in its header")
        return tuple(notes)

    def frames(self) -> Iterator[Any]:
        """av.VideoFrames with a rising `pts` and a `duration`, in units of `time_base`."""
        last = None
        size = (self.pixel_format.width, self.pixel_format.height)
        for frame in self._frames:
            frame.duration = frame.duration or round(1 / (self.frame_rate * self.time_base)) or 1
            if frame.pts is None:
                frame.pts = 0 if last is None else last + frame.duration
            if last is not None and frame.pts <= last:
                self._dropped += 1
                continue
            if (frame.width, frame.height) != size:
                self._resized = (frame.width, frame.height)
            last = frame.pts
            self._end = float((last + frame.duration) * self.time_base)
            yield frame

    def _decode(self) -> Iterator[Any]:
        """All frames that can be decoded; counts the packets that cannot."""
        av = import_av()
        packets = self.container.demux(self.stream)
        broken = 0
        while broken < _MAX_BROKEN:
            try:
                frames = next(packets).decode()
                self._broken += broken
                broken = 0
            except (StopIteration, av.error.EOFError):
                break
            except av.error.FFmpegError:
                broken += 1
                packets = self.container.demux(self.stream)
                continue
            for frame in frames:
                self._damaged += bool(frame.is_corrupt)
                yield frame
        self._broken += min(broken, 1)  # unreadable packets at the end count as one gap


def open_container(path: Path) -> Any:
    """The av container of a file; raises PhotoError."""
    av = import_av()
    try:
        return av.open(str(path), metadata_errors="replace")
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, ValueError) and error.strerror:
            raise PhotoError(f"cannot be read: {error.strerror}") from None
        raise PhotoError("it is not a video, or its beginning or index is missing") from None


def find_video_stream(container: Any) -> Any:
    """The first video stream that is not a cover image, or None."""
    cover = import_av().stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover), None)


def _frame_rate(stream: Any) -> Fraction:
    """Frames per second, approximate where they vary."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    return Fraction(25)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
