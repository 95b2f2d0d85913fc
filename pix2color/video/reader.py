"""Films: what their headers say, and their frames one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pix2color.errors import PhotoError
from pix2color.video.pyav import library
from pix2color.video.rotation import Rotation, rotation_of
from pix2color.video.yuv import PixelFormat, pixel_format_of

_STUCK = 50  # broken packets in a row after which a film is given up
_SHORT = 1.0  # seconds that may be missing at the end before it is said


class Reader:
    """A film that is open for reading; a context manager.

    `frames()` runs through it once; `notes` then tells what was wrong with it.
    """

    def __init__(self, path: Path) -> None:
        """Raises PhotoError for what is not a film, or one without pictures that can be decoded."""
        self.path = path
        self.container = opened(path)
        self._broken = self._damaged = self._dropped = 0
        self._resized: tuple[int, int] | None = None
        self._end: float | None = None
        try:
            self.stream = picture_stream(self.container)
            if self.stream is None:
                raise PhotoError("it has no video stream")
            if self.stream.codec_context is None:
                raise PhotoError("its video codec is not known here")
            self.time_base: Fraction = self.stream.time_base
            self.rate = _rate(self.stream)
            self._frames = self._decoded()
            first = next(self._frames, None)
            if first is None:
                raise PhotoError(
                    "no frame of it can be decoded" if self._broken else "it holds no frames"
                )
            self._frames = itertools.chain([first], self._frames)
            self.signal: PixelFormat
            self.signal, self._notes = pixel_format_of(first, self.stream.codec_context.name)
            self.turn: Rotation = rotation_of(first)
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._frames = iter(())
        self.container.close()

    @property
    def seconds(self) -> float | None:
        """How long the header says it is."""
        if self.stream.duration is not None:
            return float(self.stream.duration * self.time_base)
        length = self.container.duration
        return None if length is None else length / library().time_base

    @property
    def expected(self) -> int | None:
        """About how many frames there are."""
        if self.stream.frames:
            return int(self.stream.frames)
        return None if self.seconds is None else max(1, round(self.seconds * float(self.rate)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, once all frames were read."""
        notes = list(self._notes)
        if self._broken:
            notes.append(f"{self._broken} broken {_plural('packet', self._broken)} passed over")
        if self._damaged:
            notes.append(f"{self._damaged} {_plural('frame', self._damaged)} damaged in the source")
        if self._dropped:
            notes.append(f"{self._dropped} {_plural('frame', self._dropped)} out of order left out")
        if self._resized:
            now, then = self._resized, (self.signal.width, self.signal.height)
            notes.append(
                f"its frames change their size, to {now[0]} x {now[1]}: all are made"
                f" {then[0]} x {then[1]}"
            )
        length = self.seconds
        if self._end is not None and length is not None and length - self._end > _SHORT:
            notes.append(
                f"it ends after {self._end:.1f} of the {length:.1f} s that its header says"
            )
        return tuple(notes)

    def frames(self) -> Iterator[Any]:
        """av.VideoFrames with rising `pts` in units of `time_base`, broken ones passed over."""
        last = None
        for frame in self._frames:
            length = frame.duration or round(1 / (self.rate * self.time_base)) or 1
            if frame.pts is None:
                frame.pts = 0 if last is None else last + length
            if last is not None and frame.pts <= last:
                self._dropped += 1
                continue
            if (frame.width, frame.height) != (self.signal.width, self.signal.height):
                self._resized = (frame.width, frame.height)
            last = frame.pts
            self._end = float((last + length) * self.time_base)
            yield frame

    def _decoded(self) -> Iterator[Any]:
        av = library()
        packets = self.container.demux(self.stream)
        stuck = 0
        while stuck < _STUCK:
            try:
                found = next(packets).decode()
                self._broken += stuck
                stuck = 0
            except (StopIteration, av.error.EOFError):
                break
            except av.error.FFmpegError:
                stuck += 1
                packets = self.container.demux(self.stream)
                continue
            for frame in found:
                self._damaged += bool(frame.is_corrupt)
                yield frame
        self._broken += min(stuck, 1)  # what cannot be read at the end is one gap


def opened(path: Path) -> Any:
    """An av container; raises PhotoError in plain words."""
    av = library()
    try:
        return av.open(str(path), metadata_errors="replace")
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, ValueError) and error.strerror:
            raise PhotoError(f"cannot be read: {error.strerror}") from None
        raise PhotoError("it is not a film, or its beginning or index is missing") from None


def picture_stream(container: Any) -> Any:
    """The first moving video stream (cover pictures are none); None where there is none."""
    av = library()
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover), None)


def _rate(stream: Any) -> Fraction:
    """Frames a second, a guess where they vary."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    return Fraction(25)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
