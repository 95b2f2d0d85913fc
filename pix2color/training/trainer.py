"""The loop: batches in, steps under accelerate, the averaged weights out.

Progress is counted in samples over all processes. The loop takes batches by their first sample's
number, sums the step's named losses by the recipe's weights, and at sample counts of the config
logs, validates, draws and saves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from pix2color.build import TrainingComponents
from pix2color.checkpoints import checkpoint
from pix2color.config import Config
from pix2color.data.loader import Batch, BatchSource
from pix2color.errors import TrainingError
from pix2color.evaluation.frechet import Backbone
from pix2color.evaluation.protocol import validate
from pix2color.evaluation.registry import lower_is_better
from pix2color.models.generator import Generator
from pix2color.training import checkpointing, steps
from pix2color.training.events import Figures, TrainEvent, TrainResult
from pix2color.training.metrics_log import MetricAverager, MetricsLogger, draw_curves, flat
from pix2color.training.simulated_hints import sample_hints
from pix2color.training.visualize import sample_grid, save_picture


class Trainer:
    """Trains the parts of a recipe.

    Args:
        config: resolved.
        parts: of `recipe.build(config)`.
        batches: training crops.
        validation: H,W,3 uint8 photos of the validation figure; only the main process needs them.
        data_facts: what the release file says of the training photos.
        accelerator: its precision and accumulation are used.
        folder: the run folder; made if missing.
        observer: is told the status by the main process.
    """

    def __init__(
        self,
        config: Config,
        parts: TrainingComponents,
        batches: BatchSource,
        validation: Sequence[np.ndarray],
        *,
        data_facts: Mapping[str, Any],
        accelerator: Accelerator,
        folder: Path,
        observer: Callable[[TrainEvent], object] = lambda status: None,
    ) -> None:
        self.config = config
        self.parts = parts
        self.batches = batches
        self.validation = validation[: config.train.num_val_photos]
        self.data_stats = dict(data_facts)
        self.accelerator = accelerator
        self.folder = folder
        self.observer = observer
        self.progress = checkpointing.TrainState()
        self.stop = False
        """Set by a signal handler: the step under way is finished, the state saved."""
        self._figures: dict[str, float] = {}
        self._sign = -1.0 if lower_is_better(config.train.selection_metric) else 1.0
        self._backbone: Backbone | None = None
        """Of FD; only the main process validates."""
        if config.train.fd_backbone and accelerator.is_main_process:
            self._backbone = Backbone(config.train.fd_backbone, device=accelerator.device)
        self._means = MetricAverager()
        self._release: Path | None = None
        self._prepare()

    # --- set-up ----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        config, accelerator, parts = self.config, self.accelerator, self.parts
        train = config.train
        per_pass = train.batch_size * accelerator.num_processes
        self.samples_per_step = per_pass * accelerator.gradient_accumulation_steps
        self.unwrapped_generator: Generator = parts.generator.to(
            device=accelerator.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self.head = self.unwrapped_generator.head
        self.ema = checkpointing.make_ema(
            self.unwrapped_generator,
            half_life=config.optim.ema_half_life_samples,
            samples_per_step=self.samples_per_step,
        )
        compiled = (
            torch.compile(self.unwrapped_generator) if train.compile else self.unwrapped_generator
        )
        self.generator, self.optimizer = accelerator.prepare(compiled, parts.optimizer)
        self.discriminator: nn.Module | None = None
        if parts.discriminator is not None:
            self.discriminator, self.discriminator_optimizer = accelerator.prepare(
                parts.discriminator, parts.discriminator_optimizer
            )
        if parts.perceptual is not None:
            parts.perceptual.to(accelerator.device)

    def resume(self) -> None:
        """Go on from the newest state in the run folder, with the rates of this config.

        Raises:
            TrainingError: there is none, or it is of another recipe.
        """
        checkpointing.restore(
            self.accelerator, self.folder / "state", self.ema, self.progress, self._optimizers()
        )
        release = self.folder / "release.safetensors"
        self._release = release if release.is_file() else None

    # --- the loop --------------------------------------------------------------------------------

    def fit(self) -> TrainResult:
        """Train until the budget is spent or `stop` is set; saves at the end in either case.

        The accelerator stays in use; who made it calls its `end_training` last.

        Raises:
            TrainingError: too many steps in a row had non-finite gradients.
        """
        try:
            return self._fit()
        finally:
            self.batches.close()

    def _fit(self) -> TrainResult:
        train, progress, main = self.config.train, self.progress, self.accelerator.is_main_process
        self.folder.mkdir(parents=True, exist_ok=True)
        if main:
            resumed = progress.samples if progress.steps else None
            self.log = MetricsLogger(self.folder, resumed_at=resumed)
        self._trackers_start()
        self._mark = (time.perf_counter(), progress.samples, self.batches.wait_seconds)
        saved_at, in_row = time.perf_counter(), 0
        finished = self._progress_fraction() >= 1
        if progress.steps == 0 and not finished:
            self._validate()
        while not finished and not self._any_rank(self.stop):
            before = progress.samples
            started = time.perf_counter()
            taken = self._step()
            progress.seconds += time.perf_counter() - started
            progress.samples += self.samples_per_step
            progress.steps += 1
            in_row = 0 if taken else in_row + 1
            progress.skipped += not taken
            if in_row > train.max_consecutive_nonfinite_steps:
                raise TrainingError(
                    f"{in_row} steps in a row had non-finite gradients: lower optim.*_rate, set "
                    "train.mixed_precision to no, or a smaller gan.weight; the last state is kept"
                )
            self._sync_elapsed()
            finished = self._progress_fraction() >= 1
            self._notify("step", {})
            if self._crossed(before, train.log_every_samples) or finished:
                self._log()
            if self._crossed(before, train.validate_every_samples) or finished:
                self._validate()
            late = time.perf_counter() - saved_at > 60 * (train.save_every_minutes or math.inf)
            if self._crossed(before, train.save_every_samples) or self._any_rank(late):
                self._save()
                saved_at = time.perf_counter()
        self._save()
        return TrainResult(
            samples=progress.samples,
            seconds=progress.seconds,
            rate=progress.samples / max(progress.seconds, 1e-9),
            skipped=progress.skipped,
            best=self._sign * progress.best,
            best_samples=progress.best_samples,
            metrics=self._figures,
            release=self._release,
            finished=finished,
        )

    def _step(self) -> bool:
        """One optimizer step of each network; False when non-finite gradients left it out."""
        self._set_lr()
        self.generator.train()
        ok = True
        size = self.config.train.batch_size
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        for part in range(self.accelerator.gradient_accumulation_steps):
            first = self.progress.samples + (part * world + rank) * size
            batch = self.batches.get(first, size)
            with self._accumulate():
                ok = self._micro_batch(batch) and ok
        if not ok:
            self._restore_statistics()
        elif not self._discriminator_only():
            self.ema.update_parameters(self.unwrapped_generator)
        return ok

    def _restore_statistics(self) -> None:
        """Batch statistics as after the last good step: the average holds a copy of them.

        Batch norms take them in the forward pass, so leaving out the step comes too late; and a NaN
        would stay in their running means for ever.
        """
        kept = dict(self.ema.module.named_buffers())
        for name, buffer in self.unwrapped_generator.named_buffers():
            buffer.copy_(kept[name])

    def _micro_batch(self, batch: Batch) -> bool:
        """Forward and backward of one batch, and the step where accumulation is complete."""
        seen = batch.input_lightness.contiguous(memory_format=torch.channels_last)
        critic_only = self._discriminator_only()
        with torch.set_grad_enabled(not critic_only):
            raw = self._forward(seen, batch)
        losses: dict[str, Tensor] = {}
        ok = True
        fake = None
        gan = self.config.gan
        if self.discriminator is not None:
            fake = steps.fake_lab(raw, batch, head=self.head, gan=gan)
            self.discriminator.train()
            self.discriminator.requires_grad_(True)
            losses |= steps.discriminator_losses(
                self.discriminator, batch.target_lab, fake, mode=gan.loss
            )
            ok = self._backward_and_step(
                losses["discriminator"], self.discriminator, self.discriminator_optimizer
            )
        if not critic_only:
            losses |= steps.reconstruction_losses(
                raw,
                batch,
                head=self.head,
                ab_losses=self.parts.ab_losses,
                perceptual=self.parts.perceptual,
            )
            if self.discriminator is not None and fake is not None and gan.weight > 0:
                # Its weights must not gather gradients that are not its own.
                self.discriminator.requires_grad_(False)
                losses |= steps.adversarial_losses(self.discriminator, fake, mode=gan.loss)
            total = steps.weighted_sum(losses, self.parts.weights)
            losses["loss"] = total
            ok = self._backward_and_step(total, self.generator, self.optimizer) and ok
        if ok:
            self._means.update(losses)
        return ok

    def _forward(self, seen: Tensor, batch: Batch) -> Tensor:
        """The generator's output for what it sees, with hints where the network takes them."""
        further: tuple[Tensor, ...] = ()
        if self.unwrapped_generator.hint_input is not None:
            cells = F.avg_pool2d(batch.target_lab[:, 1:], self.unwrapped_generator.stride)
            further = (sample_hints(cells, batch.seeds),)
        raw: Tensor = self.generator(seen, *further)
        return raw

    def _backward_and_step(self, loss: Tensor, network: nn.Module, optimizer: Any) -> bool:
        """Backward, clip, step. Whether gradients were finite is the same in every process."""
        self.accelerator.backward(loss)
        ok = True
        if self.accelerator.sync_gradients:
            # accelerate's own clipping unscales the gradients of all optimizers: those of the other
            # network, still being summed, would be unscaled a second time at its step.
            self.accelerator.unscale_gradients(optimizer)
            limit = self.config.optim.max_grad_norm or math.inf
            norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
            ok = bool(torch.isfinite(norm))
        # fp16's scaler must see overflows itself: it leaves the step out and lowers its scale.
        if ok or self.accelerator.scaler is not None:
            optimizer.step()
        optimizer.zero_grad()
        return ok

    def _accumulate(self) -> AbstractContextManager[Any]:
        networks = [self.generator]
        if self.discriminator is not None:
            networks.append(self.discriminator)
        context: AbstractContextManager[Any] = self.accelerator.accumulate(*networks)
        return context

    # --- schedule --------------------------------------------------------------------------------

    def _discriminator_only(self) -> bool:
        return self.discriminator is not None and (
            self.progress.samples < self.config.gan.discriminator_warmup_samples
        )

    def _progress_fraction(self) -> float:
        """Of the budget that is spent: of samples or of minutes, whichever is nearer its end."""
        budget, progress = self.config.budget, self.progress
        by_samples = progress.samples / budget.samples if budget.samples else 0.0
        by_time = progress.seconds / (60 * budget.minutes) if budget.minutes else 0.0
        return min(1.0, max(by_samples, by_time))

    def _set_lr(self) -> None:
        """Linear warm-up in samples, then a half cosine over the budget."""
        optim, progress = self.config.optim, self.progress
        warm = min(1.0, (progress.samples + self.samples_per_step) / max(optim.warmup_samples, 1))
        cool = 1.0
        if optim.schedule == "cosine":
            wave = 0.5 * (1 + math.cos(math.pi * self._progress_fraction()))
            cool = optim.min_lr_ratio + (1 - optim.min_lr_ratio) * wave
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * warm * cool

    def _optimizers(self) -> list[Any]:
        if self.discriminator is None:
            return [self.optimizer]
        return [self.optimizer, self.discriminator_optimizer]

    def _crossed(self, before: int, interval: int) -> bool:
        return self.progress.samples // interval > before // interval

    def _any_rank(self, flag: bool) -> bool:
        """Whether any process says so: loops must end together."""
        if self.accelerator.num_processes == 1:
            return flag
        said = torch.tensor([float(flag)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(said, reduction="sum") > 0)

    def _sync_elapsed(self) -> None:
        """The main process's seconds count, where a budget in minutes sets the rates."""
        if self.accelerator.num_processes > 1 and self.config.budget.minutes:
            from accelerate.utils import broadcast

            clock = torch.tensor([self.progress.seconds], device=self.accelerator.device)
            self.progress.seconds = float(broadcast(clock))

    # --- what is written -------------------------------------------------------------------------

    def _log(self) -> None:
        now, samples, waited = time.perf_counter(), self.progress.samples, self.batches.wait_seconds
        since, from_samples, from_waited = self._mark
        values = self._means.compute()
        seconds = max(now - since, 1e-9)
        values["samples_per_second"] = (samples - from_samples) / seconds
        values["waiting_share"] = (waited - from_waited) / seconds
        values["skipped"] = self.progress.skipped
        self._mark = (now, samples, waited)
        if self.accelerator.is_main_process:
            self.log.write("train", samples, values)
        self.accelerator.log(values, step=samples)
        self._notify("log", values)

    def _validate(self) -> None:
        """Measure the averaged weights; keep them as the release file where they are the best."""
        paused = time.perf_counter()
        if self.accelerator.is_main_process and len(self.validation):
            self._validate_on_main()
        self.accelerator.wait_for_everyone()
        pause = time.perf_counter() - paused
        self._mark = (self._mark[0] + pause, *self._mark[1:])

    def _validate_on_main(self) -> None:
        config, progress = self.config, self.progress
        generator = cast(Generator, self.ema.module)
        figures = validate(
            generator,
            self.validation,
            config.decode,
            device=self.accelerator.device,
            backbone=self._backbone,
        )
        self._figures = figures
        self.log.write("validation", progress.samples, figures)
        self.accelerator.log({f"validation/{k}": v for k, v in figures.items()}, progress.samples)
        self._notify("validation", figures)
        figure = self._sign * figures[config.train.selection_metric]
        if progress.steps and figure > progress.best:
            progress.best, progress.best_samples = figure, progress.samples
            self._release = self.folder / "release.safetensors"
            checkpoint.save(
                self._release,
                generator,
                config=config,
                data={**self.data_stats, "samples": progress.samples},
                figures={"protocol": "validation photos of the run, center", **figures},
            )
        count = config.train.num_sample_photos
        if count:
            generator.eval()
            grid = sample_grid(
                generator,
                self.validation[:count],
                config.decode,
                device=self.accelerator.device,
            )
            save_picture(self.folder / "samples" / f"{progress.samples:09d}.png", grid)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            draw_curves(self.folder)
        checkpointing.save(self.accelerator, self.folder / "state", self.ema, self.progress)

    def _trackers_start(self) -> None:
        if self.config.train.trackers:
            self.accelerator.init_trackers("pix2color", config=flat(self.config.model_dump()))

    def _notify(self, kind: Literal["step", "log", "validation"], figures: Figures) -> None:
        if self.accelerator.is_main_process:
            rate = figures.get("samples_per_second", 0.0)
            samples, total = self.progress.samples, self.config.budget.samples
            if self.config.budget.minutes:
                total = None
            self.observer(
                TrainEvent(samples, total, self._progress_fraction(), rate, figures, kind)
            )
