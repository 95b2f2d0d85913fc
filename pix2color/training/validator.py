"""Validation during a training: figures, the best weights, and sample pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.color.lab import rgb_to_lab
from pix2color.config import Config
from pix2color.data.loader import Batch
from pix2color.evaluation.frechet import Backbone
from pix2color.evaluation.protocol import crop_photo, stack, validate
from pix2color.evaluation.registry import lower_is_better
from pix2color.models.generator import Generator
from pix2color.training.checkpointing import TrainState
from pix2color.training.visualize import sample_grid, save_picture


class Validator:
    """Measures a generator on fixed photos and keeps the best weights as a release file.

    Args:
        config: of the training.
        photos: H,W,3 uint8; the first `train.num_val_photos` are used, and none means no figures.
        data_stats: what the release file records about the training photos.
        folder: the run folder.
        device: where the generator runs.
    """

    def __init__(
        self,
        config: Config,
        photos: Sequence[np.ndarray],
        *,
        data_stats: Mapping[str, Any],
        folder: Path,
        device: torch.device,
    ) -> None:
        self.config = config
        self.photos = photos[: config.train.num_val_photos]
        self.data_stats = data_stats
        self.folder = folder
        self.device = device
        backbone = config.train.fd_backbone
        self._backbone = Backbone(backbone, device=device) if backbone and len(photos) else None
        self._sign = -1.0 if lower_is_better(config.train.selection_metric) else 1.0

    def best(self, state: TrainState) -> float:
        """The best value of `train.selection_metric` so far."""
        return self._sign * state.best

    def release(self, state: TrainState) -> Path | None:
        """The file of the best weights; None where none were kept yet."""
        path = self.folder / "release.safetensors"
        return path if state.best_samples and path.is_file() else None

    def measure(self, generator: Generator) -> dict[str, float]:
        """The validation figures of a generator by the fast protocol (`evaluation.protocol`)."""
        return validate(
            generator,
            self.photos,
            self.config.decode,
            device=self.device,
            backbone=self._backbone,
        )

    @torch.inference_mode()
    def mean_loss(
        self, generator: Generator, compute: Callable[[Tensor, Batch], Tensor | None]
    ) -> dict[str, float]:
        """The loss of the training on the photos' center squares, resized to `data.crop`.

        Args:
            generator: to measure.
            compute: the generator's output and the batch -> the mean loss of its photos; None
                where the recipe has none on the truth.

        Returns:
            `loss`, or nothing.
        """
        generator.eval()
        size, total = self.config.train.batch_size, 0.0
        crop = self.config.data.crop
        for start in range(0, len(self.photos), size):
            photos = [crop_photo(p, "center", crop=None) for p in self.photos[start : start + size]]
            rgb = stack([crop_photo(photo, "resize", crop=crop) for photo in photos], self.device)
            lab = rgb_to_lab(rgb)
            batch = Batch(lab[:, :1], lab)
            loss = compute(generator(batch.input_lightness), batch)
            if loss is None:
                return {}
            total += float(loss) * len(photos)
        return {"loss": total / len(self.photos)} if len(self.photos) else {}

    def keep_best(
        self, generator: Generator, figures: Mapping[str, float], state: TrainState
    ) -> None:
        """Write the weights as the release file where their figure is the best after a step."""
        value = self._sign * figures[self.config.train.selection_metric]
        if not state.steps or value <= state.best:
            return
        state.best, state.best_samples = value, state.samples
        checkpoint.save(
            self.folder / "release.safetensors",
            generator,
            config=self.config,
            data={**self.data_stats, "samples": state.samples},
            figures={"protocol": "validation photos of the run, center", **figures},
        )

    def draw_samples(self, generator: Generator, samples: int) -> None:
        """Write samples/N.png: gray, colorized and true pictures of the first photos."""
        count = self.config.train.num_sample_photos
        if count:
            generator.eval()
            grid = sample_grid(
                generator, self.photos[:count], self.config.decode, device=self.device
            )
            save_picture(self.folder / "samples" / f"{samples:09d}.png", grid)
