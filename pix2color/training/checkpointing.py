"""Saving and restoring the state of a training.

`state/samples-N/` holds accelerate's `save_state` (networks, optimizers, scaler, random numbers of
each process), the averaged weights as `ema.safetensors` and `TrainState` as `progress.json`. It is
written beside its name and renamed, and the last two are kept, so that a kill at any moment costs
one interval at most. PyTorch unpickles only its list of safe types.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from json import JSONDecodeError
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pix2color.errors import TrainingError

Tensors = tuple[Tensor, ...] | list[Tensor]
_KEPT = 2
_EMA = "ema.safetensors"
_PROGRESS = "progress.json"


@dataclass
class TrainState:
    """Progress of a training. `samples` is also the position in the data (see data.loader)."""

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    """Time of the steps alone, without validating and saving."""
    skipped: int = 0
    """Steps skipped because of non-finite gradients."""
    best: float = float("-inf")
    """The best validation figure so far; negated where lower is better."""
    best_samples: int = 0

    def load(self, path: Path) -> None:
        """Read a file of `save`; raises ValueError for another file."""
        tree = json.loads(path.read_text(encoding="utf-8"))
        names = {field.name for field in fields(self)}
        if not isinstance(tree, dict) or tree.keys() != names:
            raise ValueError(f"{path.name} does not hold {', '.join(sorted(names))}")
        for name, value in tree.items():
            setattr(self, name, value)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def make_ema(generator: nn.Module, *, half_life: int, samples_per_step: int) -> AveragedModel:
    """An exponential moving average of the weights; batch statistics are copied.

    The decay rises as min(d, (1 + n) / (10 + n)), so that the first weights soon count little.

    Args:
        generator: unwrapped.
        half_life: in samples; 0: the average is the weights themselves.
        samples_per_step: over all processes.
    """
    decay = 0.5 ** (samples_per_step / half_life) if half_life else 0.0

    def update(means: Tensors, news: Tensors, count: Tensor | int) -> None:
        # Not `count`, which is on the device: reading it would wait for the device at each step.
        n = float(average.n_averaged)
        share = min(decay, (1 + n) / (10 + n)) if half_life else 0.0
        torch._foreach_lerp_(list(means), list(news), 1 - share)

    average = AveragedModel(generator, multi_avg_fn=update)
    return average


def save(accelerator: Accelerator, folder: Path, ema: AveragedModel, progress: TrainState) -> None:
    """Write `folder/samples-N`, then drop all but the last two. Called by every process.

    Machines that do not share a disk each keep a complete state of their own.
    """
    final = folder / f"samples-{progress.samples:09d}"
    aside = folder / f".{final.name}.part"
    if accelerator.is_main_process:
        _make_aside(aside)
    accelerator.wait_for_everyone()
    # A listing, because network disks look up single names in their caches.
    own_disk = not folder.is_dir() or aside.name not in {p.name for p in folder.iterdir()}
    accelerator.wait_for_everyone()
    writes = accelerator.is_main_process or (own_disk and accelerator.is_local_main_process)
    if own_disk and writes:
        _make_aside(aside)
    accelerator.wait_for_everyone()
    accelerator.project_configuration.save_on_each_node = own_disk
    accelerator.save_state(str(aside))
    if writes:
        tensors = {name: value.cpu().contiguous() for name, value in ema.state_dict().items()}
        save_file(tensors, aside / _EMA)
        progress.save(aside / _PROGRESS)
    accelerator.wait_for_everyone()
    if writes:
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
    # Older states are removed when the new one is complete on all machines, so that they always
    # have one in common.
    accelerator.wait_for_everyone()
    if writes:
        for old in list_checkpoints(folder)[:-_KEPT]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _make_aside(aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    for left_over in aside.parent.glob(".samples-*.part"):  # of a kill during an earlier save
        shutil.rmtree(left_over)
    aside.mkdir()


def list_checkpoints(folder: Path) -> list[Path]:
    """The complete states in a folder, oldest first."""
    return sorted(p for p in folder.glob("samples-*") if p.is_dir())


def _newest_of_all(accelerator: Accelerator, states: list[Path]) -> Path | None:
    """The newest state that every process has; None where one has none."""
    samples = int(states[-1].name.split("-")[-1]) if states else -1
    every = accelerator.gather(torch.tensor([samples], device=accelerator.device))
    oldest = int(every.min())
    return next((path for path in states if path.name == f"samples-{oldest:09d}"), None)


def averaged_weights(saved_state: Path) -> dict[str, Tensor]:
    """The averaged weights of one saved state, by the generator's names."""
    prefix = "module."
    tensors = load_file(saved_state / _EMA)
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def restore(
    accelerator: Accelerator,
    folder: Path,
    ema: AveragedModel,
    progress: TrainState,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Load the newest state of a folder into everything that was prepared, `ema` and `progress`.

    Rates and the other options of the optimizers stay as they are: they are the config's.

    Raises:
        TrainingError: there is none, it cannot be read, or it is of another recipe.
    """
    states = list_checkpoints(folder)
    newest = _newest_of_all(accelerator, states)
    if newest is None:
        raise TrainingError(
            f"nothing to resume in {folder} that every process has; start a new run"
        )
    if not (newest / _EMA).is_file():
        raise TrainingError(
            f"{newest} has no {_EMA}: an earlier version of pix2color wrote it; resume with that"
        )
    groups = [_options(optimizer) for optimizer in optimizers]
    try:
        accelerator.load_state(str(newest), load_kwargs={"weights_only": True})
        ema.load_state_dict(load_file(newest / _EMA))
        progress.load(newest / _PROGRESS)
    except (SafetensorError, UnpicklingError, EOFError, OSError, JSONDecodeError) as error:
        remedy = "delete it to go on from the one before" if len(states) > 1 else "start again"
        raise TrainingError(f"{newest} cannot be read ({error!s:.100}): {remedy}") from None
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{newest} is of another recipe: resume with the config it was started with "
            f"({str(error).splitlines()[0]:.100})"
        ) from None
    for optimizer, options in zip(optimizers, groups, strict=True):
        if [group.keys() for group in _options(optimizer)] != [group.keys() for group in options]:
            raise TrainingError(
                f"{newest} is of another optimizer: resume with the optim.name it was started with"
            )
        for group, own in zip(optimizer.param_groups, options, strict=True):
            group.update(own)
        # Again, so that what depends on the options, such as where counts of steps lie, follows.
        optimizer.load_state_dict(optimizer.state_dict())


def _options(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The options of each parameter group, without the parameters."""
    return [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
