"""The task that is trained: which losses a batch gives, and which networks they update.

The trainer applies a task's updates in order and knows neither color nor loss.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.build import TrainingComponents
from pix2color.config import Config
from pix2color.data.loader import Batch
from pix2color.training import steps
from pix2color.training.simulated_hints import sample_hints


@dataclass(frozen=True)
class Update:
    """A backward pass, and the optimizer step of one network that follows it."""

    loss: Tensor
    """Scalar to minimize."""
    network: nn.Module
    optimizer: torch.optim.Optimizer
    losses: Mapping[str, Tensor]
    """Named scalars for the log; complete after the backward pass."""


class ColorizationTask:
    """Colors of photos: a generator, with a discriminator where the recipe has one.

    Args:
        config: of the training.
        components: networks, losses, weights and optimizers as built.
        generator: the components' generator as accelerate prepared it.
        optimizer: of the generator, prepared.
        discriminator, discriminator_optimizer: prepared; None without an adversarial phase.
        teacher: gives the targets of `loss.distillation`; None without one.
    """

    def __init__(
        self,
        config: Config,
        components: TrainingComponents,
        *,
        generator: nn.Module,
        optimizer: torch.optim.Optimizer,
        discriminator: nn.Module | None,
        discriminator_optimizer: torch.optim.Optimizer | None,
        teacher: steps.Targets | None,
    ) -> None:
        self.gan = config.gan
        self.shown = config.shown_decode()
        self.loss_at = {"targets": config.loss.targets, "enlarge": config.loss.enlarge}
        self.components = components
        self.teacher = teacher
        self.unlabeled = bool(config.data.unlabeled)
        self.distillation_temperature = config.teacher.temperature
        self.generator = generator
        self.optimizer = optimizer
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.head = components.generator.head

    def trains_generator(self, samples: int) -> bool:
        """Whether the generator learns after so many samples: not in a discriminator's warm-up."""
        warmup = self.gan.discriminator_warmup_samples
        return self.discriminator is None or samples >= warmup

    def updates(self, batch: Batch, *, samples: int, steps_before: int) -> Iterator[Update]:
        """The updates of one batch after `samples` samples and `steps_before` steps of training.

        Each is computed when it is asked for, after the one before was applied.
        """
        trains_generator = self.trains_generator(samples)
        with torch.set_grad_enabled(trains_generator):
            raw = self._forward(batch)
        fake = None
        norms: dict[str, Tensor] = {}
        if self.discriminator is not None:
            seen = steps.watched(raw, norms, "gradient_adversarial")
            fake = steps.fake_lab(seen, batch, head=self.head, decode=self.shown)
            penalized = self.gan.r1_gamma > 0 and steps_before % self.gan.r1_every == 0
            yield self._discriminator_update(self.discriminator, batch, fake, penalized=penalized)
        if trains_generator:
            if fake is not None:
                raw = steps.watched(raw, norms, "gradient_reconstruction")
            yield self._generator_update(raw, batch, fake, norms)

    def validation_loss(self, raw: Tensor, batch: Batch) -> Tensor | None:
        """The losses against the truth, weighted as in training; None where these weights are 0.

        Args:
            raw: of the averaged weights, without hints.
            batch: of photos that are not trained on.
        """
        losses, weights = self._reconstruction_losses(raw, batch), self.components.weights
        return steps.weighted_sum(losses, weights) if any(map(weights.get, losses)) else None

    def _reconstruction_losses(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        return steps.reconstruction_losses(
            raw,
            batch,
            head=self.head,
            ab_losses=self.components.ab_losses,
            perceptual=self.components.perceptual,
            **self.loss_at,
        )

    def _forward(self, batch: Batch) -> Tensor:
        """The generator's output, given simulated hints where the network takes hints."""
        lightness = batch.input_lightness.contiguous(memory_format=torch.channels_last)
        hints: tuple[Tensor, ...] = ()
        if self.components.generator.accepts_hints:
            cells = F.avg_pool2d(batch.target_lab[:, 1:], self.components.generator.stride)
            hints = (sample_hints(cells, batch.seeds),)
        raw: Tensor = self.generator(lightness, *hints)
        return raw

    def _discriminator_update(
        self, discriminator: nn.Module, batch: Batch, fake: Tensor, *, penalized: bool
    ) -> Update:
        assert self.discriminator_optimizer is not None
        discriminator.train()
        discriminator.requires_grad_(True)
        losses = steps.discriminator_losses(
            discriminator, batch.target_lab, fake, mode=self.gan.loss
        )
        loss = losses["discriminator"]
        if penalized:
            losses["r1"] = self._gradient_penalty(batch.target_lab)
            loss = loss + 0.5 * self.gan.r1_gamma * self.gan.r1_every * losses["r1"]
        return Update(loss, discriminator, self.discriminator_optimizer, losses)

    def _gradient_penalty(self, real: Tensor) -> Tensor:
        """R1 by the network inside what accelerate prepared, after that had its own forward pass.

        Its `forward` is the class's, not the one that accelerate put on it, which would use mixed
        precision. DistributedDataParallel supports no double backward through itself, but it shares
        the gradients of every backward pass that follows its forward pass, and a weight that
        several terms use gets one gradient: the sum with the penalty's.
        """
        network: nn.Module | None = self.components.discriminator
        assert network is not None
        return steps.gradient_penalty(partial(type(network).forward, network), real)

    def _generator_update(
        self, raw: Tensor, batch: Batch, fake: Tensor | None, norms: dict[str, Tensor]
    ) -> Update:
        """`norms`: where the backward pass writes the watched norms."""
        true, truth = steps.labeled(raw, batch) if self.unlabeled else (raw, batch)
        losses: dict[str, Tensor] = {}
        if len(true):
            losses = self._reconstruction_losses(true, truth)
        if self.teacher is not None:
            losses["distillation"] = steps.distillation_loss(
                raw,
                batch,
                head=self.head,
                teacher=self.teacher,
                temperature=self.distillation_temperature,
            )
        if self.discriminator is not None and fake is not None and self.gan.weight > 0:
            # Its weights must not collect gradients of the generator's loss.
            self.discriminator.requires_grad_(False)
            losses |= steps.adversarial_losses(self.discriminator, fake, mode=self.gan.loss)
        loss = steps.weighted_sum(losses, self.components.weights)
        losses["loss"] = loss
        return Update(loss, self.generator, self.optimizer, ChainMap(losses, norms))
