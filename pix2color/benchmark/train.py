"""Every entry of a benchmark trained, one after the other; what is finished is not trained again.

A pretraining that a GAN recipe starts from stops on its way, once, to leave its weights behind
(`plan.BEFORE`): the GAN recipe goes on from them with the share of the budget that is left.
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
    """How an entry's training ended."""

    name: str
    status: str
    """done | diverged | not run"""
    reason: str = ""
    """Of a status that is not done."""
    note: str = ""
    substitute_encoder: str = ""
    """The encoder in the recipe's own's place."""
    digest: str = ""
    """Of the config."""
    parent: str | None = None
    samples: int = 0
    """Seen, those of the pretraining included."""
    seconds: float = 0.0
    """Of training steps, those of the pretraining included."""
    parent_samples: int = 0
    """The part of `samples` that belongs to the pretraining."""
    parent_seconds: float = 0.0
    rate: float = 0.0
    """Samples a second, of its own training alone."""
    trainable: int = 0
    frozen: int = 0
    """Parameters; of the generator, the classifier of `fusion` included."""

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


def check(entries: Sequence[RecipeRun], out: Path) -> None:
    """Refuse to go on with runs of other settings, before anything is trained.

    Raises:
        ConfigError: a run folder in `out` holds a run of another config, or two recipes are to be
            trained in different precisions.
    """
    # accelerate keeps its precision for the whole process; and it would be no fair comparison.
    precisions = {
        resolve_launch(entry.config).train.mixed_precision: entry.name for entry in entries
    }
    if len(precisions) > 1:
        texts = [f"{precision} ({name})" for precision, name in precisions.items()]
        raise ConfigError(
            f"the recipes differ in train.mixed_precision: {', '.join(texts)}; set one for all in the"
            " plan's defaults.train"
        )
    for entry in entries:
        file = out / "runs" / entry.name / "config.yaml"
        if file.is_file() and _settings(configs.load(file)) != _settings(entry.config):
            raise ConfigError(
                f"{file.parent} holds a run of other settings",
                remedy="remove it, or choose another {out}",
            )


def _settings(config: Config) -> str:
    """Digest of what a run depends on but for where its start lies: that is compared by its
    content, and a report may be moved."""
    return resolve_launch(config).model_copy(update={"init_from": None}).digest()


def check_photos(training: PhotoSet, out: Path) -> None:
    """Refuse to go on with runs of other photos: all recipes are compared on the same ones.

    Raises:
        ConfigError: the runs in `out` had other photos, though their folder is called the same.
    """
    file = out / "runs" / PHOTOS
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != training.digest:
        raise ConfigError(
            f"the recipes in {file.parent} were trained on other photos",
            remedy="remove that folder, or choose another {out}",
        )


def train_all(
    entries: Sequence[RecipeRun],
    photos: Photos,
    out: Path,
    *,
    gan_share: float,
    say: Callable[[str], object],
    observer: Observer,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Train every entry that is not trained yet.

    Args:
        entries: of `plan.entries`; a parent stands before its children.
        photos: for training and validation.
        out: the report's folder.
        gan_share: of the plan.
        say: is given a line an entry.
        observer: is told each entry's status.
        stopped: True ends the training under way after its step, with its state saved.

    Returns:
        An outcome an entry, by name: a GAN recipe follows its pretraining.

    Raises:
        KeyboardInterrupt: `stopped` said so.
        Pix2ColorError: what is no fault of one recipe.
    """
    check_photos(photos[0], out)
    if not (out / "runs" / PHOTOS).is_file():
        atomic_write(out / "runs" / PHOTOS, json.dumps(photos[0].digest, indent=1))
    parents = {entry.parent for entry in entries if entry.parent}
    outcomes: dict[str, Outcome] = {}
    for number, entry in enumerate(entries, start=1):
        if stopped():
            raise KeyboardInterrupt
        job = _TrainingJob(entry, photos, out, say, observer, stopped)
        outcome = job.finished()
        if outcome is None:
            say(f"{number}/{len(entries)} {entry.name}")
            leave_at = 1 - gan_share if entry.name in parents else None
            outcome = job.train(outcomes.get(entry.parent or ""), leave_at=leave_at)
        outcomes[entry.name] = outcome
    return sorted(outcomes.values(), key=lambda outcome: outcome.name)


class _TrainingJob:
    """The training of one entry."""

    def __init__(
        self,
        entry: RecipeRun,
        photos: Photos,
        out: Path,
        say: Callable[[str], object],
        observer: Observer,
        stopped: Callable[[], bool],
    ) -> None:
        self.entry, self.photos, self.out = entry, photos, out
        self.say, self.observer, self.stopped = say, observer, stopped
        self.folder = out / "runs" / entry.name
        self.leave_at: float | None = None
        self.arrived = False
        """At `leave_at`, which a stop may fall together with."""

    def finished(self) -> Outcome | None:
        """What an earlier benchmark left, if it came to an end."""
        file = self.folder / OUTCOME
        if not file.is_file():
            return None
        outcome = Outcome(**json.loads(file.read_text(encoding="utf-8")))
        return replace(
            outcome, note=self.entry.note, substitute_encoder=self.entry.substitute_encoder
        )

    def train(self, parent: Outcome | None, *, leave_at: float | None) -> Outcome:
        """Train to the end of the budget and keep the averaged weights."""
        entry, config = self.entry, resolve_launch(self.entry.config)
        blank = Outcome(
            entry.name,
            "not run",
            entry.unavailable,
            entry.note,
            entry.substitute_encoder,
            config.digest(),
            entry.parent,
        )
        if entry.unavailable:
            return blank  # not kept: what is missing may be there next time
        if parent is not None and parent.status != "done":
            return replace(blank, reason=f"its pretraining {parent.name}: {parent.status}")
        before = self.folder / PRE_GAN
        self.leave_at = leave_at if not before.is_file() else None
        accelerator = make_accelerator(config)
        # Outside the try: a saved state that cannot be read is no fault of the recipe's.
        self.trainer = make_trainer(
            config,
            accelerator=accelerator,
            resume=bool(checkpointing.list_checkpoints(self.folder / "state")),
            photos=self.photos,
            announce=self.say,
            observer=self._observe,
        )
        try:
            summary = self._fit()
        except TrainingError as error:
            # Any other error is the benchmark's own; this one is what came out of the recipe.
            return self._end(replace(blank, status="diverged", reason=str(error)))
        finally:
            accelerator.end_training()
        if not summary.finished:
            raise KeyboardInterrupt
        trainable, frozen = self._sizes()
        done = replace(
            blank,
            status="done",
            reason="",
            samples=summary.samples,
            seconds=summary.seconds,
            rate=summary.rate,
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
        export_run(self.folder, done.release(self.out))
        return self._end(done)

    def _fit(self) -> TrainResult:
        """Train, with a pause where a recipe that starts from this one takes over.

        Raises:
            TrainingError: the training diverged.
        """
        trainer = self.trainer
        summary = trainer.fit()
        if self.arrived or (self.leave_at is not None and summary.finished):
            self._leave(summary)
            if not summary.finished and not self.stopped():
                trainer.stop = False
                summary = trainer.fit()
        if summary.finished:
            _check_finite(trainer.ema.module)
        return summary

    def _sizes(self) -> tuple[int, int]:
        """Trainable and frozen parameters."""
        sizes = {True: 0, False: 0}
        for parameter in self.trainer.unwrapped_generator.parameters():
            sizes[parameter.requires_grad] += parameter.numel()
        return sizes[True], sizes[False]

    def _observe(self, status: TrainEvent) -> None:
        self.arrived = self.leave_at is not None and status.fraction >= self.leave_at
        self.trainer.stop = self.arrived or self.stopped()
        self.observer(self.entry, status)

    def _leave(self, summary: TrainResult) -> None:
        """Keep the weights as they are now for the recipe that starts from them."""
        self.leave_at, self.arrived = None, False
        facts: Mapping[str, Any] = {"samples": summary.samples, "seconds": summary.seconds}
        checkpoint.save(
            self.folder / PRE_GAN,
            self.trainer.ema.module,
            config=self.entry.config,
            data=facts,
        )

    def _end(self, outcome: Outcome) -> Outcome:
        """Remember the outcome; what only resuming needs is removed."""
        atomic_write(self.folder / OUTCOME, json.dumps(asdict(outcome), indent=1))
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        return outcome


def _check_finite(network: nn.Module) -> None:
    """A budget can end before so many steps are left out that the trainer gives up.

    Raises:
        TrainingError: a weight is not finite as release files hold it.
    """
    for name, value in network.state_dict().items():
        stored = value if release_file.keep_float32(name) else value.half()
        if value.is_floating_point() and not stored.isfinite().all():
            raise TrainingError(f"{name} is not finite at the end: lower optim.*_rate")
