"""How much the colors of a film flicker: the tables of docs/video.md.

    python tests/inference/measure_flicker.py            # flicker and accuracy, some minutes
    python tests/inference/measure_flicker.py --speed    # frames a second

Films are made of photos that come with scikit-image, so that the motion of every pixel and its true
colors are known. Flicker is the mean distance in ab between a pixel and the same thing one frame
before, where both are in the picture; cuts are left out. AuC and PSNR are against the truth.
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

import video_factory
from video_factory import Take

from pix2color.color.lab import lab_to_rgb, lightness_to_gray, rgb_to_lab
from pix2color.evaluation import metrics
from pix2color.inference import preprocess
from pix2color.inference.colorizer import Colorizer, upsample_along_edges
from pix2color.video import pipeline, reader
from pix2color.video.stabilizer import Method, TemporalStabilizer, flow_input

KINDS: tuple[Method, ...] = ("none", "filter", "flow")
SIZE = (480, 640)
CHROMA = (240, 320)


@dataclass(frozen=True)
class Film:
    """Frames whose motion is known."""

    takes: list[Take]
    grain: float = 0.0
    """Standard deviation of noise a frame, in codes."""
    flicker: float = 0.0
    """Standard deviation of the brightness, a share."""
    cuts: tuple[int, ...] = ()
    mover: tuple[np.ndarray, ...] = ()
    """Masks of something that moves over the rest by _MOVE pixels a frame; H,W."""


_MOVE = 12


def films(frames: int) -> dict[str, Film]:
    def shot(name: str, **how: float) -> list[Take]:
        return video_factory.shot(name, frames, height=SIZE[0], width=SIZE[1], **how)

    names = ("coffee", "astronaut", "rocket", "chelsea")
    parts = [shot(name, step=3)[: frames // 2] for name in names]
    cuts = tuple(frames // 2 * number for number in range(1, len(parts)))
    return {
        "slow pan": Film(shot("coffee", step=3)),
        "slow pan, 2": Film(shot("astronaut", step=3)),
        "fast pan": Film(shot("rocket", step=9)),
        "zoom": Film(shot("astronaut", zoom=0.985)),
        "zoom, 2": Film(shot("chelsea", zoom=0.98)),
        "grain, brightness": Film(shot("astronaut"), grain=8, flicker=0.04),
        "the same, pan": Film(shot("coffee", step=3), grain=8, flicker=0.04),
        "cuts": Film([take for part in parts for take in part], cuts=cuts),
        "something moves": moving(frames),
    }


def moving(frames: int) -> Film:
    """A disc of one photo crosses another."""
    still, other = (
        video_factory.shot(name, 1, height=SIZE[0], width=SIZE[1])[0] for name in ("coffee", "chelsea")
    )
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    takes, masks = [], []
    for number in range(frames):
        middle = 130 + _MOVE * number
        mask = (rows - 240) ** 2 + (columns - middle) ** 2 < 100**2
        rgb = still.rgb.copy()
        rgb[mask] = np.roll(other.rgb, middle - SIZE[1] // 2, axis=1)[mask]
        takes.append(Take(rgb, still.x, still.y, still.scale))
        masks.append(mask)
    return Film(takes, grain=2, mover=tuple(masks))


def colored(one: Film, colorizer: Colorizer) -> tuple[dict[str, list[np.ndarray]], list]:
    """ab of each frame by every kind, 2,*CHROMA; and the true Lab, 1,3,*CHROMA."""
    draw = np.random.default_rng(0)
    steady = {kind: TemporalStabilizer(kind) for kind in KINDS}
    made: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    truth = []
    for take in one.takes:
        lab = rgb_to_lab(torch.from_numpy(np.array(take.rgb)).permute(2, 0, 1)[None])
        truth.append(torch.nn.functional.avg_pool2d(lab, 2))
        codes = (255 * lightness_to_gray(lab[:, :1])[0, 0]).numpy()
        codes = codes * (1 + one.flicker * draw.normal()) + draw.normal(0, 1, SIZE) * one.grain
        codes = np.rint(codes.clip(0, 255)).astype(np.uint8)
        guess = colorizer.predict(codes)
        guide = preprocess.resize_lightness(codes, CHROMA)
        ab = upsample_along_edges(guess.ab(colorizer.decode).numpy(), guess.cell_lightness(), guide)
        for kind in KINDS:
            made[kind].append(steady[kind](ab, guide, flow_input(guess)))
    return made, truth


def flicker(one: Film, made: list[np.ndarray]) -> float:
    found = []
    for number in range(1, len(made)):
        if number in one.cuts:
            continue
        rows, columns = video_factory.places(one.takes[number - 1], one.takes[number], *CHROMA)
        inside = (rows >= 0) & (rows <= CHROMA[0] - 1) & (columns >= 0) & (columns <= CHROMA[1] - 1)
        if one.mover:
            old, new = (mask[::2, ::2] for mask in one.mover[number - 1 : number + 1])
            columns = columns - new * (_MOVE / 2)
            inside &= new | ~old
        before = [
            ndimage.map_coordinates(plane, (rows, columns), order=1, mode="nearest")
            for plane in made[number - 1]
        ]
        found.append(float(np.hypot(*(made[number] - np.stack(before)))[inside].mean()))
    return float(np.mean(found))


def accuracy(made: list[np.ndarray], truth: list) -> tuple[float, float]:
    """Mean AuC in percent and PSNR in dB."""
    both = []
    for ab, lab in zip(made, truth, strict=True):
        rgb, shown = metrics.render(lab[:, :1], torch.from_numpy(ab)[None])
        auc = metrics.auc(metrics.ab_error(shown, lab[:, 1:]))
        both.append((float(auc), float(metrics.psnr(rgb, lab_to_rgb(lab)))))
    auc, psnr = np.mean(both, axis=0)
    return float(auc), float(psnr)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_flicker(frames: int) -> None:
    colorizer = Colorizer.from_pretrained(device="cpu")
    say("| film | " + " | ".join(f"{kind}: flicker | AuC | PSNR" for kind in KINDS) + " |")
    say("| --- |" + " ---: |" * 3 * len(KINDS))
    every = []
    for name, one in films(frames).items():
        made, truth = colored(one, colorizer)
        row = [(flicker(one, made[kind]), *accuracy(made[kind], truth)) for kind in KINDS]
        every.append(row)
        print_row(name, row)
    print_row("mean", np.mean(every, axis=0).tolist())


def print_row(name: str, row: list) -> None:
    cells = " | ".join(f"{moved:.2f} | {auc:.2f} | {psnr:.2f}" for moved, auc, psnr in row)
    say(f"| {name} | {cells} |")


def print_speed(frames: int) -> None:
    colorizer = Colorizer.from_pretrained(device="cpu")
    say("| film | frames/s | seconds of processor a frame |\n| --- | ---: | ---: |")
    for height, width in ((480, 640), (1080, 1920)):
        with tempfile.TemporaryDirectory() as folder:
            takes = video_factory.shot("coffee", frames, height=height, width=width, step=2)
            source = video_factory.write(Path(folder) / "film.mp4", video_factory.gray(takes))
            options = pipeline.VideoOptions(colorizer.decode)
            pipeline.colorize_video(
                source, Path(folder) / "warm.mp4", colorizer, options, stop=Few(2)
            )
            start, used = time.perf_counter(), time.process_time()
            pipeline.colorize_video(source, Path(folder) / "made.mp4", colorizer, options)
            seconds, used = time.perf_counter() - start, time.process_time() - used
            with reader.Reader(source) as video:
                name = f"{video.signal.width} x {video.signal.height}"
        say(f"| {name} | {frames / seconds:.1f} | {used / frames:.2f} |")


class Few:
    """Says stop after some frames."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--speed", action="store_true")
    chosen = parser.parse_args()
    (print_speed if chosen.speed else print_flicker)(chosen.frames)
