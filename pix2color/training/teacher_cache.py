"""A teacher's targets on disk: each crop is shown to the teacher once, whoever learns from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.color.ab_bins import COUNT
from pix2color.config import Config
from pix2color.errors import TrainingError, WeightsError
from pix2color.io import atomic_write
from pix2color.training.teacher import Teacher

KEPT_CLASSES = 64
"""Of a cell's 313 probabilities the largest are kept: 99 % of the mass with the packaged weights,
in 256 bytes per cell."""

_META = "targets.json"


class CachedTeacher:
    """A teacher that looks its targets up, and stores those that it computes.

    A crop is known by its seed, which follows from the run's seed, the epoch and the photo. A file
    per crop holds the classes as uint16 and their probabilities as float16, both K,h,w.

    Args:
        teacher: computes what is missing.
        folder: of the cache; made if missing.
        origin: what the targets depend on, see `origin_of`.

    Raises:
        TrainingError: the folder holds targets of another origin, or is not a cache.
        OSError: it cannot be written.
    """

    def __init__(self, teacher: Teacher, folder: Path, origin: Mapping[str, Any]) -> None:
        self.teacher = teacher
        self.folder = folder
        _check_origin(folder, origin)

    def to(self, device: torch.device) -> CachedTeacher:
        self.teacher.to(device)
        return self

    def __call__(self, lightness: Tensor, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
        """As `Teacher.__call__`; the probabilities kept of each cell are scaled to sum 1."""
        found = [self._read(seed, size) for seed in seeds]
        missing = [i for i, entry in enumerate(found) if entry is None]
        if missing:
            computed = _largest(self.teacher(lightness[missing], size, ()))
            for i, entry in zip(missing, computed, strict=True):
                self._write(seeds[i], entry)
                found[i] = entry
        packed = np.stack([entry for entry in found if entry is not None])  # B,2,K,h,w uint16
        index = torch.from_numpy(packed[:, 0].astype(np.int64)).to(lightness.device)
        share = torch.from_numpy(packed[:, 1].view(np.float16).astype(np.float32))
        share = share.to(lightness.device)
        dense = share.new_zeros(len(share), COUNT, *size).scatter_(1, index, share)
        return dense / dense.sum(1, keepdim=True)

    def _path(self, seed: int) -> Path:
        name = f"{seed:016x}"
        return self.folder / name[-2:] / f"{name}.bin"

    def _read(self, seed: int, size: tuple[int, int]) -> np.ndarray | None:
        """2,K,h,w uint16, or None where there is no whole file of this size."""
        try:
            data = self._path(seed).read_bytes()
        except FileNotFoundError:
            return None
        shape = (2, KEPT_CLASSES, *size)
        if len(data) != 2 * np.prod(shape):
            return None
        return np.frombuffer(data, np.uint16).reshape(shape)

    def _write(self, seed: int, entry: np.ndarray) -> None:
        atomic_write(self._path(seed), entry.tobytes())


def load_teacher(config: Config, *, photos: str | None) -> Teacher | CachedTeacher | None:
    """The teacher of a recipe, with its cache; None where `teacher` names no checkpoint.

    Args:
        config: of the training.
        photos: digest of the training photos; None for a stream.

    Raises:
        WeightsError: a file is missing or no release file.
        TrainingError: see CachedTeacher.
    """
    section = config.teacher
    if not section.checkpoint:
        return None
    try:
        files = [checkpoint.load(name) for name in section.checkpoint]
    except WeightsError as error:
        if error.remedy:
            raise
        raise WeightsError(
            error.message,
            remedy="name a release file with the 313 colors of this version, or one that predicts"
            " ab, in {teacher.checkpoint}",
        ) from None
    networks = [file.generator for file in files]
    teacher = Teacher(networks, scales=section.scales, mirror=section.mirror)
    if section.cache is None:
        return teacher
    origin = origin_of(config, [file.digest for file in files], photos)
    return CachedTeacher(teacher, Path(section.cache), origin)


def origin_of(config: Config, teachers: Sequence[str], photos: str | None) -> dict[str, Any]:
    """What targets depend on: the teacher and the rule of the crops.

    Args:
        config: of the training.
        teachers: digests of the teacher's weights.
        photos: digest of the training photos; None for a stream.
    """
    data = config.data.model_dump(mode="json")
    names = ("crop", "crop_scale", "crop_aspect", "flip", "source_weights", "cache_size", "cache")
    return {
        "teacher": {
            "weights": list(teachers),
            "scales": list(config.teacher.scales),
            "mirror": config.teacher.mirror,
        },
        "crops": {
            **{name: data[name] for name in names},
            "seed": config.train.seed,
            "output_stride": config.model.output_stride,
        },
        "photos": photos,
    }


def _check_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    file = folder / _META
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise TrainingError(
                f"teacher.cache {folder} is not empty and holds no targets: choose another folder"
            )
        atomic_write(file, json.dumps(origin, indent=1) + "\n")
        return
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        known = {}
    differing = [name for name in origin if known.get(name) != origin[name]]
    if differing:
        words = {"teacher": "another teacher", "crops": "other crops", "photos": "other photos"}
        raise TrainingError(
            f"teacher.cache {folder} holds targets of "
            f"{' and '.join(words[name] for name in differing)} ({file.name} there says which):"
            " choose another folder, or delete this one"
        )


def _largest(probability: Tensor) -> np.ndarray:
    """B,313,h,w -> B,2,K,h,w uint16: classes, and the bits of their probabilities in float16."""
    share, index = probability.topk(KEPT_CLASSES, dim=1)
    bits = share.cpu().numpy().astype(np.float16).view(np.uint16)
    return np.stack((index.cpu().numpy().astype(np.uint16), bits), axis=1)
