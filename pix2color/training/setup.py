"""From a config to a trainer that is ready to `fit`: photos, prior, parts, accelerator."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, set_seed

from pix2color import build
from pix2color.checkpoints import hub
from pix2color.color.ab_bins import Prior, PriorEstimator
from pix2color.config import Config, from_dict, read_yaml
from pix2color.data.dataset import ALL_SPLITS, PhotoSet, Split, load_photos
from pix2color.data.decode import Pixels
from pix2color.data.loader import (
    BatchSource,
    DeviceLoader,
    InMemorySource,
    PhotoSource,
    StreamingSource,
)
from pix2color.data.streaming import stream_photos
from pix2color.errors import ConfigError, TrainingError
from pix2color.io import atomic_write, remove_stale_parts
from pix2color.training import checkpointing
from pix2color.training.events import TrainEvent
from pix2color.training.trainer import Trainer

_PRIOR_CROPS = 2048
_PRIOR_CROPS_A_PHOTO = 16
_PRIOR_BATCH = 64


def resolve_init_from(config: Config, *, announce: Callable[[str], object]) -> Config:
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
        if not build.matches_default_checkpoint(config.model):
            raise ConfigError(missing)
        announce(f"{missing}. Starting from the packaged default weights instead.")
        return config.model_copy(update={"init_from": "default"})
    raise ConfigError(
        f"init_from {start} is not there: give a release file, user/repo of the Hugging Face Hub,"
        " or `default`"
    )


def resolve_launch(config: Config) -> Config:
    """The config with a precision and an accumulation: its own, or those of `accelerate launch`.

    Raises:
        ConfigError: the config and `accelerate launch` contradict each other.
    """
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    accumulation = int(os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"))
    # accelerate launch always names both: "no" and 1 may be asked for or not.
    return _resolved(
        config,
        precision=precision if precision != "no" else config.train.mixed_precision or "no",
        accumulation=accumulation
        if accumulation != 1
        else config.train.gradient_accumulation_steps or 1,
    )


def _resolved(config: Config, *, precision: str, accumulation: int) -> Config:
    """The config with what accelerate uses; ConfigError where it says otherwise."""
    train = config.train
    for key, own, used in (
        ("mixed_precision", train.mixed_precision, precision),
        ("gradient_accumulation_steps", train.gradient_accumulation_steps, accumulation),
    ):
        if own is not None and own != used:
            raise ConfigError(
                f"train.{key} is {own}, accelerate was launched with {used}: make them agree, or "
                f"leave train.{key} out"
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
    # accelerate leaves out what is not installed without a word.
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
    observer: Callable[[TrainEvent], object] = lambda status: None,
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
    config = _resolved(
        config,
        precision=accelerator.mixed_precision,
        accumulation=accelerator.gradient_accumulation_steps,
    )
    if not accelerator.is_main_process:
        announce, progress = _silent, None
    folder = Path(config.output)
    _check_folder(config, folder, resume=resume)
    before = _previous_config(folder) if resume else {}
    if resume:  # its weights are those of the state, wherever they once started from
        config = config.model_copy(update={"init_from": before.get("init_from")})
    else:
        config = resolve_init_from(config, announce=announce)
    set_seed(config.train.seed)
    data, seed = config.data, config.train.seed
    validation: Sequence[Pixels] = ()
    if accelerator.is_main_process:  # which alone validates
        validation = photos[1].photos if photos else load_validation(config, announce=announce)
    source: PhotoSource
    if photos or data.cache == "ram":
        training = (
            photos[0]
            if photos
            else load_photos(
                data,
                splits=["train"],
                announce=announce,
                progress=progress,
                copies=int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)),
            )
        )
        source = InMemorySource(training.photos, data, seed=seed, names=training.names)
        facts = dataset_summary(config, training)
    else:
        rank, world = accelerator.process_index, accelerator.num_processes
        source = StreamingSource(data, seed=seed, rank=rank, world=world)
        facts = {"roots": _names(config), "photos": None}
    prior = None
    if config.model.head.type == "classes":
        # Counted on the same photos in every process.
        prior_source = StreamingSource(data, seed=seed) if facts["photos"] is None else source
        with closing(DeviceLoader(prior_source, data, device=accelerator.device)) as crops:
            prior = estimate_prior(crops, facts)
    batches = DeviceLoader(source, data, device=accelerator.device, world=accelerator.num_processes)
    # The networks' first weights follow from the seed alone, not from what was drawn before.
    set_seed(seed)
    trainer = Trainer(
        config,
        build.build_training(
            config, prior=prior, start=not resume, fused=accelerator.device.type == "cuda"
        ),
        batches,
        validation,
        data_stats=facts,
        accelerator=accelerator,
        folder=folder,
        observer=observer,
    )
    if resume:
        for line in _config_diff(before, config.model_dump(mode="json")):
            announce(f"resumed with another {line}")
        trainer.resume()
    # Last, so that resuming with the wrong recipe leaves the run its own.
    if accelerator.is_main_process:
        atomic_write(folder / "config.yaml", config.dump())
        remove_stale_parts(folder)
    return trainer


def load_validation(config: Config, *, announce: Callable[[str], object]) -> Sequence[Pixels]:
    """The photos of the validation figure, the same ones in every start.

    With `data.cache: none` reading ends when `train.num_val_photos` are found, in shards (or
    files) taken in an order that is always the same.

    Raises:
        DataError: as `load_photos` and `stream_photos`.
    """
    data = config.data
    data = data.model_copy(update={"source_weights": {}})
    if data.cache == "ram":
        return load_photos(data, splits=["val"], announce=_silent).photos
    splits: Sequence[Split] = ["val"]
    if data.split.val == 0:
        announce("data.split leaves no photo for validation: photos of all splits serve there")
        splits = ALL_SPLITS
    # A buffer of one photo: nothing is decoded only to be shuffled.
    plain = data.model_copy(update={"shuffle_buffer": 1})
    with closing(stream_photos(plain, splits=splits, rank=0, world=1, seed=0, epoch=0)) as photos:
        return [photo.pixels for photo in islice(photos, config.train.num_val_photos)]


def dataset_summary(config: Config, photos: PhotoSet) -> dict[str, Any]:
    """What a release file says of its training photos: counts and a hash, no path of a machine."""
    counts = photos.counts
    return {
        "roots": _names(config),
        "photos": len(photos),
        "gray_left_out": counts.gray,
        "duplicates_left_out": counts.duplicates,
        "broken": len(counts.corrupt),
        "digest": photos.digest,
    }


def estimate_prior(batches: BatchSource, facts: dict[str, Any]) -> Prior:
    """The color prior of the training crops, shrunk towards the packaged one."""
    counter = PriorEstimator()
    most = facts["photos"] * _PRIOR_CROPS_A_PHOTO if facts["photos"] else _PRIOR_CROPS
    for first in range(0, min(most, _PRIOR_CROPS), _PRIOR_BATCH):
        counter.update(F.avg_pool2d(batches.get(first, _PRIOR_BATCH).target_lab[:, 1:], 4))
    source = f"{facts['photos'] or 'streamed'} training photos"
    return counter.compute(source).shrink_towards(Prior.load())


def _names(config: Config) -> list[str]:
    return [Path(root).name for root in config.data.roots] or ["bundled with scikit-image"]


def _check_folder(config: Config, folder: Path, *, resume: bool) -> None:
    """A run folder is never written over by another run.

    One without a whole state, such as after a kill during the first save, has nothing to lose.
    """
    started = bool(checkpointing.list_checkpoints(folder / "state"))
    if started and not resume:
        raise TrainingError(
            f"{folder} holds a run already",
            remedy="continue it with {resume}, or choose another folder with {output}",
        )
    if resume and not started:
        raise TrainingError(f"{folder} holds no run to resume", remedy="leave {resume} out")


def _previous_config(folder: Path) -> dict[str, Any]:
    """The config that a run folder was last trained with; empty where it cannot be read."""
    try:
        return read_yaml(folder / "config.yaml")
    except ConfigError:
        return {}


def _config_diff(before: Mapping[str, Any], now: Mapping[str, Any], section: str = "") -> list[str]:
    """A line for each value of two trees that differs; keys of one tree alone are left out."""
    lines = []
    for key in before.keys() & now.keys():
        old, new, name = before[key], now[key], f"{section}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += _config_diff(old, new, f"{name}.")
        elif old != new:
            lines.append(f"{name}: {new}, was {old}")
    return sorted(lines)


def _silent(line: str) -> None:
    """Says nothing: only one process speaks."""
