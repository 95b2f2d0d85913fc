"""The training loop: batches in, optimizer steps under accelerate, averaged weights out.

Progress is counted in samples over all processes. The loop takes batches by the number of their
first sample, applies the updates of its task, and logs, validates and saves at sample counts that
the config sets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from pix2color.build import TrainingComponents
from pix2color.config import Config
from pix2color.data.loader import BatchSource
from pix2color.errors import TrainingError
from pix2color.models.generator import Generator
from pix2color.training import checkpointing, schedule
from pix2color.training.events import Figures, TrainEvent, TrainResult
from pix2color.training.metrics_log import MetricAverager, MetricsLogger, draw_curves, flat
from pix2color.training.task import ColorizationTask, Update
from pix2color.training.teacher import Teacher
from pix2color.training.teacher_cache import CachedTeacher
from pix2color.training.validator import Validator


class Trainer:
    """Trains the components of a recipe.

    Args:
        config: resolved.
        components: of `build.build_training(config)`.
        batches: training crops.
        validation: H,W,3 uint8 photos of the validation figures; only the main process needs them.
        data_stats: what the release file records about the training photos.
        accelerator: its precision and accumulation are used.
        folder: the run folder; made if missing.
        observer: called with every event, by the main process.
    """

    config: Config
    batches: BatchSource
    accelerator: Accelerator
    folder: Path
    observer: Callable[[TrainEvent], object]
    progress: checkpointing.TrainState
    """Samples, steps and seconds so far, and the best validation figure."""
    stop: bool
    """Set by a signal handler: the training ends after the current step and saves its state."""
    samples_per_step: int
    """Over all processes and accumulated batches."""
    unwrapped_generator: Generator
    """The network itself, on its device; `task.generator` is the one that accelerate wrapped."""
    discriminator: nn.Module | None
    """Prepared by accelerate; None without an adversarial phase."""
    optimizer: torch.optim.Optimizer
    """Of the generator, as `discriminator_optimizer` of the discriminator; prepared."""
    discriminator_optimizer: torch.optim.Optimizer | None
    ema: torch.optim.swa_utils.AveragedModel
    """The averaged weights of the generator, which validation and release files use."""
    task: ColorizationTask
    validator: Validator

    def __init__(
        self,
        config: Config,
        components: TrainingComponents,
        batches: BatchSource,
        validation: Sequence[np.ndarray],
        *,
        data_stats: Mapping[str, Any],
        accelerator: Accelerator,
        folder: Path,
        observer: Callable[[TrainEvent], object] = lambda event: None,
        teacher: Teacher | CachedTeacher | None = None,
    ) -> None:
        self.config = config
        self.batches = batches
        self.accelerator = accelerator
        self.folder = folder
        self.observer = observer
        self.progress = checkpointing.TrainState()
        self.stop = False
        self.validator = Validator(
            config, validation, data_stats=data_stats, folder=folder, device=accelerator.device
        )
        self._figures: dict[str, float] = {}  # of the last validation
        self._means = MetricAverager()
        self._prepare(components, teacher)

    # --- set-up ----------------------------------------------------------------------------------

    def _prepare(
        self, components: TrainingComponents, teacher: Teacher | CachedTeacher | None
    ) -> None:
        config, accelerator = self.config, self.accelerator
        per_batch = config.train.batch_size * accelerator.num_processes
        self.samples_per_step = per_batch * accelerator.gradient_accumulation_steps
        self.unwrapped_generator = components.generator.to(
            device=accelerator.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self.ema = checkpointing.make_ema(
            self.unwrapped_generator,
            half_life=config.optim.ema_half_life_samples,
            samples_per_step=self.samples_per_step,
        )
        generator: Any = self.unwrapped_generator
        if config.train.compile:
            generator = torch.compile(generator)
        generator, self.optimizer = accelerator.prepare(generator, components.optimizer)
        self.discriminator = self.discriminator_optimizer = None
        if components.discriminator is not None:
            self.discriminator, self.discriminator_optimizer = accelerator.prepare(
                components.discriminator, components.discriminator_optimizer
            )
        for frozen in (components.perceptual, teacher):
            if frozen is not None:
                frozen.to(accelerator.device)
        self.task = ColorizationTask(
            config,
            components,
            generator=generator,
            optimizer=self.optimizer,
            discriminator=self.discriminator,
            discriminator_optimizer=self.discriminator_optimizer,
            teacher=teacher,
        )

    def resume(self) -> None:
        """Continue from the newest state in the run folder, with the rates of this config.

        Raises:
            TrainingError: there is none, or it belongs to another recipe.
        """
        checkpointing.restore(
            self.accelerator, self.folder / "state", self.ema, self.progress, self._optimizers()
        )

    # --- the loop --------------------------------------------------------------------------------

    def fit(self) -> TrainResult:
        """Train until the budget is spent or `stop` is set; saves at the end in either case.

        The accelerator stays in use: its `end_training` is left to the caller.

        Raises:
            TrainingError: too many steps in a row had non-finite gradients.
        """
        try:
            self._start_log()
            return self._result(finished=self._fit())
        finally:
            self.batches.close()

    def _fit(self) -> bool:
        """The loop; whether the budget is spent."""
        train, progress = self.config.train, self.progress
        saved_at, failures = time.perf_counter(), 0
        finished = self._spent_fraction() >= 1
        if progress.steps == 0 and not finished:
            self._validate()
        while not finished and not self._any_rank(self.stop):
            samples_before, fraction_before = progress.samples, self._spent_fraction()
            failures = 0 if self._timed_step() else failures + 1
            if failures > train.max_consecutive_nonfinite_steps:
                raise TrainingError(
                    f"{failures} steps in a row had non-finite gradients: lower optim.encoder_lr "
                    "and optim.decoder_lr, set train.mixed_precision to no, or a smaller "
                    "gan.weight; the last state is kept"
                )
            finished = self._spent_fraction() >= 1
            self._notify("step", {})
            if self._crossed(samples_before, train.log_every_samples) or finished:
                self._log()
            if self._validation_due(samples_before, fraction_before) or finished:
                self._validate()
            overdue = time.perf_counter() - saved_at > 60 * (train.save_every_minutes or math.inf)
            if self._crossed(samples_before, train.save_every_samples) or self._any_rank(overdue):
                self._save()
                saved_at = time.perf_counter()
        self._save()
        return finished

    def _result(self, *, finished: bool) -> TrainResult:
        progress = self.progress
        return TrainResult(
            samples=progress.samples,
            seconds=progress.seconds,
            rate=progress.samples / max(progress.seconds, 1e-9),
            skipped=progress.skipped,
            best=self.validator.best(progress),
            best_samples=progress.best_samples,
            metrics=self._figures,
            release=self.validator.release(progress),
            finished=finished,
        )

    # --- one step --------------------------------------------------------------------------------

    def _timed_step(self) -> bool:
        """A step, counted in `progress`; False when it was skipped."""
        progress, started = self.progress, time.perf_counter()
        ok = self._step()
        progress.seconds += time.perf_counter() - started
        progress.samples += self.samples_per_step
        progress.steps += 1
        progress.skipped += not ok
        self._sync_elapsed()
        return ok

    def _step(self) -> bool:
        """One optimizer step of each network; False when non-finite gradients skipped it."""
        self._set_lr()
        self.task.generator.train()
        ok = True
        size, samples = self.config.train.batch_size, self.progress.samples
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        for number in range(self.accelerator.gradient_accumulation_steps):
            batch = self.batches.get(samples + (number * world + rank) * size, size)
            with self._accumulate():
                updates = self.task.updates(
                    batch, samples=samples, steps_before=self.progress.steps
                )
                ok = self._apply(updates) and ok
        if not ok:
            self._restore_batch_statistics()
        elif self.task.trains_generator(samples):
            self.ema.update_parameters(self.unwrapped_generator)
        return ok

    def _apply(self, updates: Iterable[Update]) -> bool:
        """Apply the updates of one batch; False when gradients were not finite."""
        losses: dict[str, Tensor] = {}
        ok = True
        for update in updates:
            ok = self._backward_and_step(update) and ok
            losses |= update.losses
        if ok:
            self._means.update(losses)
        return ok

    def _backward_and_step(self, update: Update) -> bool:
        """Backward, clip, step. The result is the same in every process: gradients are shared."""
        self.accelerator.backward(update.loss)
        ok = True
        if self.accelerator.sync_gradients:
            # Not accelerate's clipping: it unscales the gradients of all optimizers, and those of
            # the other network, still being summed, would be unscaled a second time at its step.
            self.accelerator.unscale_gradients(update.optimizer)
            limit = self.config.optim.max_grad_norm or math.inf
            norm = nn.utils.clip_grad_norm_(update.network.parameters(), limit)
            ok = bool(torch.isfinite(norm))
        # The scaler of fp16 must see overflows: it skips the step itself and lowers its scale.
        if ok or self.accelerator.scaler is not None:
            update.optimizer.step()
        update.optimizer.zero_grad()
        return ok

    def _restore_batch_statistics(self) -> None:
        """Set batch statistics to those after the last good step, of which the average has a copy.

        Batch norms update them in the forward pass, before a step can be skipped, and a NaN would
        never leave their running means.
        """
        buffers = dict(self.ema.module.named_buffers())
        for name, buffer in self.unwrapped_generator.named_buffers():
            buffer.copy_(buffers[name])

    def _accumulate(self) -> AbstractContextManager[Any]:
        networks = [n for n in (self.task.generator, self.discriminator) if n is not None]
        context: AbstractContextManager[Any] = self.accelerator.accumulate(*networks)
        return context

    # --- schedule --------------------------------------------------------------------------------

    def _spent_fraction(self) -> float:
        progress = self.progress
        return schedule.spent_fraction(
            self.config.budget, samples=progress.samples, seconds=progress.seconds
        )

    def _set_lr(self) -> None:
        samples, fraction = self.progress.samples + self.samples_per_step, self._spent_fraction()
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate(
                    group["initial_lr"], self.config.optim, samples=samples, fraction=fraction
                )

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [o for o in (self.optimizer, self.discriminator_optimizer) if o is not None]

    def _crossed(self, samples_before: int, interval: int) -> bool:
        return self.progress.samples // interval > samples_before // interval

    def _validation_due(self, samples_before: int, fraction_before: float) -> bool:
        train = self.config.train
        if train.num_validations is None:
            return self._crossed(samples_before, train.validate_every_samples)
        passed = [
            int(train.num_validations * fraction)
            for fraction in (fraction_before, self._spent_fraction())
        ]
        return self._any_rank(passed[1] > passed[0])  # minutes differ between processes

    def _any_rank(self, flag: bool) -> bool:
        """Whether the flag is set in any process, so that all end their loops together."""
        if self.accelerator.num_processes == 1:
            return flag
        flags = torch.tensor([float(flag)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flags, reduction="sum") > 0)

    def _sync_elapsed(self) -> None:
        """Take the main process's seconds where a budget in minutes sets the rates."""
        if self.accelerator.num_processes > 1 and self.config.budget.minutes:
            seconds = torch.tensor([self.progress.seconds], device=self.accelerator.device)
            self.progress.seconds = float(broadcast(seconds))

    # --- what is written -------------------------------------------------------------------------

    def _start_log(self) -> None:
        progress = self.progress
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.accelerator.is_main_process:
            resumed_at = progress.samples if progress.steps else None
            self._metrics_log = MetricsLogger(self.folder, resumed_at=resumed_at)
        if self.config.train.trackers:
            self.accelerator.init_trackers("pix2color", config=flat(self.config.model_dump()))
        # Time, samples and seconds waited for data at the last log.
        self._last_log = (time.perf_counter(), progress.samples, self.batches.wait_seconds)

    def _log(self) -> None:
        now, samples, waited = time.perf_counter(), self.progress.samples, self.batches.wait_seconds
        last, last_samples, last_waited = self._last_log
        self._last_log = (now, samples, waited)
        values = self._means.compute()
        seconds = max(now - last, 1e-9)
        values["samples_per_second"] = (samples - last_samples) / seconds
        values["waiting_share"] = (waited - last_waited) / seconds
        values["skipped"] = self.progress.skipped
        self._write("log", values)

    def _validate(self) -> None:
        """Measure the averaged weights on the main process; its time does not count as training."""
        started = time.perf_counter()
        if self.accelerator.is_main_process and len(self.validator.photos):
            generator = cast(Generator, self.ema.module)
            self._figures = self.validator.measure(generator)
            self._figures |= self.validator.mean_loss(generator, self.task.validation_loss)
            self._write("validation", self._figures)
            self.validator.keep_best(generator, self._figures, self.progress)
            self.validator.draw_samples(generator, self.progress.samples)
        self.accelerator.wait_for_everyone()
        last, samples, waited = self._last_log
        self._last_log = (last + time.perf_counter() - started, samples, waited)

    def _save(self) -> None:
        if self.accelerator.is_main_process and self.config.train.plot_curves:
            draw_curves(self.folder)
        checkpointing.save(self.accelerator, self.folder / "state", self.ema, self.progress)

    def _write(self, kind: Literal["log", "validation"], values: Figures) -> None:
        """Write values to metrics.jsonl and the trackers, and pass them to the observer."""
        samples, validation = self.progress.samples, kind == "validation"
        if self.accelerator.is_main_process:
            timed = {**values, "seconds": self.progress.seconds}
            self._metrics_log.write("validation" if validation else "train", samples, timed)
        prefix = "validation/" if validation else ""
        self.accelerator.log({prefix + name: v for name, v in values.items()}, step=samples)
        self._notify(kind, values)

    def _notify(self, kind: Literal["step", "log", "validation"], values: Figures) -> None:
        if not self.accelerator.is_main_process:
            return
        budget = self.config.budget
        self.observer(
            TrainEvent(
                samples=self.progress.samples,
                total=None if budget.minutes else budget.samples,
                fraction=self._spent_fraction(),
                rate=values.get("samples_per_second", 0.0),
                metrics=values,
                kind=kind,
            )
        )
