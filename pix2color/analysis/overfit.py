"""What a network can learn by heart: a few photos, trained on again and again.

The report behind `configs/groups_*.yaml` overfits one photo, then climbs a ladder of more photos
and narrower networks until nothing is memorized. Its measure is the mean squared error of ab in
Lab units: a gray picture has 300 to 400, 50 looks good. The trainer does the work; here are its
settings and what is looked at on the way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from pix2color import build
from pix2color import config as config_module
from pix2color.checkpoints import checkpoint
from pix2color.color.lab import lab_to_rgb, reduce_chroma_to_gamut, rgb_to_lab
from pix2color.config import Config
from pix2color.data.decode import Pixels
from pix2color.data.loader import DeviceLoader, InMemorySource
from pix2color.errors import ConfigError, DataError
from pix2color.io import atomic_write
from pix2color.models.generator import Generator
from pix2color.training.events import TrainEvent
from pix2color.training.setup import make_accelerator
from pix2color.training.trainer import Trainer

Progress = Callable[[int, int], object]
_ROWS = 6  # photos in a picture
_OTHERS = 3  # photos in a picture that were not trained on


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
"""The report's. It does not say how wide its last network is: 16 is our reading."""
HELD_OUT = 8
"""Photos of the ladder that are never trained on."""


@dataclass(frozen=True)
class EvalPoint:
    """How far it is at one point."""

    step: int
    mse: float
    """Mean squared error of ab over the trained photos, Lab units, mean over both channels."""


@dataclass(frozen=True)
class OverfitResult:
    """What came of it."""

    photos: int
    steps: int
    parameters: int
    seconds: float
    gray: float
    """Mean squared error of the gray pictures."""
    glances: tuple[EvalPoint, ...]
    others: float | None
    """Mean squared error at the end on photos that were not trained on."""
    others_gray: float | None

    def reached(self) -> float:
        """The error at the end."""
        return self.glances[-1].mse


def overfit(
    config: Config,
    photos: Sequence[Pixels],
    *,
    steps: int,
    batch: int,
    folder: Path,
    looks: Sequence[int] = (),
    others: Sequence[Pixels] = (),
    accelerator: Accelerator | None = None,
    progress: Progress | None = None,
) -> OverfitResult:
    """Train a recipe on a few photos alone, and look at them on the way.

    Args:
        config: the recipe; what crops, mirrors or averages is switched off, the rates do not fall.
        photos: H,W,3 uint8; their center squares are taken at `data.crop`.
        steps, batch: how often, and how many photos each time.
        folder: for `picture.png` (see `draw`), `result.json`, the log and `release.safetensors`.
        looks: steps at which the photos are colored; the last step is always one.
        others: photos to color at the end.
        progress: called with (steps done, steps).

    Raises:
        DataError: no photo.
        TrainingError: gradients were not finite for too long.
    """
    if not photos:
        raise DataError("no photo to memorize")
    plain = _plain(config, folder, steps=steps, batch=batch)
    accelerator = accelerator or make_accelerator(plain)
    squares = [_square(photo, plain.data.crop) for photo in photos]
    seen = _Evaluator(
        squares, plain, sorted({*(s for s in looks if 0 < s < steps), steps}), progress
    )
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
        observer=seen.watch,
    )
    seen.generator = trainer.unwrapped_generator
    summary = trainer.fit()
    shutil.rmtree(folder / "state", ignore_errors=True)  # nobody resumes this
    facts = {"photos": len(photos), "samples": summary.samples}
    checkpoint.save(
        folder / "release.safetensors", trainer.unwrapped_generator, config=plain, data=facts
    )
    strangers = _Evaluator([_square(p, plain.data.crop) for p in others], plain, [steps], None)
    if others:
        strangers.generator = trainer.unwrapped_generator
        strangers.look(steps)
    result = OverfitResult(
        photos=len(photos),
        steps=steps,
        parameters=sum(p.numel() for p in trainer.unwrapped_generator.parameters()),
        seconds=summary.seconds,
        gray=seen.gray,
        glances=tuple(seen.glances),
        others=strangers.glances[-1].mse if others else None,
        others_gray=strangers.gray if others else None,
    )
    draw(folder / "picture.png", seen, strangers if others else None)
    atomic_write(folder / "result.json", json.dumps(asdict(result), indent=1))
    return result


def run_ladder(
    photos: Sequence[Pixels],
    *,
    folder: Path,
    rungs: Sequence[LadderStep] = STEPS,
    size: int = 224,
    share: float = 1.0,
    announce: Callable[[str], object] = lambda line: None,
    progress: Progress | None = None,
) -> list[OverfitResult]:
    """The ladder: each rung from nothing, with the same held-out photos.

    Args:
        photos: enough for the highest rung and HELD_OUT more.
        folder: gets a folder a rung, and `ladder.json`.
        size: side of the photos in pixels.
        share: of each rung's epochs, for a quicker look.
        announce: is given a line a rung.

    Raises:
        DataError: too few photos; said before anything is trained.
    """
    needed = max(rung.photos for rung in rungs) + HELD_OUT
    if len(photos) < needed:
        raise DataError(
            f"the ladder needs {needed} photos, {len(photos)} were found",
            remedy="add photos to {data.roots}",
        )
    results = []
    for rung in rungs:
        width = rung.width
        config = config_module.load(
            f"zhang_cnn_w{width}.yaml", [f"data.crop={size}", f"decode.input_size={size}"]
        )
        steps = max(1, round(share * rung.epochs * rung.photos / rung.batch))
        result = overfit(
            config,
            photos[HELD_OUT : HELD_OUT + rung.photos],
            steps=steps,
            batch=rung.batch,
            folder=folder / f"{rung.photos}-photos-w{width}",
            looks=(steps // 4, steps // 2),
            others=photos[:HELD_OUT],
            progress=progress,
        )
        results.append(result)
        announce(f"{rung.photos:3} photos, w {width}, {steps} steps: {describe(result)}")
    tree = [{**asdict(rung), **asdict(r)} for rung, r in zip(rungs, results, strict=True)]
    atomic_write(folder / "ladder.json", json.dumps(tree, indent=1))
    return results


def describe(result: OverfitResult) -> str:
    """One line for people."""
    way = ", ".join(f"{glance.mse:.1f} after {glance.step}" for glance in result.glances)
    line = f"MSE of ab {way} (gray {result.gray:.1f})"
    if result.others is not None:
        line += f"; other photos {result.others:.1f} (gray {result.others_gray:.1f})"
    return line


class _Evaluator:
    """Colors photos at given steps, as the trainer's observer."""

    generator: Generator

    def __init__(
        self,
        squares: Sequence[Pixels],
        config: Config,
        at: Sequence[int],
        progress: Progress | None,
    ) -> None:
        rgb = [torch.from_numpy(s).permute(2, 0, 1).unsqueeze(0) for s in squares]
        self.lab = [rgb_to_lab(photo) for photo in rgb]
        self.at = at
        self.batch = config.train.batch_size
        self.decode = config.decode
        self.progress = progress
        self.gray = _mean_square([lab[:, 1:] for lab in self.lab])
        self.glances: list[EvalPoint] = []
        self.ab: list[list[Tensor]] = []
        """For each glance, the colors of every photo: 1,2,H,W."""

    def watch(self, status: TrainEvent) -> None:
        """As the trainer's observer."""
        if status.kind != "step":
            return
        step = status.samples // self.batch
        if self.progress is not None:
            self.progress(step, self.at[-1])
        if step in self.at:
            self.look(step)

    def look(self, step: int) -> None:
        """Color all photos now."""
        self.generator.eval()
        device = next(self.generator.parameters()).device
        found = [
            self.generator.predict(lab[:, :1].to(device), self.decode).cpu() for lab in self.lab
        ]
        wrong = [ab - lab[:, 1:] for ab, lab in zip(found, self.lab, strict=True)]
        self.glances.append(EvalPoint(step, _mean_square(wrong)))
        self.ab.append(found)


def _mean_square(errors: Sequence[Tensor]) -> float:
    if not errors:
        return 0.0
    return float(torch.stack([error.square().mean() for error in errors]).mean())


def _plain(config: Config, folder: Path, *, steps: int, batch: int) -> Config:
    """The recipe without all that keeps a network from learning by heart."""
    if config.gan.enabled:
        raise ConfigError("memorizing is for recipes without an adversarial stage")
    samples = steps * batch
    changes: dict[str, dict[str, Any]] = {
        "data": {"crop_scale": (1.0, 1.0), "crop_aspect": 1.0, "flip": False,
                 "augment": {"p": 0.0}},
        "optim": {"ema_half_life_samples": 0, "schedule": "constant"},
        "budget": {"samples": samples, "minutes": None},
        "train": {"batch_size": batch, "gradient_accumulation_steps": 1, "validate_every_samples": samples,
                  "save_every_samples": samples, "save_every_minutes": None, "log_every_samples": batch},
    }  # fmt: skip
    tree = config.model_dump()
    for section, values in changes.items():
        tree[section] |= values
    tree |= {"output": str(folder), "init_from": None}
    return config_module.from_dict(tree)


def _square(photo: Pixels, side: int) -> Pixels:
    """The center square at side x side."""
    short = min(photo.shape[:2])
    top, left = (photo.shape[0] - short) // 2, (photo.shape[1] - short) // 2
    square = Image.fromarray(photo[top : top + short, left : left + short])
    return np.array(square.resize((side, side), Image.Resampling.LANCZOS))


def draw(path: Path, seen: _Evaluator, others: _Evaluator | None) -> None:
    """Write the picture: a row a photo with gray, every glance and the truth, and below it the same
    colors at constant L, where nothing but color is left to see."""
    from matplotlib.figure import Figure

    rows = [_row(seen, index) for index in range(min(_ROWS, len(seen.lab)))]
    titles = ["gray", *(f"step {g.step}: {g.mse:.1f}" for g in seen.glances), "truth"]
    columns = len(titles)
    if others is not None:
        for index in range(min(_OTHERS, len(others.lab))):
            upper, lower = _row(others, index)
            # Only the last glance: the cells before it stay empty.
            empty = [None] * (len(seen.glances) - 1)
            rows.append(([upper[0], *empty, *upper[1:]], [lower[0], *empty, *lower[1:]]))
    height = 3.7 * len(rows) + 0.3
    figure = Figure(figsize=(1.8 * columns, height))
    grid = figure.subplots(2 * len(rows), columns, squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1 - 0.3 / height, wspace=0.03, hspace=0.1)
    for number, cells in enumerate(row for pair in rows for row in pair):
        for axes, cell in zip(grid[number], cells, strict=True):
            axes.axis("off")
            if cell is not None:
                axes.imshow(cell)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    if others is not None:
        grid[2 * min(_ROWS, len(seen.lab))][0].set_title("not trained on", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def _row(looks: _Evaluator, index: int) -> tuple[list[Any], list[Any]]:
    lab = looks.lab[index]
    lightness, truth = lab[:, :1], lab[:, 1:]
    colors = [torch.zeros_like(truth), *(ab[index] for ab in looks.ab), truth]
    constant = lightness.mean().expand_as(lightness)
    return [_cell(lightness, ab) for ab in colors], [_cell(constant, ab) for ab in colors]


def _cell(lightness: Tensor, ab: Tensor) -> np.ndarray:
    rgb = lab_to_rgb(reduce_chroma_to_gamut(torch.cat((lightness, ab), dim=1)))
    return (rgb[0].permute(1, 2, 0) * 255).round().byte().numpy()
