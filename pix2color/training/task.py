"""The task that is trained: which losses a batch gives, and which networks they update.

The trainer applies a task's updates in order and knows neither color nor loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.build import TrainingComponents
from pix2color.config import GanConfig
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
    losses: dict[str, Tensor]
    """Named scalars for the log."""


class ColorizationTask:
    """Colors of photos: a generator, with a discriminator where the recipe has one.

    Args:
        gan: the adversarial phase.
        components: networks, losses, weights and optimizers as built.
        generator: the components' generator as accelerate prepared it.
        optimizer: of the generator, prepared.
        discriminator, discriminator_optimizer: prepared; None without an adversarial phase.
    """

    def __init__(
        self,
        gan: GanConfig,
        components: TrainingComponents,
        *,
        generator: nn.Module,
        optimizer: torch.optim.Optimizer,
        discriminator: nn.Module | None,
        discriminator_optimizer: torch.optim.Optimizer | None,
    ) -> None:
        self.gan = gan
        self.components = components
        self.generator = generator
        self.optimizer = optimizer
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.head = components.generator.head

    def trains_generator(self, samples: int) -> bool:
        """Whether the generator learns after so many samples: not in a discriminator's warm-up."""
        warmup = self.gan.discriminator_warmup_samples
        return self.discriminator is None or samples >= warmup

    def updates(self, batch: Batch, *, samples: int) -> Iterator[Update]:
        """The updates of one batch after `samples` samples of training.

        Each is computed when it is asked for, after the one before was applied.
        """
        trains_generator = self.trains_generator(samples)
        with torch.set_grad_enabled(trains_generator):
            raw = self._forward(batch)
        fake = None
        if self.discriminator is not None:
            fake = steps.fake_lab(raw, batch, head=self.head, gan=self.gan)
            yield self._discriminator_update(self.discriminator, batch, fake)
        if trains_generator:
            yield self._generator_update(raw, batch, fake)

    def _forward(self, batch: Batch) -> Tensor:
        """The generator's output, given simulated hints where the network takes hints."""
        lightness = batch.input_lightness.contiguous(memory_format=torch.channels_last)
        hints: tuple[Tensor, ...] = ()
        if self.components.generator.hint_input is not None:
            cells = F.avg_pool2d(batch.target_lab[:, 1:], self.components.generator.stride)
            hints = (sample_hints(cells, batch.seeds),)
        raw: Tensor = self.generator(lightness, *hints)
        return raw

    def _discriminator_update(self, discriminator: nn.Module, batch: Batch, fake: Tensor) -> Update:
        assert self.discriminator_optimizer is not None
        discriminator.train()
        discriminator.requires_grad_(True)
        losses = steps.discriminator_losses(
            discriminator, batch.target_lab, fake, mode=self.gan.loss
        )
        loss = losses["discriminator"]
        return Update(loss, discriminator, self.discriminator_optimizer, losses)

    def _generator_update(self, raw: Tensor, batch: Batch, fake: Tensor | None) -> Update:
        losses = steps.reconstruction_losses(
            raw,
            batch,
            head=self.head,
            ab_losses=self.components.ab_losses,
            perceptual=self.components.perceptual,
        )
        if self.discriminator is not None and fake is not None and self.gan.weight > 0:
            # Its weights must not collect gradients of the generator's loss.
            self.discriminator.requires_grad_(False)
            losses |= steps.adversarial_losses(self.discriminator, fake, mode=self.gan.loss)
        loss = steps.weighted_sum(losses, self.components.weights)
        return Update(loss, self.generator, self.optimizer, losses | {"loss": loss})
