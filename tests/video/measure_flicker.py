"""How much the colors of a video flicker: the tables of docs/video.md.

    python tests/video/measure_flicker.py            # flicker and accuracy, some minutes
    python tests/video/measure_flicker.py --speed    # frames per second

Videos are made of photos that come with scikit-image, so that the motion of every pixel and its
true colors are known. Flicker is the mean distance in ab between a pixel and the same thing one
frame before, where both are visible; cuts are left out. AuC and PSNR are against the truth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

import video_factory as vf
from video_factory import Frame

from pix2color.color.lab import (
    lab_to_rgb,
    lab_to_rgb_in_gamut,
    lightness_to_gray,
    rgb_to_lab,
)
from pix2color.evaluation import metrics
from pix2color.inference import postprocess, preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.video import pipeline, reader
from pix2color.video.stabilizer import Method, TemporalStabilizer, flow_input

METHODS: tuple[Method, ...] = ("none", "filter", "flow")
SIZE = (480, 640)
CHROMA = (240, 320)


@dataclass(frozen=True)
class Sample:
    """Frames whose motion is known."""

    frames: list[Frame]
    grain: float = 0.0
    """Standard deviation of the noise of each frame, in codes."""
    flicker: float = 0.0
    """Standard deviation of the brightness, relative."""
    cuts: tuple[int, ...] = ()
    mover: tuple[np.ndarray, ...] = ()
    """Masks of something that moves over the rest by _MOVE pixels per frame; H,W."""


_MOVE = 12


def samples(frames: int) -> dict[str, Sample]:
    def shot(name: str, **options: float) -> list[Frame]:
        return vf.shot(name, frames, height=SIZE[0], width=SIZE[1], **options)

    names = ("coffee", "astronaut", "rocket", "chelsea")
    parts = [shot(name, step=3)[: frames // 2] for name in names]
    cuts = tuple(frames // 2 * number for number in range(1, len(parts)))
    return {
        "slow pan": Sample(shot("coffee", step=3)),
        "slow pan, 2": Sample(shot("astronaut", step=3)),
        "fast pan": Sample(shot("rocket", step=9)),
        "zoom": Sample(shot("astronaut", zoom=0.985)),
        "zoom, 2": Sample(shot("chelsea", zoom=0.98)),
        "grain, brightness": Sample(shot("astronaut"), grain=8, flicker=0.04),
        "the same, pan": Sample(shot("coffee", step=3), grain=8, flicker=0.04),
        "cuts": Sample([frame for part in parts for frame in part], cuts=cuts),
        "something moves": moving(frames),
    }


def moving(frames: int) -> Sample:
    """A disc of one photo crosses another."""
    still, other = (
        vf.shot(name, 1, height=SIZE[0], width=SIZE[1])[0] for name in ("coffee", "chelsea")
    )
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    windows, masks = [], []
    for number in range(frames):
        middle = 130 + _MOVE * number
        mask = (rows - 240) ** 2 + (columns - middle) ** 2 < 100**2
        rgb = still.rgb.copy()
        rgb[mask] = np.roll(other.rgb, middle - SIZE[1] // 2, axis=1)[mask]
        windows.append(Frame(rgb, still.x, still.y, still.scale))
        masks.append(mask)
    return Sample(windows, grain=2, mover=tuple(masks))


def colorize(sample: Sample, colorizer: Colorizer) -> tuple[dict[str, list[np.ndarray]], list]:
    """ab of each frame by every method, 2,*CHROMA; and the true Lab, 1,3,*CHROMA."""
    rng = np.random.default_rng(0)
    stabilizers = {method: TemporalStabilizer(method) for method in METHODS}
    colors: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    truth = []
    for frame in sample.frames:
        lab = rgb_to_lab(torch.from_numpy(np.array(frame.rgb)).permute(2, 0, 1)[None])
        truth.append(torch.nn.functional.avg_pool2d(lab, 2))
        gray = (255 * lightness_to_gray(lab[:, :1])[0, 0]).numpy()
        gray = gray * (1 + sample.flicker * rng.normal()) + rng.normal(0, 1, SIZE) * sample.grain
        gray = np.rint(gray.clip(0, 255)).astype(np.uint8)
        prediction = colorizer.predict(gray)
        guide = preprocess.resize_lightness(gray, CHROMA)
        ab = postprocess.upsample_ab(
            prediction.ab(colorizer.decode), prediction.cell_lightness(), guide
        )
        for method in METHODS:
            colors[method].append(stabilizers[method](ab, guide, flow_input(prediction)))
    return colors, truth


def flicker(sample: Sample, colors: list[np.ndarray]) -> float:
    changes = []
    for number in range(1, len(colors)):
        if number in sample.cuts:
            continue
        rows, columns = vf.source_positions(
            sample.frames[number - 1], sample.frames[number], *CHROMA
        )
        inside = (rows >= 0) & (rows <= CHROMA[0] - 1) & (columns >= 0) & (columns <= CHROMA[1] - 1)
        if sample.mover:
            old, new = (mask[::2, ::2] for mask in sample.mover[number - 1 : number + 1])
            columns = columns - new * (_MOVE / 2)
            inside &= new | ~old
        before = [
            ndimage.map_coordinates(plane, (rows, columns), order=1, mode="nearest")
            for plane in colors[number - 1]
        ]
        changes.append(float(np.hypot(*(colors[number] - np.stack(before)))[inside].mean()))
    return float(np.mean(changes))


def accuracy(colors: list[np.ndarray], truth: list) -> tuple[float, float]:
    """Mean AuC in percent and PSNR in dB."""
    both = []
    for ab, lab in zip(colors, truth, strict=True):
        rgb = lab_to_rgb_in_gamut(torch.cat((lab[:, :1], torch.from_numpy(ab)[None]), dim=1))
        auc = metrics.auc(metrics.ab_error(rgb_to_lab(rgb)[:, 1:], lab[:, 1:]))
        both.append((float(auc), float(metrics.psnr(rgb, lab_to_rgb(lab)))))
    auc, psnr = np.mean(both, axis=0)
    return float(auc), float(psnr)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_flicker(frames: int) -> None:
    colorizer = Colorizer.from_pretrained(device="cpu")
    say("| video | " + " | ".join(f"{method}: flicker | AuC | PSNR" for method in METHODS) + " |")
    say("| --- |" + " ---: |" * 3 * len(METHODS))
    rows = []
    for name, sample in samples(frames).items():
        colors, truth = colorize(sample, colorizer)
        row = [
            (flicker(sample, colors[method]), *accuracy(colors[method], truth))
            for method in METHODS
        ]
        rows.append(row)
        print_row(name, row)
    print_row("mean", np.mean(rows, axis=0).tolist())


def print_row(name: str, row: list) -> None:
    cells = " | ".join(f"{change:.2f} | {auc:.2f} | {psnr:.2f}" for change, auc, psnr in row)
    say(f"| {name} | {cells} |")


def print_speed(frames: int) -> None:
    colorizer = Colorizer.from_pretrained(device="cpu")
    say("| video | frames/s | CPU seconds per frame |\n| --- | ---: | ---: |")
    for height, width in ((480, 640), (1080, 1920)):
        with tempfile.TemporaryDirectory() as folder:
            shot = vf.shot("coffee", frames, height=height, width=width, step=2)
            source = vf.write_video(Path(folder) / "video.mp4", vf.to_gray(shot))
            options = pipeline.VideoOptions(colorizer.decode)
            pipeline.colorize_video(
                source, Path(folder) / "warm.mp4", colorizer, options, stop=vf.stop_after(2)
            )
            start, used = time.perf_counter(), time.process_time()
            pipeline.colorize_video(source, Path(folder) / "out.mp4", colorizer, options)
            seconds, used = time.perf_counter() - start, time.process_time() - used
            with reader.VideoReader(source) as video:
                name = f"{video.pixel_format.width} x {video.pixel_format.height}"
        say(f"| {name} | {frames / seconds:.1f} | {used / frames:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    (print_speed if arguments.speed else print_flicker)(arguments.frames)
