"""Joins encoded segments with the source's sound, subtitles and tags; nothing is encoded again."""

from __future__ import annotations

import contextlib
import heapq
import io
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pix2color.errors import PhotoError
from pix2color.video.pyav import import_av
from pix2color.video.reader import find_video_stream, open_container
from pix2color.video.writer import Segment, StreamParams

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_FILE_TAGS = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time")
)
"""Tags that describe the file rather than the video: not copied."""
_MAX_BROKEN = 50  # packets of the source that cannot be read, after which copying ends


def concat_segments(
    segments: Sequence[Segment], source: Path, target: Path, params: StreamParams, *,
    comment: str | None, complete: bool = True,
) -> tuple[str, ...]:  # fmt: skip
    """Write one video of the segments and of the source's other streams.

    Args:
        target: its ending selects the container. Written in place: pass a temporary name.
        comment: put before the source's own comment tag.
        complete: False ends sound and subtitles where the segments end.

    Returns:
        Notes about what could not be kept.

    Raises:
        PhotoError: the file cannot be written.
    """
    av = import_av()
    container_format = _FORMATS[target.suffix.lower()]
    options = {"movflags": "faststart"} if container_format in ("mp4", "mov") else {}
    try:
        with (
            contextlib.closing(open_container(source)) as old,
            contextlib.closing(av.open(str(segments[0].path))) as first,
            contextlib.closing(
                av.open(str(target), "w", format=container_format, options=options)
            ) as new,
        ):
            template = first.streams.video[0]
            video, copies, notes = _add_streams(new, old, template, params, container_format)
            _copy_tags(new, old, comment)
            new.start_encoding()
            last = segments[-1]
            end = None if complete else (last.start + last.duration) * params.time_base
            packets = (
                _video_packets(segments, video, params.time_base),
                _other_packets(old, copies, end),
            )
            # Interleaved by time, so that no container has to buffer much.
            for packet in heapq.merge(*packets, key=lambda p: p.dts * p.time_base):
                new.mux(packet)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except av.error.FFmpegError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error
    return notes


def _add_streams(
    new: Any, old: Any, template: Any, params: StreamParams, container_format: str
) -> tuple[Any, dict[int, Any], tuple[str, ...]]:
    """Adds the new video's streams in the old one's order.

    Returns:
        The video stream, the copied streams by their index in `old`, and notes.
    """
    source = find_video_stream(old)
    video = None
    copies: dict[int, Any] = {}
    notes: list[str] = []
    for stream in old.streams:
        if stream.index == source.index:
            video = added = new.add_stream_from_template(template, opaque=True)
            video.codec_context.framerate = params.frame_rate
            video.time_base = params.time_base
            if params.rotation.matrix is not None:
                video.set_display_matrix(params.rotation.matrix)
            if params.encoding.tag and container_format in ("mp4", "mov"):
                video.codec_context.codec_tag = params.encoding.tag
        elif _container_accepts(stream, container_format):
            added = new.add_stream_from_template(stream)
            if stream.type != "attachment":
                copies[stream.index] = added
        else:
            name = getattr(stream, "name", None) or "unknown"
            notes.append(f"stream {stream.index} ({stream.type}, {name}) is left out")
            continue
        added.metadata.update(stream.metadata)
        added.disposition = stream.disposition
    return video, copies, tuple(notes)


def _container_accepts(stream: Any, container_format: str) -> bool:
    """Whether a container can hold a stream unchanged: tried on a file in memory."""
    if stream.type not in ("audio", "subtitle", "attachment"):
        return False
    av = import_av()
    try:
        with contextlib.closing(av.open(io.BytesIO(), "w", format=container_format)) as trial:
            trial.add_stream_from_template(stream)
            if stream.type == "attachment":
                return container_format == "matroska"
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _copy_tags(new: Any, old: Any, comment: str | None) -> None:
    """Copies tags and chapters; the comment comes before the source's own."""
    tags = {k: v for k, v in old.metadata.items() if k.lower() not in _FILE_TAGS}
    if comment:
        name = next((k for k in tags if k.lower() == "comment"), "comment")
        tags["comment"] = " | ".join(filter(None, (comment, tags.pop(name, ""))))
    new.metadata.update(tags)
    with contextlib.suppress(Exception):  # a container without chapters
        chapters = old.chapters()
        if chapters:
            new.set_chapters(chapters)


def _video_packets(segments: Sequence[Segment], stream: Any, time_base: Fraction) -> Iterator[Any]:
    """The packets of all segments, at their times in the video."""
    av = import_av()
    for segment in segments:
        with contextlib.closing(av.open(str(segment.path))) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0:
                    continue
                unit = packet.time_base / time_base
                packet.pts = packet.dts = segment.start + round(packet.pts * unit)
                packet.duration = round((packet.duration or 0) * unit)
                packet.time_base = time_base
                packet.stream = stream
                yield packet


def _other_packets(old: Any, copies: dict[int, Any], end: Fraction | None) -> Iterator[Any]:
    """Packets of the copied streams, in the source's order, up to a time in seconds."""
    av = import_av()
    if not copies:
        return
    packets = old.demux([stream for stream in old.streams if stream.index in copies])
    broken = 0
    while broken < _MAX_BROKEN:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.FFmpegError:
            broken += 1
            continue
        if packet.dts is None or packet.size == 0:
            continue
        time = packet.dts if packet.pts is None else packet.pts
        if end is None or time * packet.time_base < end:
            packet.stream = copies[packet.stream.index]
            yield packet
