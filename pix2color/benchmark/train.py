"""Trains the recipes of a benchmark one after the other; finished ones are not trained again.

A pretraining that a GAN recipe starts from pauses once to save its weights (`plan.PRE_GAN`): the
GAN recipe continues from them with the rest of the budget.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from pix2color import config as configs
from pix2color.benchmark import code
from pix2color.benchmark.plan import PRE_GAN, RecipeRun
from pix2color.checkpoints import checkpoint, release_file
from pix2color.config import Config
from pix2color.data.dataset import PhotoSet
from pix2color.errors import ConfigError, TrainingError
from pix2color.io import atomic_write
from pix2color.training import checkpointing
from pix2color.training.events import TrainEvent, TrainResult
from pix2color.training.export import export_run
from pix2color.training.setup import make_accelerator, make_trainer, resolve_launch

OUTCOME = "outcome.json"
PHOTOS = "photos.json"
"""In the folder of all runs: the digest of their training photos."""


@dataclass(frozen=True)
class Outcome:
    """The end of a recipe's training."""

    name: str
    status: str
    """done | diverged | not run"""
    reason: str = ""
    """Why the status is not done."""
    note: str = ""
    substitute_encoder: str = ""
    """The encoder in place of the recipe's."""
    digest: str = ""
    """Of the config."""
    code: str = ""
    """Digest of the code that trained it (`code.training_code`)."""
    encoder: str = ""
    """The network whose ImageNet weights it starts from; empty: none."""
    parent: str | None = None
    samples: int = 0
    """Training samples, those of the pretraining included."""
    seconds: float = 0.0
    """Duration of the training steps, those of the pretraining included."""
    parent_samples: int = 0
    """The part of `samples` that belongs to the pretraining."""
    parent_seconds: float = 0.0
    rate: float = 0.0
    """Samples per second, without the pretraining."""
    trainable: int = 0
    frozen: int = 0
    """Parameters of the generator, with the classifier of `fusion`."""

    @property
    def title(self) -> str:
        """The name of its row."""
        return f"{self.name} on {self.substitute_encoder}" if self.substitute_encoder else self.name

    def release(self, out: Path) -> Path:
        """The trained weights."""
        return out / "runs" / self.name / f"{self.name}.safetensors"

    def pretraining_checkpoint(self, out: Path) -> Path | None:
        """The weights that a GAN recipe started from; None for others."""
        return out / "runs" / self.parent / PRE_GAN if self.parent else None


Photos = tuple[PhotoSet, PhotoSet]
"""For training and for validation."""
Observer = Callable[[RecipeRun, TrainEvent], object]


def check(runs: Sequence[RecipeRun], out: Path) -> None:
    """Refuse to continue runs of other settings or code, before any training.

    Raises:
        ConfigError: a run folder in `out` holds a run of another config, rows would be of different
            code, or two recipes are to be trained in different precisions.
    """
    # accelerate has one precision per process; and the comparison would not be fair.
    precisions = {resolve_launch(run.config).train.mixed_precision: run.name for run in runs}
    if len(precisions) > 1:
        texts = [f"{precision} ({name})" for precision, name in precisions.items()]
        raise ConfigError(
            f"the recipes differ in train.mixed_precision: {', '.join(texts)}; set one for all in"
            " the plan's defaults.train"
        )
    for run in runs:
        file = out / "runs" / run.name / "config.yaml"
        if file.is_file() and _settings_digest(configs.load(file)) != _settings_digest(run.config):
            raise ConfigError(
                f"{file.parent} holds a run of other settings",
                remedy="remove it, or choose another {out}",
            )
    code.check(runs, out, finished=OUTCOME)


def _settings_digest(config: Config) -> str:
    """Digest of a run's settings without the path of its start, because a report may be moved."""
    return resolve_launch(config).model_copy(update={"init_from": None}).digest()


def check_photos(training: PhotoSet, out: Path) -> None:
    """Refuse to continue runs of other photos: all recipes are compared on the same ones.

    Raises:
        ConfigError: the runs in `out` were trained on other photos.
    """
    file = out / "runs" / PHOTOS
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != training.digest:
        raise ConfigError(
            f"the recipes in {file.parent} were trained on other photos",
            remedy="remove that folder, or choose another {out}",
        )


def train_all(
    runs: Sequence[RecipeRun],
    photos: Photos,
    out: Path,
    *,
    gan_budget_fraction: float,
    log: Callable[[str], object],
    observer: Observer,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Train every recipe that is not trained yet.

    Args:
        runs: from `plan.resolve_runs`; a parent comes before its children.
        photos: for training and validation.
        out: the report's folder.
        gan_budget_fraction: of the plan.
        log: called with a line per recipe.
        observer: called with each recipe's events.
        stopped: True ends the current training after its step, with its state saved.

    Returns:
        One outcome per recipe, sorted by name: a GAN recipe follows its pretraining.

    Raises:
        KeyboardInterrupt: `stopped` returned True.
        Pix2ColorError: an error that is not of one recipe.
    """
    check_photos(photos[0], out)
    if not (out / "runs" / PHOTOS).is_file():
        atomic_write(out / "runs" / PHOTOS, json.dumps(photos[0].digest, indent=1))
    parents = {run.parent for run in runs if run.parent}
    outcomes: dict[str, Outcome] = {}
    for number, run in enumerate(runs, start=1):
        if stopped():
            raise KeyboardInterrupt
        job = _TrainingJob(run, photos, out, log, observer, stopped)
        outcome = job.finished()
        if outcome is None:
            log(f"{number}/{len(runs)} {run.name}")
            snapshot_at = 1 - gan_budget_fraction if run.name in parents else None
            outcome = job.train(outcomes.get(run.parent or ""), snapshot_at=snapshot_at)
        outcomes[run.name] = outcome
    return sorted(outcomes.values(), key=lambda outcome: outcome.name)


class _TrainingJob:
    """The training of one recipe."""

    def __init__(
        self,
        run: RecipeRun,
        photos: Photos,
        out: Path,
        log: Callable[[str], object],
        observer: Observer,
        stopped: Callable[[], bool],
    ) -> None:
        self.run, self.photos, self.out = run, photos, out
        self.log, self.observer, self.stopped = log, observer, stopped
        self.folder = out / "runs" / run.name
        self.snapshot_at: float | None = None
        self.reached = False
        """Whether the training is at `snapshot_at`, where it may be stopped as well."""

    def finished(self) -> Outcome | None:
        """The outcome of an earlier benchmark, if it finished."""
        file = self.folder / OUTCOME
        if not file.is_file():
            return None
        outcome = Outcome(**json.loads(file.read_text(encoding="utf-8")))
        return replace(outcome, note=self.run.note, substitute_encoder=self.run.substitute_encoder)

    def train(self, parent: Outcome | None, *, snapshot_at: float | None) -> Outcome:
        """Train to the end of the budget and keep the weights."""
        run, config = self.run, resolve_launch(self.run.config)
        blank = Outcome(
            run.name,
            "not run",
            run.unavailable,
            run.note,
            run.substitute_encoder,
            config.digest(),
            encoder=_pretrained_network(config),
            parent=run.parent,
        )
        if run.unavailable:
            return blank  # not stored: the weights may be available next time
        if parent is not None and parent.status != "done":
            return replace(blank, reason=f"its pretraining {parent.name}: {parent.status}")
        before = self.folder / PRE_GAN
        self.snapshot_at = snapshot_at if not before.is_file() else None
        accelerator = make_accelerator(config)
        # Outside the try: a saved state that cannot be read is not a failure of the recipe.
        self.trainer = make_trainer(
            config,
            accelerator=accelerator,
            resume=bool(checkpointing.list_checkpoints(self.folder / "state")),
            photos=self.photos,
            announce=self.log,
            observer=self._observe,
        )
        code.record(self.folder)
        try:
            result = self._fit()
        except TrainingError as error:
            # Any other error is one of the benchmark; this one is the result of the recipe.
            return self._store(replace(blank, status="diverged", reason=str(error)))
        finally:
            accelerator.end_training()
        if not result.finished:
            raise KeyboardInterrupt
        trainable, frozen = self._count_parameters()
        done = replace(
            blank,
            status="done",
            reason="",
            samples=result.samples,
            seconds=result.seconds,
            rate=result.rate,
            trainable=trainable,
            frozen=frozen,
        )
        if parent is not None:
            start = release_file.read(self.out / "runs" / parent.name / PRE_GAN).meta["data"]
            done = replace(
                done,
                parent_samples=start["samples"],
                parent_seconds=start["seconds"],
                samples=done.samples + start["samples"],
                seconds=done.seconds + start["seconds"],
            )
        # Not every network can be exported, and the evaluation runs in torch.
        export_run(self.folder, done.release(self.out), graph=False)
        return self._store(done)

    def _fit(self) -> TrainResult:
        """Train, with a pause to save the weights that another recipe starts from.

        Raises:
            TrainingError: the training diverged.
        """
        trainer = self.trainer
        result = trainer.fit()
        if self.reached or (self.snapshot_at is not None and result.finished):
            self._snapshot(result)
            if not result.finished and not self.stopped():
                trainer.stop = False
                result = trainer.fit()
        if result.finished:
            _check_finite(trainer.ema.module)
        return result

    def _count_parameters(self) -> tuple[int, int]:
        """Trainable and frozen parameters."""
        sizes = {True: 0, False: 0}
        for parameter in self.trainer.unwrapped_generator.parameters():
            sizes[parameter.requires_grad] += parameter.numel()
        return sizes[True], sizes[False]

    def _observe(self, event: TrainEvent) -> None:
        self.reached = self.snapshot_at is not None and event.fraction >= self.snapshot_at
        self.trainer.stop = self.reached or self.stopped()
        self.observer(self.run, event)

    def _snapshot(self, result: TrainResult) -> None:
        """Save the current weights for the recipe that starts from them."""
        self.snapshot_at, self.reached = None, False
        data: Mapping[str, Any] = {"samples": result.samples, "seconds": result.seconds}
        checkpoint.save(
            self.folder / PRE_GAN,
            self.trainer.ema.module,
            config=self.run.config,
            data=data,
        )

    def _store(self, outcome: Outcome) -> Outcome:
        """Write the outcome, and remove the state for resuming."""
        outcome = replace(outcome, code=code.recorded(self.folder))
        atomic_write(self.folder / OUTCOME, json.dumps(asdict(outcome), indent=1))
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        return outcome


def _pretrained_network(config: Config) -> str:
    model = config.model
    if model.pretrained == "none":
        return ""
    return model.fusion.classifier if model.encoder == "fusion" else model.encoder


def _check_finite(network: nn.Module) -> None:
    """Refuse weights that a budget ended on before the trainer noticed that they diverge.

    Raises:
        TrainingError: a weight is not finite in the precision of release files.
    """
    for name, value in network.state_dict().items():
        stored = value if release_file.keep_float32(name) else value.half()
        if value.is_floating_point() and not stored.isfinite().all():
            raise TrainingError(f"{name} is not finite at the end: lower optim.*_lr")
