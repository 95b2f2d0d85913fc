"""Segments and the source's sound, subtitles and tags -> one film, nothing encoded again."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pix2color.errors import PhotoError
from pix2color.video.pyav import library
from pix2color.video.reader import opened, picture_stream
from pix2color.video.rotation import Rotation

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_OURS = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time")
)
"""Tags that describe the file, not the film."""


@dataclass(frozen=True)
class Segment:
    """A finished segment."""

    path: Path
    start: int
    """Time of its first frame, in units of the film."""
    frames: int


@dataclass(frozen=True)
class Frame:
    """What all pieces of a film share."""

    base: Fraction
    rate: Fraction
    turn: Rotation
    tag: str | None


def concat_segments(
    pieces: Sequence[Segment], source: Path, target: Path, shared: Frame, *, comment: str | None,
    whole: bool = True,
) -> tuple[str, ...]:  # fmt: skip
    """Write one film of the pieces and of what the source holds beside its pictures.

    Args:
        target: its ending tells the container. Written in place: give a temporary name.
        comment: goes before the source's own comment.
        whole: False ends sound and subtitles where the pictures end.

    Returns:
        What could not be kept.

    Raises:
        PhotoError: the disk does not take it.
    """
    av = library()
    notes: list[str] = []
    form = _FORMATS[target.suffix.lower()]
    options = {"movflags": "faststart"} if form in ("mp4", "mov") else {}
    try:
        with (
            contextlib.closing(opened(source)) as old,
            contextlib.closing(av.open(str(pieces[0].path))) as first,
            contextlib.closing(av.open(str(target), "w", format=form, options=options)) as new,
        ):
            made, kept = _streams(new, old, first.streams.video[0], shared, form, notes)
            _tags(new, old, comment)
            new.start_encoding()
            pictures = _pictures(pieces, made, shared.base)
            end = None if whole else _end(pieces[-1], shared.base)
            for packet in _merged(pictures, _others(old, kept, end)):
                new.mux(packet)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except av.error.FFmpegError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error
    return tuple(notes)


def _streams(
    new: Any, old: Any, template: Any, shared: Frame, form: str, notes: list[str]
) -> tuple[Any, dict[int, Any]]:
    """The new film's streams in the old one's order: the pictures, and the rest by old index."""
    pictures = picture_stream(old)
    made = None
    kept: dict[int, Any] = {}
    for stream in old.streams:
        if stream.index == pictures.index:
            made = new.add_stream_from_template(template, opaque=True)
            made.codec_context.framerate = shared.rate
            made.time_base = shared.base
            made.metadata.update(stream.metadata)
            made.disposition = stream.disposition
            if shared.turn.matrix is not None:
                made.set_display_matrix(shared.turn.matrix)
            if shared.tag and form in ("mp4", "mov"):
                made.codec_context.codec_tag = shared.tag
        elif _container_accepts(stream, form):
            copy = new.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            if stream.type != "attachment":
                kept[stream.index] = copy
        else:
            name = getattr(stream, "name", None) or "unknown"
            notes.append(f"stream {stream.index} ({stream.type}, {name}) is left out")
    return made, kept


def _container_accepts(stream: Any, form: str) -> bool:
    """Whether a container takes a stream as it is: tried on a file in memory."""
    if stream.type not in ("audio", "subtitle", "attachment"):
        return False
    av = library()
    try:
        trial = av.open(io.BytesIO(), "w", format=form)
        try:
            trial.add_stream_from_template(stream)
            if stream.type == "attachment":
                return form == "matroska"
            trial.start_encoding()
        finally:
            trial.close()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _tags(new: Any, old: Any, comment: str | None) -> None:
    tags = {k: v for k, v in old.metadata.items() if k.lower() not in _OURS}
    if comment:
        name = next((k for k in tags if k.lower() == "comment"), "comment")
        before = [part for part in tags.pop(name, "").split(" | ") if part]
        tags["comment"] = " | ".join((comment, *before))
    new.metadata.update(tags)
    with contextlib.suppress(Exception):  # a container without chapters
        chapters = old.chapters()
        if chapters:
            new.set_chapters(chapters)


def _pictures(pieces: Sequence[Segment], made: Any, base: Fraction) -> Iterator[Any]:
    av = library()
    for piece in pieces:
        with contextlib.closing(av.open(str(piece.path))) as part:
            stream = part.streams.video[0]
            for packet in part.demux(stream):
                if packet.size == 0:
                    continue
                own = packet.time_base
                packet.pts = piece.start + round(packet.pts * own / base)
                packet.dts = packet.pts
                packet.duration = round((packet.duration or 0) * own / base)
                packet.time_base = base
                packet.stream = made
                yield packet


def _others(old: Any, kept: dict[int, Any], end: Fraction | None) -> Iterator[Any]:
    """Packets of the kept streams, in the source's order, up to a time in seconds."""
    av = library()
    if not kept:
        return
    packets = old.demux([stream for stream in old.streams if stream.index in kept])
    failures = 0
    while failures < 50:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.FFmpegError:
            failures += 1
            continue
        time = packet.pts if packet.pts is not None else packet.dts
        if packet.dts is None or packet.size == 0:
            continue
        if end is not None and time * packet.time_base >= end:
            continue
        packet.stream = kept[packet.stream.index]
        yield packet


def _merged(pictures: Iterator[Any], others: Iterator[Any]) -> Iterator[Any]:
    """Both by time, so that no container has to hold much back."""
    one, two = next(pictures, None), next(others, None)
    while one is not None or two is not None:
        if two is None or (one is not None and _seconds(one) <= _seconds(two)):
            yield one
            one = next(pictures, None)
        else:
            yield two
            two = next(others, None)


def _seconds(packet: Any) -> Fraction:
    time: Fraction = packet.dts * packet.time_base
    return time


def _end(piece: Segment, base: Fraction) -> Fraction:
    """When the last frame of a piece has been shown, in seconds."""
    av = library()
    last = Fraction(0)
    with contextlib.closing(av.open(str(piece.path))) as part:
        for packet in part.demux(part.streams.video[0]):
            if packet.size:
                last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return piece.start * base + last
