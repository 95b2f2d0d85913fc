"""Films made from photos that come with scikit-image: their motion and true colors are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image


@dataclass(frozen=True)
class Take:
    """One frame: a window of a photo."""

    rgb: np.ndarray
    """H,W,3 uint8."""
    x: float
    """Middle of the window in the photo, pixels."""
    y: float
    scale: float
    """Pixels of the photo in a pixel of the frame."""


def shot(
    name: str, frames: int, *, height: int = 48, width: int = 64, step: float = 0.0,
    zoom: float = 1.0,
) -> list[Take]:  # fmt: skip
    """A pan by `step` pixels of the frame, or a zoom by a factor, a frame; over a photo."""
    photo = getattr(skimage.data, name)()
    image = Image.fromarray(photo if photo.ndim == 3 else np.stack([photo] * 3, -1))
    first = 0.7 * min(image.height / height, image.width / width)
    takes = []
    for number in range(frames):
        scale = first * zoom**number
        x, y = image.width / 2, image.height / 2
        if step:
            x = first * (width / 2 + step * number) + 4
            y = first * (height / 2 + 0.3 * step * number) + 4
        box = (scale, 0, x - scale * width / 2, 0, scale, y - scale * height / 2)
        frame = image.transform(
            (width, height), Image.Transform.AFFINE, box, Image.Resampling.BICUBIC
        )
        takes.append(Take(np.asarray(frame), x, y, scale))
    return takes


def places(before: Take, after: Take, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns at which each pixel of `after` lies in `before`, on a grid of a size."""
    full_height, full_width = after.rgb.shape[:2]
    step = full_height / height
    rows, columns = (np.mgrid[:height, :width] + 0.5) * step
    y = after.y + (rows - full_height / 2) * after.scale
    x = after.x + (columns - full_width / 2) * after.scale
    old_rows = (y - before.y) / before.scale + full_height / 2
    old_columns = (x - before.x) / before.scale + full_width / 2
    return old_rows / step - 0.5, old_columns / step - 0.5


def gray(takes: Sequence[Take]) -> list[np.ndarray]:
    """The frames as H,W uint8."""
    return [np.asarray(Image.fromarray(take.rgb).convert("L")) for take in takes]


def write(
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
    """A film of frames (H,W or H,W,3 uint8) shown at `times` in units of `base`."""
    import av

    height, width = frames[0].shape[:2]
    fine = {"crf": "12"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            codec, rate=rate, width=width, height=height, options=options or fine
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
            _sound(container, track, seconds, 0.1 * (number + 1))
        for number, frame in enumerate(frames):
            made = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format="rgb24" if frame.ndim == 3 else "gray"
            )
            made.pts = number if times is None else times[number]
            made.time_base = base or Fraction(1, rate)
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    return path


def _sound(container: Any, track: Any, seconds: float, pitch: float) -> None:
    import av

    wave = (8000 * np.sin(np.arange(int(8000 * seconds)) * pitch)).astype(np.int16)
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "s16", "mono")
        frame.sample_rate, frame.pts = 8000, start
        container.mux(track.encode(frame))
    container.mux(track.encode(None))
