"""From a config to a trainer that is ready to `fit`: photos, prior, components, accelerator."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, set_seed

from pix2color import build
from pix2color.checkpoints import hub
from pix2color.color.ab_bins import Prior, PriorEstimator
from pix2color.config import Config, from_dict, read_yaml
from pix2color.data.dataset import Digests, PhotoSet
from pix2color.data.decode import Pixels
from pix2color.data.loader import BatchSource, DeviceLoader
from pix2color.errors import ConfigError, TrainingError, WeightsError
from pix2color.io import atomic_write, remove_stale_parts
from pix2color.training import checkpointing
from pix2color.training.events import TrainEvent
from pix2color.training.photos import (
    TrainingPhotos,
    dataset_summary,
    describe_photos,
    find_training,
    load_validation,
    photo_source,
    photos_diff,
    shard_cache,
)
from pix2color.training.teacher_cache import load_teacher
from pix2color.training.trainer import Trainer

_PHOTOS_FILE = "photos.json"
_PRIOR_CROPS = 2048
_PRIOR_CROPS_PER_PHOTO = 16
_PRIOR_BATCH = 64


def resolve_init_from(config: Config, *, announce: Callable[[str], object]) -> Config:
    """The config with an `init_from` that exists.

    A missing release file of a run folder is replaced by the packaged weights, where they fit the
    recipe's network; this is announced, with the recipe that trains the missing file.

    Raises:
        ConfigError: the file is missing and cannot be replaced.
    """
    start = config.init_from
    if start is None or start == "default" or Path(start).is_file() or hub.parse(start):
        return config
    path = Path(start)
    if path.name == "release.safetensors" and path.parent.parent.name == "runs":
        missing = f"init_from {start} does not exist: train {path.parent.name}.yaml first"
        if not build.matches_default_checkpoint(config.model):
            raise ConfigError(missing)
        announce(f"{missing}. Starting from the packaged default weights instead.")
        return config.model_copy(update={"init_from": "default"})
    raise ConfigError(
        f"init_from {start} does not exist: give a release file, user/repo of the Hugging Face"
        " Hub, or `default`"
    )


def resolve_launch(config: Config) -> Config:
    """The config with a precision and an accumulation: its own, or those of `accelerate launch`.

    Raises:
        ConfigError: the config and `accelerate launch` contradict each other.
    """
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    accumulation = int(os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"))
    # accelerate launch always sets both: "no" and 1 may be the user's choice or its default.
    return _resolved(
        config,
        precision=precision if precision != "no" else config.train.mixed_precision or "no",
        accumulation=accumulation
        if accumulation != 1
        else config.train.gradient_accumulation_steps or 1,
    )


def _resolved(config: Config, *, precision: str, accumulation: int) -> Config:
    """The config with the values that accelerate uses; ConfigError where it has others."""
    train = config.train
    for key, own, used in (
        ("mixed_precision", train.mixed_precision, precision),
        ("gradient_accumulation_steps", train.gradient_accumulation_steps, accumulation),
    ):
        if own is not None and own != used:
            raise ConfigError(
                f"train.{key} is {own}, accelerate was launched with {used}: make them agree, or "
                f"remove train.{key}"
            )
    tree = config.model_dump(mode="json")
    tree["train"] |= {
        "mixed_precision": precision,
        "gradient_accumulation_steps": accumulation,
    }
    return from_dict(tree, source="accelerate launch")


def make_accelerator(config: Config) -> Accelerator:
    """An accelerator with the config's trackers, and its precision and accumulation or, where it
    names none, those of `accelerate launch`.

    Raises:
        ConfigError: the hardware does not do this precision, `accelerate launch` contradicts the
            config, or a tracker is not installed.
    """
    train = resolve_launch(config).train
    try:
        accelerator = Accelerator(
            mixed_precision=train.mixed_precision,
            # As a plugin: the number alone would be overridden by the environment.
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=train.gradient_accumulation_steps
            ),
            log_with=list(train.trackers) or None,
            project_dir=config.output,
        )
    except (ValueError, ImportError) as error:
        raise ConfigError(f"train.mixed_precision or train.trackers: {error}") from None
    # accelerate ignores trackers that are not installed.
    missing = set(train.trackers) - {str(tracker) for tracker in accelerator.log_with}
    if missing:
        raise ConfigError(f"train.trackers: {', '.join(sorted(missing))} is not installed")
    if train.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ConfigError("train.mixed_precision: fp16 needs a GPU; use bf16 or no")
    return accelerator


def make_trainer(
    config: Config,
    *,
    accelerator: Accelerator | None = None,
    resume: bool = False,
    photos: tuple[PhotoSet, PhotoSet] | None = None,
    announce: Callable[[str], object] = lambda line: None,
    observer: Callable[[TrainEvent], object] = lambda event: None,
    progress: Callable[[int, int], object] | None = None,
) -> Trainer:
    """Read the photos and build a trainer, which is ready for its first step.

    Args:
        config: of the recipe.
        accelerator: None makes one from the config.
        resume: continue from the state in the run folder.
        photos: for training and for validation, where they are in RAM already; None: they are
            read as `data` says.
        announce: called with messages for people (main process only).
        observer: called with the events of the training.
        progress: called with (photos read, photos in all).

    Raises:
        Pix2ColorError: photos, weights or config do not allow it.
    """
    accelerator = accelerator or make_accelerator(config)
    config = _resolved(
        config,
        precision=accelerator.mixed_precision,
        accumulation=accelerator.gradient_accumulation_steps,
    )
    if not accelerator.is_main_process:
        announce, progress = _silent, None
    folder = Path(config.output)
    _check_folder(folder, resume=resume)
    previous = _previous_config(folder) if resume else {}
    if resume:  # the state holds the weights, wherever the run started from
        config = config.model_copy(update={"init_from": previous.get("init_from")})
    else:
        config = resolve_init_from(config, announce=announce)
    _check_weight_files(config)
    set_seed(config.train.seed)
    training: TrainingPhotos
    validation: Sequence[Pixels] = ()
    if photos:
        training, validation = photos[0], photos[1].photos
    else:
        digests: Digests = {}  # so that the validation reads its own files alone
        training = find_training(
            config.data, accelerator, announce=announce, progress=progress, digests=digests
        )
        if accelerator.is_main_process:  # no other process validates
            validation = load_validation(config, announce=announce, digests=digests)
    photos_record = describe_photos(config, training)
    trainer = _build_trainer(config, training, validation, accelerator, observer, resume=resume)
    if resume:
        for line in _config_diff(previous, config.model_dump(mode="json")):
            announce(f"resumed with another {line}")
        for line in photos_diff(folder / _PHOTOS_FILE, photos_record):
            announce(line)
        trainer.resume()
    # Last, so that resuming with the wrong recipe changes nothing in the run folder.
    if accelerator.is_main_process:
        atomic_write(folder / "config.yaml", config.dump())
        atomic_write(folder / _PHOTOS_FILE, json.dumps(photos_record) + "\n")
        remove_stale_parts(folder)
    return trainer


def _build_trainer(
    config: Config,
    training: TrainingPhotos,
    validation: Sequence[Pixels],
    accelerator: Accelerator,
    observer: Callable[[TrainEvent], object],
    *,
    resume: bool,
) -> Trainer:
    """Batches, prior, components and trainer; `training` None streams the photos."""
    data, seed, device = config.data, config.train.seed, accelerator.device
    rank, world = accelerator.process_index, accelerator.num_processes
    data_stats = dataset_summary(config, training)
    prior = None
    if config.model.head.type == "classes":
        # From the same photos in every process.
        prior_source = photo_source(training, data, seed=seed)
        with closing(DeviceLoader(prior_source, data, device=device)) as crops:
            prior = estimate_prior(crops, data_stats["photos"], unlabeled=bool(data.unlabeled))
    cache = shard_cache(data, accelerator)
    source = photo_source(training, data, seed=seed, rank=rank, world=world, cache=cache)
    batches = DeviceLoader(source, data, device=device, world=world)
    # The first weights of the networks follow from the seed alone, not from earlier draws.
    set_seed(seed)
    components = build.build_training(
        config, prior=prior, start=not resume, fused=device.type == "cuda"
    )
    return Trainer(
        config,
        components,
        batches,
        validation,
        data_stats=data_stats,
        accelerator=accelerator,
        folder=Path(config.output),
        observer=observer,
        teacher=load_teacher(config, photos=data_stats.get("digest")),
    )


def estimate_prior(batches: BatchSource, photos: int | None, *, unlabeled: bool = False) -> Prior:
    """The color prior of the training crops, shrunk towards the packaged one.

    Args:
        photos: number of training photos; None where they are streamed.
        unlabeled: whether some have no true colors (`data.unlabeled`); they do not count;
            if none has, the packaged prior is returned.
    """
    estimator, colored = PriorEstimator(), 0
    crops = min(photos * _PRIOR_CROPS_PER_PHOTO, _PRIOR_CROPS) if photos else _PRIOR_CROPS
    for first in range(0, crops, _PRIOR_BATCH):
        batch = batches.get(first, _PRIOR_BATCH)
        target = batch.target_lab[batch.labeled()] if unlabeled else batch.target_lab
        colored += len(target)
        estimator.update(F.avg_pool2d(target[:, 1:], 4))
    if not colored:
        return Prior.load()
    source = f"{photos or 'streamed'} training photos"
    return estimator.compute(source).shrink_towards(Prior.load())


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse to overwrite a run, or to resume one that does not exist.

    A folder without a complete state, such as after a kill during the first save, is no run yet.
    """
    started = bool(checkpointing.list_checkpoints(folder / "state"))
    if started and not resume:
        raise TrainingError(
            f"{folder} holds a run already",
            remedy="continue it with {resume}, or choose another folder with {output}",
        )
    if resume and not started:
        raise TrainingError(f"{folder} holds no run to resume", remedy="leave {resume} out")


def _check_weight_files(config: Config) -> None:
    """Refuse a recipe whose weights are missing before its photos are read, which takes minutes."""
    named = {
        "model.pretrained": (config.model.pretrained,),
        "loss.perceptual_network": (config.loss.perceptual_network,),
        "train.fd_backbone": (config.train.fd_backbone or "none",),
        "teacher.checkpoint": config.teacher.checkpoint,
    }
    for key, names in named.items():
        for name in names:
            words = ("default", "imagenet", "none", "encoder", "vgg16")
            if name not in words and not hub.parse(name) and not Path(name).is_file():
                raise WeightsError(f"{key}: there is no weights file {name}")


def _previous_config(folder: Path) -> dict[str, Any]:
    """The config of the run in a folder; empty where it cannot be read."""
    try:
        return read_yaml(folder / "config.yaml")
    except ConfigError:
        return {}


def _config_diff(before: Mapping[str, Any], now: Mapping[str, Any], section: str = "") -> list[str]:
    """A line per value that differs between two trees; keys of only one tree are left out."""
    lines = []
    for key in before.keys() & now.keys():
        old, new, name = before[key], now[key], f"{section}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += _config_diff(old, new, f"{name}.")
        elif old != new:
            lines.append(f"{name}: {new}, was {old}")
    return sorted(lines)


def _silent(line: str) -> None:
    """Discard a message: only the main process announces."""
