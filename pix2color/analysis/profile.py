"""How long each stage of coloring takes, one photo at a time, warm."""

from __future__ import annotations

import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pix2color import bands
from pix2color.color.icc_matrix import SRGB
from pix2color.errors import Pix2ColorError
from pix2color.inference import compose, preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.postprocess import upsample_ab
from pix2color.inference.prediction import Prediction
from pix2color.photo import Photo, profiles, read, writing

STAGES = ("decode", "to L", "network", "to ab", "upsample", "to RGB", "encode")


@dataclass(frozen=True)
class Timing:
    """Seconds of each stage of one photo over several runs."""

    name: str
    runtime: str
    megapixels: float
    stages: dict[str, list[float]]

    def median(self, stage: str) -> float:
        return statistics.median(self.stages[stage])

    def spread(self, stage: str) -> float:
        """Half the distance of the quartiles."""
        ordered = sorted(self.stages[stage])
        return (ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]) / 2

    def totals(self) -> list[float]:
        return [sum(times) for times in zip(*self.stages.values(), strict=True)]


def measure(name: str, data: bytes, colorizers: Sequence[Colorizer], *, runs: int) -> list[Timing]:
    """Color a file in memory `runs` times after one unmeasured run; the colorizers take turns."""
    rounds = [
        [colorize_in_stages(data, colorizer)[1] for colorizer in colorizers]
        for _ in range(runs + 1)
    ][1:]
    photo = read(data)
    megapixels = photo.width * photo.height / 1e6
    return [
        Timing(
            name,
            colorizer.runtime.kind,
            megapixels,
            {stage: [each[number][index] for each in rounds] for index, stage in enumerate(STAGES)},
        )
        for number, colorizer in enumerate(colorizers)
    ]


def colorize_in_stages(
    data: bytes, colorizer: Colorizer, clock: Callable[[], float] = time.perf_counter
) -> tuple[bytes, list[float]]:
    """Color the first page of a file as `Colorizer.colorize` does, one stage after the other.

    Args:
        clock: seconds; `time.process_time` counts the processor's, of all cores together.

    Returns:
        The colored file, and the seconds of each stage.
    """
    marks = [clock()]

    def end_stage() -> None:
        marks.append(clock())

    photo = replace(read(data), pages=())
    end_stage()
    info, decode = colorizer.runtime.info, colorizer.decode
    gray = preprocess.gray_values(photo)
    lightness, guide = preprocess.network_input(
        gray, decode.input_size, info.size_multiple, square=info.square_input
    )
    end_stage()
    output = colorizer.runtime.run(lightness[None, None])
    prediction = Prediction(
        output.values[0], lightness, guide, info.log_prior, calibration=info.calibration
    )
    end_stage()
    ab = prediction.ab(decode)
    end_stage()
    full = upsample_ab(ab, prediction.cell_lightness(), guide)
    end_stage()
    color_space, icc = profiles.color_space(photo), photo.icc
    if color_space.is_gray:
        color_space, icc = SRGB, profiles.srgb_profile()
    pixels = compose.compose_rgb(gray, full, color_space)
    end_stage()
    file = io.BytesIO()
    writing.encode(replace(photo, pixels=pixels, icc=icc), file)
    end_stage()
    return file.getvalue(), [after - before for before, after in itertools.pairwise(marks)]


@dataclass(frozen=True)
class Rate:
    """How fast a folder of equal photos is colored."""

    photos: int
    seconds: float
    processor: float
    """Seconds that the cores worked, all together."""
    slowest: str
    """The stage that takes longest for one photo."""
    slowest_seconds: float

    @property
    def bottleneck_ratio(self) -> float:
        """The rate as a share of the rate of the slowest stage alone."""
        return self.photos * self.slowest_seconds / self.seconds

    @property
    def cpu_utilization(self) -> float:
        """The share of the time that the cores were at work, 0..1.

        Near 1, nothing but more cores or less work makes it faster.
        """
        return self.processor / self.seconds / bands.cores()


def measure_throughput(data: bytes, colorizer: Colorizer, timing: Timing, *, photos: int) -> Rate:
    """Color a folder of copies of a file, as infer.py does.

    Args:
        timing: of the same file, one photo at a time.
        photos: how many copies.

    Raises:
        Pix2ColorError: a photo was not done.
    """
    from pix2color.jobs import pipeline
    from pix2color.jobs.planner import plan_jobs

    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "in"
        source.mkdir()
        for number in range(photos):
            (source / f"{number:04}.jpg").write_bytes(data)  # the content says what it is
        jobs = plan_jobs([source], Path(place) / "out").jobs
        options = pipeline.JobOptions(colorizer.decode)
        start, worked = time.perf_counter(), time.process_time()
        for outcome in pipeline.colorize_jobs(jobs, lambda: colorizer, options):
            if outcome.status != "done":
                raise Pix2ColorError(f"{outcome.job.source.name}: {outcome.reason}")
        seconds, processor = time.perf_counter() - start, time.process_time() - worked
    slowest = max(STAGES, key=timing.median)
    return Rate(photos, seconds, processor, slowest, timing.median(slowest))


def synthetic_photo(megapixels: float, container: str, *, seed: int = 0) -> bytes:
    """A gray photo-like picture of a size: smooth shapes, edges and grain, 4:3."""
    width = max(1, round((megapixels * 1e6 * 4 / 3) ** 0.5))
    height = max(1, round(width * 3 / 4))
    random = np.random.default_rng(seed)
    across = np.linspace(0, 12, width, dtype=np.float32)
    pixels = np.empty((height, width), np.uint8)
    for row in range(height):
        y = 9 * row / height
        wave = 128 + 70 * np.sin(across + np.float32(np.sin(y))) + 40 * np.sign(np.sin(across * y))
        grain = random.normal(0, 3, width).astype(np.float32)
        pixels[row] = np.clip(wave + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    writing.encode(Photo(pixels, format=container, encoder_settings={}), file)
    return file.getvalue()
