"""What a training has to remember, and where it lies on disk.

`state/samples-N/` holds accelerate's `save_state` (networks, optimisers, scaler, random numbers of
each process) and with it the averaged weights and `Progress`. It is written beside its name and
renamed, and the last two are kept, so that a kill at any moment costs one interval at most.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pix2color.errors import TrainingError

_KEPT = 2


@dataclass
class Progress:
    """How far a training is. The data position is `samples` itself (see data.loader)."""

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    """Spent in steps; validating and saving do not count."""
    skipped: int = 0
    """Steps left out because of non-finite gradients."""
    best: float = float("-inf")
    """The best validation figure so far."""
    best_samples: int = 0

    def state_dict(self) -> dict[str, Any]:
        """For accelerate."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For accelerate."""
        for key, value in state.items():
            setattr(self, key, value)


def averaged(generator: nn.Module, *, half_life: int, samples_per_step: int) -> AveragedModel:
    """An exponential average of the weights; batch statistics are copied.

    The decay rises as min(d, (1 + n) / (10 + n)), so that the average forgets the start.

    Args:
        generator: unwrapped.
        half_life: in samples; 0: the average is the weights themselves.
        samples_per_step: over all processes.
    """
    decay = 0.5 ** (samples_per_step / half_life) if half_life else 0.0

    def update(mean: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        n = float(count)
        share = min(decay, (1 + n) / (10 + n)) if half_life else 0.0
        return torch.lerp(new, mean, share)

    return AveragedModel(generator, avg_fn=update)


def save(accelerator: Accelerator, folder: Path, samples: int) -> None:
    """Write `folder/samples-N`, then drop all but the last two. Called by every process."""
    final = folder / f"samples-{samples:09d}"
    aside = folder / f".{final.name}.part"
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(".samples-*.part"):  # of a kill during an earlier save
            shutil.rmtree(left_over)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(aside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        for old in saved(folder)[:-_KEPT]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def saved(folder: Path) -> list[Path]:
    """The whole states in a folder, oldest first."""
    return sorted(p for p in folder.glob("samples-*") if p.is_dir())


def restore(accelerator: Accelerator, folder: Path) -> None:
    """Load the newest state of a folder into everything that was prepared and registered.

    Raises:
        TrainingError: there is none, it cannot be read, or it is of another recipe.
    """
    states = saved(folder)
    if not states:
        raise TrainingError(f"nothing to resume in {folder}; start without --resume")
    try:
        accelerator.load_state(str(states[-1]))
    except (SafetensorError, UnpicklingError, EOFError, OSError) as error:
        remedy = "delete it to go on from the one before" if len(states) > 1 else "start anew"
        raise TrainingError(f"{states[-1]} cannot be read ({error!s:.100}): {remedy}") from None
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{states[-1]} is of another recipe: resume with the config it was started with "
            f"({str(error).splitlines()[0]:.100})"
        ) from None
