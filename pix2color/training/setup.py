"""From a config to a trainer that is ready to `fit`: photos, prior, parts, accelerator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed

from pix2color import hub, recipe
from pix2color.ab_bins import Prior, PriorCounter
from pix2color.config import Config, read_yaml
from pix2color.data.loader import Batches, CachedSource, DeviceBatches, Source, StreamSource
from pix2color.data.photos import PhotoSet, load_photos
from pix2color.errors import ConfigError, TrainingError
from pix2color.io import atomic_write, remove_stale
from pix2color.training.status import Status
from pix2color.training.trainer import Trainer

_PRIOR_CROPS = 2048
_PRIOR_CROPS_A_PHOTO = 16
_PRIOR_BATCH = 64


def resolve_start(config: Config, *, announce: Callable[[str], object]) -> Config:
    """The config with an `init_from` that exists.

    A run folder's release that is not there yet is replaced by the packaged weights, where they
    are of the recipe's network, and that is said, with the command that makes it.

    Raises:
        ConfigError: it is missing, and nothing can take its place.
    """
    start = config.init_from
    if start is None or start == "default" or Path(start).is_file() or hub.parse(start):
        return config
    path = Path(start)
    if path.name == "release.safetensors" and path.parent.parent.name == "runs":
        missing = (
            f"init_from {start} is not there: make it with `accelerate launch train.py --config "
            f"{path.parent.name}.yaml`"
        )
        if not recipe.is_packaged(config.model):
            raise ConfigError(missing)
        announce(f"{missing}. Starting from the packaged default weights instead.")
        return config.model_copy(update={"init_from": "default"})
    raise ConfigError(
        f"init_from {start} is not there: give a release file, user/repo of the Hugging Face Hub,"
        " or `default`"
    )


def make_accelerator(config: Config) -> Accelerator:
    """An accelerator with the config's precision, accumulation and trackers.

    Raises:
        ConfigError: the hardware does not do this precision, or a tracker is not installed.
    """
    try:
        accelerator = Accelerator(
            mixed_precision=config.train.precision,
            gradient_accumulation_steps=config.train.accumulation,
            log_with=list(config.train.trackers) or None,
            project_dir=config.output,
        )
    except (ValueError, ImportError) as error:
        raise ConfigError(f"train.precision or train.trackers: {error}") from None
    # accelerate leaves out what is not installed without a word.
    missing = set(config.train.trackers) - {str(tracker) for tracker in accelerator.log_with}
    if missing:
        raise ConfigError(f"train.trackers: {', '.join(sorted(missing))} is not installed")
    if config.train.precision == "fp16" and accelerator.device.type == "cpu":
        raise ConfigError("train.precision: fp16 needs a GPU; use bf16 or no")
    return accelerator


def make_trainer(
    config: Config,
    *,
    accelerator: Accelerator | None = None,
    resume: bool = False,
    photos: tuple[PhotoSet, PhotoSet] | None = None,
    announce: Callable[[str], object] = lambda line: None,
    observer: Callable[[Status], object] = lambda status: None,
    progress: Callable[[int, int], object] | None = None,
) -> Trainer:
    """Everything that comes before the first step.

    Args:
        config: of the recipe.
        accelerator: None makes one from the config.
        resume: go on from the run folder's state.
        photos: for training and for validation, where they are in RAM already; None: they are
            read as `data` says.
        announce: is given lines for people (main process only).
        observer: of the training.
        progress: of reading the photos: (done, total).

    Raises:
        Pix2ColorError: photos, weights or config do not allow it.
    """
    accelerator = accelerator or make_accelerator(config)
    if not accelerator.is_main_process:
        announce, progress = _silent, None
    folder = Path(config.output)
    _check_folder(config, folder, resume=resume)
    config = resolve_start(config, announce=announce)
    set_seed(config.train.seed)
    data, seed = config.data, config.train.seed
    validation = photos[1] if photos else load_photos(data, parts=["val"], announce=_silent)
    source: Source
    if photos or data.cache == "ram":
        training = (
            photos[0]
            if photos
            else load_photos(data, parts=["train"], announce=announce, progress=progress)
        )
        source = CachedSource(training.photos, data, seed=seed)
        facts = describe(config, training)
    else:
        rank, world = accelerator.process_index, accelerator.num_processes
        source = StreamSource(data, seed=seed, rank=rank, world=world)
        facts = {"roots": _names(config), "photos": None}
    batches = DeviceBatches(
        source, data, device=accelerator.device, world=accelerator.num_processes
    )
    prior = count_prior(batches, facts) if config.model.head.kind == "classes" else None
    # The networks' first weights follow from the seed alone, not from what was drawn before.
    set_seed(seed)
    trainer = Trainer(
        config,
        recipe.build(config, prior=prior),
        batches,
        validation.photos,
        data_facts=facts,
        accelerator=accelerator,
        folder=folder,
        observer=observer,
    )
    if resume:
        for line in _changes(_before(folder), config.model_dump(mode="json")):
            announce(f"resumed with another {line}")
        trainer.resume()
    # Last, so that resuming with the wrong recipe leaves the run its own.
    if accelerator.is_main_process:
        atomic_write(folder / "config.yaml", config.dump())
        remove_stale(folder)
    return trainer


def describe(config: Config, photos: PhotoSet) -> dict[str, Any]:
    """What a release file says of its training photos: counts and a hash, no path of a machine."""
    counts = photos.counts
    return {
        "roots": _names(config),
        "photos": len(photos),
        "gray_left_out": counts.gray,
        "duplicates_left_out": counts.duplicates,
        "broken": len(counts.broken),
        "digest": photos.digest,
    }


def count_prior(batches: Batches, facts: dict[str, Any]) -> Prior:
    """The colour prior of the training crops, shrunk towards the packaged one."""
    counter = PriorCounter()
    most = facts["photos"] * _PRIOR_CROPS_A_PHOTO if facts["photos"] else _PRIOR_CROPS
    for first in range(0, min(most, _PRIOR_CROPS), _PRIOR_BATCH):
        counter.add(F.avg_pool2d(batches.take(first, _PRIOR_BATCH).lab[:, 1:], 4))
    source = f"{facts['photos'] or 'streamed'} training photos"
    return counter.prior(source).shrunk(Prior.load())


def _names(config: Config) -> list[str]:
    return [Path(root).name for root in config.data.root] or ["bundled with scikit-image"]


def _check_folder(config: Config, folder: Path, *, resume: bool) -> None:
    """A run folder is never written over by another run."""
    started = (folder / "state").is_dir()
    if started and not resume:
        raise TrainingError(
            f"{folder} holds a run already: go on with --resume, or choose another folder with "
            "--set output=runs/NAME"
        )
    if resume and not started:
        raise TrainingError(f"{folder} holds no run to resume; start it without --resume")


def _before(folder: Path) -> dict[str, Any]:
    """The config that a run folder was last trained with; empty where it cannot be read."""
    try:
        return read_yaml(folder / "config.yaml")
    except ConfigError:
        return {}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], section: str = "") -> list[str]:
    """A line for each value of two trees that differs; keys of one tree alone are left out."""
    lines = []
    for key in before.keys() & now.keys():
        old, new, name = before[key], now[key], f"{section}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += _changes(old, new, f"{name}.")
        elif old != new:
            lines.append(f"{name}: {new}, was {old}")
    return sorted(lines)


def _silent(line: str) -> None:
    """Says nothing: only one process speaks."""
