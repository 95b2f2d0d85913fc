"""Videos video_frame from photos that come with scikit-image, with known motion and true colors.

Also what tests read back from videos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from pix2color.inference.colorizer import Colorizer
from pix2color.video import pipeline, reader, yuv


@dataclass(frozen=True)
class Frame:
    """A window of a photo."""

    rgb: np.ndarray
    """H,W,3 uint8."""
    x: float
    """Middle of the window in the photo, pixels."""
    y: float
    scale: float
    """Pixels of the photo per pixel of the frame."""


def shot(
    name: str, count: int, *, height: int = 48, width: int = 64, step: float = 0.0,
    zoom: float = 1.0,
) -> list[Frame]:  # fmt: skip
    """A pan of a photo by `step` pixels per frame, or a zoom by a factor per frame."""
    photo = getattr(skimage.data, name)()
    image = Image.fromarray(photo if photo.ndim == 3 else np.stack([photo] * 3, -1))
    first = 0.7 * min(image.height / height, image.width / width)
    frames = []
    for number in range(count):
        scale = first * zoom**number
        x, y = image.width / 2, image.height / 2
        if step:
            x = first * (width / 2 + step * number) + 4
            y = first * (height / 2 + 0.3 * step * number) + 4
        box = (scale, 0, x - scale * width / 2, 0, scale, y - scale * height / 2)
        frame = image.transform(
            (width, height), Image.Transform.AFFINE, box, Image.Resampling.BICUBIC
        )
        frames.append(Frame(np.asarray(frame), x, y, scale))
    return frames


def source_positions(
    before: Frame, after: Frame, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of each pixel of `after` in `before`, on a grid of height x width."""
    full_height, full_width = after.rgb.shape[:2]
    step = full_height / height
    rows, columns = (np.mgrid[:height, :width] + 0.5) * step
    y = after.y + (rows - full_height / 2) * after.scale
    x = after.x + (columns - full_width / 2) * after.scale
    old_rows = (y - before.y) / before.scale + full_height / 2
    old_columns = (x - before.x) / before.scale + full_width / 2
    return old_rows / step - 0.5, old_columns / step - 0.5


def to_gray(frames: Sequence[Frame]) -> list[np.ndarray]:
    """The frames as H,W uint8."""
    return [np.asarray(Image.fromarray(frame.rgb).convert("L")) for frame in frames]


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 25,
    times: Sequence[int] | None = None,
    base: Fraction | None = None,
    sounds: int = 0,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """Encode frames (H,W or H,W,3 uint8) shown at `times` in units of `base`."""
    import av

    height, width = frames[0].shape[:2]
    default = {"crf": "12"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            codec, rate=rate, width=width, height=height, options=options or default
        )
        stream.pix_fmt = pixels
        if base:
            stream.codec_context.time_base = base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        container.metadata.update(tags or {})
        tracks = [container.add_stream("aac", rate=8000, layout="mono") for _ in range(sounds)]
        container.start_encoding()
        seconds = len(frames) / rate
        for number, track in enumerate(tracks):
            encode_sound(container, track, seconds, 0.1 * (number + 1))
        for number, frame in enumerate(frames):
            video_frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format="rgb24" if frame.ndim == 3 else "gray"
            )
            video_frame.pts = number if times is None else times[number]
            video_frame.time_base = base or Fraction(1, rate)
            container.mux(stream.encode(video_frame))
        container.mux(stream.encode(None))
    return path


def encode_sound(container: Any, track: Any, seconds: float, pitch: float) -> None:
    import av

    wave = (8000 * np.sin(np.arange(int(8000 * seconds)) * pitch)).astype(np.int16)
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "s16", "mono")
        frame.sample_rate, frame.pts = 8000, start
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def colorize(
    source: Path,
    colorizer: Colorizer,
    target: Path | None = None,
    *,
    progress: Callable[[pipeline.VideoProgress], None] = lambda state: None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> pipeline.VideoResult:
    """Colorize a video, into out-NAME.mkv beside it unless a target is given.

    Args:
        options: VideoOptions.
    """
    target = target or source.with_name(f"out-{source.stem}.mkv")
    video_options = pipeline.VideoOptions(colorizer.decode, **options)
    return pipeline.colorize_video(
        source, target, colorizer, video_options, progress=progress, stop=stop
    )


def stop_after(count: int) -> Callable[[], bool]:
    """A function that returns True after `count` calls."""
    calls = iter(range(count))
    return lambda: next(calls, None) is None


def decode(path: Path) -> list[Any]:
    """All frames of a video as av.VideoFrame."""
    import av

    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def frame_times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    return [frame.pts * frame.time_base for frame in decode(path)]


def read_luma(path: Path) -> np.ndarray:
    """N,H,W luma codes."""
    with reader.VideoReader(path) as video:
        return np.stack([yuv.extract_luma(f, video.pixel_format) for f in video.frames()])


def read_chroma(frame: Any) -> np.ndarray:
    """2,h,w: the Cb and Cr planes of an 8-bit frame, 0 for gray."""
    planes = []
    for plane in frame.planes[1:]:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
        planes.append(rows.astype(int) - 128)
    return np.stack(planes)


def video_packets(path: Path) -> list[tuple[int, bytes]]:
    """Time and content of each packet of the first video stream."""
    import av

    with av.open(str(path)) as container:
        return [(p.pts, bytes(p)) for p in container.demux(video=0) if p.size]


def audio_packets(path: Path, number: int = 0) -> list[bytes]:
    """The packets of a sound track."""
    import av

    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=number) if packet.size]
