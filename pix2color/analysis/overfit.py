"""Overfitting checks: can a network memorize a few photos?

The report behind `configs/zhang_cnn_*.yaml` overfits one photo, then more photos with narrower
networks, until nothing is memorized. Its measure is the mean squared error of ab in Lab units: a
gray picture has 300 to 400, a good one 50. The trainer does the work; this module sets it up and
evaluates the photos during the training.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from pix2color import build
from pix2color import config as config_module
from pix2color.checkpoints import checkpoint
from pix2color.color import lab_numpy
from pix2color.color.lab import rgb_to_lab
from pix2color.config import Config
from pix2color.data.decode import Pixels
from pix2color.data.loader import DeviceLoader, InMemorySource
from pix2color.errors import ConfigError, DataError
from pix2color.inference.images import from_array
from pix2color.inference.postprocess import to_pixels
from pix2color.inference.preprocess import gray_values
from pix2color.io import atomic_write
from pix2color.models.generator import Generator
from pix2color.training.events import TrainEvent
from pix2color.training.setup import make_accelerator
from pix2color.training.trainer import Trainer
from pix2color.training.visualize import center_square, colorizer_of

Progress = Callable[[int, int], object]
_ROWS = 6  # photos in a picture
_HELD_OUT_ROWS = 3  # photos in a picture that were not trained on


@dataclass(frozen=True)
class LadderStep:
    """A step of the ladder."""

    photos: int
    width: int
    batch: int
    epochs: int


STEPS = (
    LadderStep(10, 32, 5, 200),
    LadderStep(20, 32, 5, 200),
    LadderStep(20, 16, 5, 400),
    LadderStep(40, 16, 5, 400),
)
"""Those of the report. It does not state the width of its last network: 16 is our reading."""
HELD_OUT = 8
"""Photos of the ladder that are never trained on."""


@dataclass(frozen=True)
class EvalPoint:
    """The error after a number of steps."""

    step: int
    mse: float
    """Mean squared error of ab over the trained photos, Lab units, mean over both channels."""


@dataclass(frozen=True)
class OverfitResult:
    """Errors during and after an overfitting run; means of squares of ab, in Lab units."""

    photos: int
    steps: int
    """That were trained."""
    planned_steps: int
    """More than `steps` where the time limit ended the training."""
    parameters: int
    seconds: float
    gray_mse: float
    """Of gray pictures of the trained photos."""
    evaluations: tuple[EvalPoint, ...]
    held_out_mse: float | None
    """At the end, of photos that were not trained on."""
    held_out_gray_mse: float | None

    @property
    def final_mse(self) -> float:
        """The error at the end."""
        return self.evaluations[-1].mse


def overfit(
    config: Config,
    photos: Sequence[Pixels],
    *,
    steps: int,
    batch: int,
    folder: Path,
    minutes: float | None = None,
    eval_steps: Sequence[int] = (),
    held_out: Sequence[Pixels] = (),
    accelerator: Accelerator | None = None,
    progress: Progress | None = None,
) -> OverfitResult:
    """Train a recipe on a few photos alone, and evaluate them during the training.

    Args:
        config: the recipe; crops, flips, augmentation, averaging and falling rates are switched
            off.
        photos: H,W,3 uint8; their center squares are taken at `data.crop`.
        steps, batch: optimizer steps, and photos per step.
        folder: for `picture.png` (see `draw`), `result.json`, the log and `release.safetensors`.
        minutes: of training steps, after which it ends even if steps are left; None: no limit.
        eval_steps: steps after which the photos are colorized; the last step always is one.
        held_out: photos that are colorized at the end only.
        progress: called with (steps done, steps).

    Raises:
        DataError: no photo.
        TrainingError: gradients were not finite for too long.
    """
    if not photos:
        raise DataError("no photo to memorize")
    plain = _plain(config, folder, steps=steps, batch=batch, minutes=minutes)
    accelerator = accelerator or make_accelerator(plain)
    squares = [center_square(photo, plain.data.crop) for photo in photos]
    eval_steps = sorted({*(step for step in eval_steps if 0 < step < steps), steps})
    trained = _Evaluator(squares, plain, eval_steps, progress)
    source = InMemorySource(squares, plain.data, seed=plain.train.seed)
    torch.manual_seed(plain.train.seed)
    batches = DeviceLoader(source, plain.data, device=accelerator.device)
    trainer = Trainer(
        plain,
        build.build_training(plain),
        batches,
        [],
        data_stats={"photos": len(photos)},
        accelerator=accelerator,
        folder=folder,
        observer=trained.on_event,
    )
    trained.generator = trainer.unwrapped_generator
    summary = trainer.fit()
    steps_done = summary.samples // batch
    if not trained.evaluations or trained.evaluations[-1].step < steps_done:
        trained.evaluate(steps_done)
    shutil.rmtree(folder / "state", ignore_errors=True)  # nobody resumes this
    data_stats = {"photos": len(photos), "samples": summary.samples}
    checkpoint.save(
        folder / "release.safetensors", trainer.unwrapped_generator, config=plain, data=data_stats
    )
    other_squares = [center_square(photo, plain.data.crop) for photo in held_out]
    others = _Evaluator(other_squares, plain, [], None)
    if held_out:
        others.generator = trainer.unwrapped_generator
        others.evaluate(steps_done)
    result = OverfitResult(
        photos=len(photos),
        steps=steps_done,
        planned_steps=steps,
        parameters=sum(p.numel() for p in trainer.unwrapped_generator.parameters()),
        seconds=summary.seconds,
        gray_mse=trained.gray_mse,
        evaluations=tuple(trained.evaluations),
        held_out_mse=others.evaluations[-1].mse if held_out else None,
        held_out_gray_mse=others.gray_mse if held_out else None,
    )
    draw(folder / "picture.png", trained, others if held_out else None)
    atomic_write(folder / "result.json", json.dumps(asdict(result), indent=1))
    return result


def run_ladder(
    photos: Sequence[Pixels],
    *,
    folder: Path,
    ladder: Sequence[LadderStep] = STEPS,
    size: int = 224,
    epoch_fraction: float = 1.0,
    minutes: float | None = None,
    announce: Callable[[str], object] = lambda line: None,
    progress: Progress | None = None,
) -> list[OverfitResult]:
    """Overfit each step of the ladder from new weights, with the same held-out photos.

    Args:
        photos: enough for the largest step and HELD_OUT more.
        folder: gets one folder per step, and `ladder.json`.
        size: side of the photos in pixels.
        epoch_fraction: of the epochs of each step that are trained.
        minutes: of training steps, after which each step of the ladder ends; None: no limit.
        announce: called with one line per step.

    Raises:
        DataError: too few photos; raised before anything is trained.
    """
    needed = max(step.photos for step in ladder) + HELD_OUT
    if len(photos) < needed:
        raise DataError(
            f"the ladder needs {needed} photos, {len(photos)} were found",
            remedy="name more in {data.roots}",
        )
    results = []
    for step in ladder:
        config = config_module.load(
            f"zhang_cnn_w{step.width}.yaml", [f"data.crop={size}", f"decode.input_size={size}"]
        )
        steps = max(1, round(epoch_fraction * step.epochs * step.photos / step.batch))
        result = overfit(
            config,
            photos[HELD_OUT : HELD_OUT + step.photos],
            steps=steps,
            batch=step.batch,
            folder=folder / f"{step.photos}-photos-w{step.width}",
            minutes=minutes,
            eval_steps=(steps // 4, steps // 2),
            held_out=photos[:HELD_OUT],
            progress=progress,
        )
        results.append(result)
        announce(f"{step.photos:3} photos, w {step.width}: {describe(result)}")
    tree = [{**asdict(step), **asdict(r)} for step, r in zip(ladder, results, strict=True)]
    atomic_write(folder / "ladder.json", json.dumps(tree, indent=1))
    return results


def describe(result: OverfitResult) -> str:
    """One line for people."""
    errors = ", ".join(f"{point.mse:.1f} after {point.step}" for point in result.evaluations)
    line = f"MSE of ab {errors} of {result.planned_steps} steps (gray {result.gray_mse:.1f})"
    if result.held_out_mse is not None:
        line += f"; other photos {result.held_out_mse:.1f} (gray {result.held_out_gray_mse:.1f})"
    return line


class _Evaluator:
    """Colorizes photos after given steps, as the observer of a trainer."""

    generator: Generator

    def __init__(
        self,
        squares: Sequence[Pixels],
        config: Config,
        eval_steps: Sequence[int],
        progress: Progress | None,
    ) -> None:
        self.squares = squares
        rgb = [torch.from_numpy(s).permute(2, 0, 1).unsqueeze(0) for s in squares]
        self.lab = [rgb_to_lab(photo) for photo in rgb]
        self.eval_steps = eval_steps
        self.batch_size = config.train.batch_size
        self.decode = config.decode
        self.progress = progress
        self.gray_mse = _mean_square([lab[:, 1:] for lab in self.lab])
        self.evaluations: list[EvalPoint] = []
        self.pictures: list[list[_Pictures]] = []
        """Of each evaluation, the first photos."""

    def on_event(self, event: TrainEvent) -> None:
        """Evaluate where the step is one of `eval_steps`."""
        if event.kind != "step":
            return
        step = event.samples // self.batch_size
        if self.progress is not None:
            self.progress(step, self.eval_steps[-1])
        if step in self.eval_steps:
            self.evaluate(step)

    def evaluate(self, step: int) -> None:
        """Measure the error of all photos and colorize the first ones."""
        device = next(self.generator.parameters()).device
        colorizer = colorizer_of(self.generator, self.decode, device)
        errors = [
            self.generator.predict(lab[:, :1].to(device), self.decode).cpu() - lab[:, 1:]
            for lab in self.lab
        ]
        self.evaluations.append(EvalPoint(step, _mean_square(errors)))
        pictures = []
        for square in self.squares[:_ROWS]:
            gray = gray_values(from_array(square))
            prediction = colorizer.predict(gray)
            ab, lightness = prediction.ab(self.decode), prediction.cell_lightness()
            flat = np.full_like(gray, round(float(gray.mean())))
            pair = (to_pixels(values, ab, lightness, prediction.guide) for values in (gray, flat))
            pictures.append(_Pictures(*pair))
        self.pictures.append(pictures)


class _Pictures(NamedTuple):
    """A photo, H,W,3 uint8, as it is and with its lightness replaced by the mean."""

    normal: Pixels
    flat: Pixels


def _mean_square(errors: Sequence[Tensor]) -> float:
    if not errors:
        return 0.0
    return float(torch.stack([error.square().mean() for error in errors]).mean())


def _plain(
    config: Config, folder: Path, *, steps: int, batch: int, minutes: float | None
) -> Config:
    """The recipe without crops, augmentation, averaging and decay, which hinder overfitting."""
    if config.gan.enabled:
        raise ConfigError("overfitting checks are for recipes without an adversarial stage")
    samples = steps * batch
    changes: dict[str, dict[str, Any]] = {
        "data": {
            "crop_scale": (1.0, 1.0),
            "crop_aspect": 1.0,
            "flip": False,
            "source_weights": {},
            "augment": {"p": 0.0},
        },
        "optim": {"ema_half_life_samples": 0, "schedule": "constant"},
        "budget": {"samples": samples, "minutes": minutes},
        "train": {
            "batch_size": batch,
            "gradient_accumulation_steps": 1,
            "validate_every_samples": samples,
            "save_every_samples": samples,
            "save_every_minutes": None,
            "log_every_samples": batch,
        },
    }
    tree = config.model_dump()
    for section, values in changes.items():
        tree[section] |= values
    tree |= {"output": str(folder), "init_from": None}
    return config_module.from_dict(tree)


def draw(path: Path, trained: _Evaluator, held_out: _Evaluator | None) -> None:
    """Write a picture: per photo a row of gray, every evaluation and truth, and below it the same
    colors at constant lightness."""
    from matplotlib.figure import Figure

    rows = [_rows(trained, index) for index in range(min(_ROWS, len(trained.squares)))]
    titles = ["gray", *(f"step {e.step}: {e.mse:.1f}" for e in trained.evaluations), "truth"]
    if held_out is not None:
        # Held-out photos have only the last evaluation: the cells before it stay empty.
        empty = [None] * (len(trained.evaluations) - 1)
        for index in range(min(_HELD_OUT_ROWS, len(held_out.squares))):
            gray, *colored = _rows(held_out, index)
            rows.append([gray, *empty, *colored])
    height = 3.7 * len(rows) + 0.3
    figure = Figure(figsize=(1.8 * len(titles), height))
    grid = figure.subplots(2 * len(rows), len(titles), squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1 - 0.3 / height, wspace=0.03, hspace=0.1)
    for row, cells in enumerate(rows):
        for column, pictures in enumerate(cells):
            for line, pixels in enumerate(pictures or (None, None)):
                axes = grid[2 * row + line][column]
                axes.axis("off")
                if pixels is not None:
                    axes.imshow(pixels)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    if held_out is not None:
        grid[2 * min(_ROWS, len(trained.squares))][0].set_title("not trained on", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def _rows(photos: _Evaluator, index: int) -> list[_Pictures | None]:
    """Gray, every evaluation, and truth of one photo."""
    truth = photos.squares[index]
    gray = gray_values(from_array(truth))
    level = round(float(gray.mean()))
    lab = lab_numpy.rgb_to_lab(truth.astype(np.float32) / 255)
    lab[..., 0] = lab_numpy.rgb_to_lab(np.full(3, level / 255, np.float32))[0]
    flat_truth = np.rint(255 * lab_numpy.lab_to_rgb_in_gamut(lab)).astype(np.uint8)
    gray_rgb = np.repeat(gray[..., None], 3, axis=2)
    colored = [pictures[index] for pictures in photos.pictures]
    return [
        _Pictures(gray_rgb, np.full_like(gray_rgb, level)),
        *colored,
        _Pictures(truth, flat_truth),
    ]
