"""Colorizing a video: frame by frame, in segments, with resuming."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError
from pix2color.inference import postprocess, preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.photo import Provenance
from pix2color.photo.photo import Pixels
from pix2color.runtime.base import out_of_memory
from pix2color.video import muxer, yuv
from pix2color.video.pyav import import_av
from pix2color.video.reader import VideoReader
from pix2color.video.stabilizer import Method, TemporalStabilizer, flow_input
from pix2color.video.work_dir import WorkDir
from pix2color.video.writer import Segment, SegmentWriter, StreamParams

T = TypeVar("T")

SEGMENT_FRAMES = 120
"""Frames per segment: the most that a killed run loses."""
_PREFETCH = 3  # frames that pass through the network before they are needed
_WORK_DIR_VERSION = 2


@dataclass(frozen=True)
class VideoOptions:
    """How a video is colorized."""

    decode: DecodeConfig
    provenance: Provenance | None = None
    """Written to the comment tag; None writes nothing."""
    stabilization: Method = "flow"
    resume: bool = False
    """Continue from the segments of an earlier run with the same settings."""
    segment_frames: int = SEGMENT_FRAMES


@dataclass(frozen=True)
class VideoResult:
    """How a video ended."""

    status: Literal["done", "stopped"]
    path: Path | None
    """The video; of a stopped one the finished part, or None where there is none."""
    frames: int
    notes: tuple[str, ...]
    """What a user should know: what was wrong with the source, what could not be kept."""


@dataclass(frozen=True)
class VideoProgress:
    """Progress of a video, in frames."""

    done: int
    """Including those that an earlier run finished."""
    expected: int | None
    """About how many there are."""


def colorize_video(
    source: Path,
    target: Path,
    colorizer: Colorizer,
    options: VideoOptions,
    *,
    progress: Callable[[VideoProgress], None] = lambda state: None,
    stop: Callable[[], bool] = lambda: False,
) -> VideoResult:
    """Colorize every frame of a video; luma, times, sound and tags are kept.

    Works in a hidden folder beside the target, which is deleted when the video is done. Memory
    does not grow with the length of the video.

    Args:
        target: its ending selects the container (`muxer`) and the encoder (`writer`).
        progress: called after each frame.
        stop: called before each frame; once it returns True, the finished part becomes a video of
            its own beside the target (NAME.partial.mp4), and `options.resume` continues later.

    Raises:
        PhotoError: not a video, no frames, not enough memory, or a file that cannot be written.
        Pix2ColorError: PyAV is not installed.
    """
    av = import_av()
    try:
        with (
            VideoReader(source) as reader,
            contextlib.closing(
                WorkDir(target, _settings(source, colorizer, options), resume=options.resume)
            ) as work,
        ):
            params = StreamParams.for_video(reader, target.suffix)
            tail = _encode_segments(reader, work, params, colorizer, options, progress, stop)
            complete = tail is None
            segments = [*work.segments, *([tail] if tail and tail.frames else [])]
            frames = sum(segment.frames for segment in segments)
            if not segments:
                return VideoResult("stopped", None, 0, ())
            comment = options.provenance.text() if options.provenance else None
            with work.publish(complete=complete) as (joined, path):
                left_out = muxer.concat_segments(
                    segments, source, joined, params, comment=comment, complete=complete
                )
            if complete:
                return VideoResult("done", path, frames, (*reader.notes, *left_out))
            return VideoResult("stopped", path, frames, ())
    except av.error.FFmpegError as error:
        raise PhotoError(f"{error.strerror or error}") from error
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise PhotoError("out of memory", remedy="try a smaller {size}, or {device} cpu") from None


def _settings(source: Path, colorizer: Colorizer, options: VideoOptions) -> dict[str, Any]:
    """What two runs must have in common to share segments."""
    status = source.stat()
    return {
        "version": _WORK_DIR_VERSION,
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "weights": colorizer.digest,
        "decode": options.decode.model_dump(),
        "stabilization": options.stabilization,
        "segment_frames": options.segment_frames,
        "provenance": asdict(options.provenance) if options.provenance else None,
    }


def _encode_segments(
    reader: VideoReader, work: WorkDir, params: StreamParams, colorizer: Colorizer,
    options: VideoOptions, progress: Callable[[VideoProgress], None], stop: Callable[[], bool],
) -> Segment | None:  # fmt: skip
    """Colorize and encode the frames that are not done yet.

    Returns:
        The unfinished last segment (it may be empty) where it was stopped, else None.
    """
    stabilizer = TemporalStabilizer(options.stabilization)
    stabilizer.restore(work.stabilizer_state())
    done = sum(segment.frames for segment in work.segments)
    progress(VideoProgress(done, reader.expected_frames))
    predictions = _predict_frames(reader, colorizer, options.decode, skip=done)
    stopped = False
    with contextlib.closing(prefetch(predictions, _PREFETCH)) as frames:
        frame = next(frames, None)
        while frame is not None:
            with SegmentWriter(work.next_path, params) as writer:
                while frame is not None and writer.frames < options.segment_frames:
                    stopped = stop()
                    if stopped:
                        break
                    colorized = _colorize_frame(frame, stabilizer, reader, options.decode)
                    writer.add(colorized, pts=frame.pts, duration=frame.duration)
                    done += 1
                    progress(VideoProgress(done, reader.expected_frames))
                    frame = next(frames, None)
            if stopped:
                return writer.segment
            work.commit_segment(writer.segment, stabilizer.state())
    return None


@dataclass(frozen=True)
class FramePrediction:
    """A frame and the network's output for it."""

    pts: int
    duration: int
    luma: Pixels
    """H,W codes as stored."""
    gray: Pixels
    """H,W, the luma as gray values of sRGB."""
    prediction: Prediction
    """Of the upright frame."""


def _predict_frames(
    reader: VideoReader, colorizer: Colorizer, decode: DecodeConfig, *, skip: int
) -> Iterator[FramePrediction]:
    """The network's pass over the frames after the first `skip`."""
    for frame in itertools.islice(reader.frames(), skip, None):
        luma = yuv.extract_luma(frame, reader.pixel_format)
        gray = yuv.luma_to_gray(luma, reader.pixel_format)
        upright = np.ascontiguousarray(reader.rotation.apply(gray))
        prediction = colorizer.predict(upright, decode.input_size)
        yield FramePrediction(frame.pts, frame.duration, luma, gray, prediction)


def _colorize_frame(
    frame: FramePrediction, stabilizer: TemporalStabilizer, reader: VideoReader,
    decode: DecodeConfig,
) -> Any:  # fmt: skip
    """The frame in color, an av.VideoFrame.

    Decoding and upsampling are those of photos; only the last step differs. Photos keep L; here
    luma is kept, code by code, because 4:2:0 has too few chroma samples to correct L per pixel.
    """
    form, rotation, prediction = reader.pixel_format, reader.rotation, frame.prediction
    guide = prediction.guide
    chroma_shape = rotation.apply(np.empty(form.chroma_size, np.bool_)).shape
    if guide.size > np.prod(chroma_shape):  # finer than the chroma planes
        upright = np.ascontiguousarray(rotation.apply(frame.gray))
        guide = preprocess.resize_lightness(upright, chroma_shape)
    ab = postprocess.upsample_ab(prediction.ab(decode), prediction.cell_lightness(), guide)
    ab = stabilizer(ab, guide, flow_input(prediction))
    return form.make_frame(frame.luma, yuv.chroma_planes(frame.gray, rotation.invert(ab), form))


def prefetch(items: Iterator[T], count: int) -> Generator[T]:
    """The same items, of which the next `count` are made in a thread; close it after use."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="video")
    pending = deque(pool.submit(next, items, None) for _ in range(count))
    try:
        while (item := pending.popleft().result()) is not None:
            pending.append(pool.submit(next, items, None))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
