"""Fixtures of the benchmark's tests: small photos, tiny recipes, weights from files, no network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pix2color import config as configs
from pix2color.benchmark.plan import BenchmarkPlan, RecipeRun, resolve_runs
from pix2color.config import DataConfig, SplitConfig
from pix2color.data.dataset import PhotoSet, Split, load_photos
from pix2color.models import encoders

# Lets tests here import `imported` of the folder above.
sys.path.insert(0, str(Path(__file__).parents[1]))

SIDE = 40
TINY: dict[str, Any] = {
    "budget": {"samples": 16, "minutes": None},
    "gan_budget_fraction": 0.5,
    "num_validations": 2,
    "num_val_photos": 4,
    "defaults": {
        "data": {"cache_size": SIDE, "crop": 32, "crop_scale": [0.6, 1.0]},
        "model": {"conv_encoder": {"width": 4}},
        "gan": {"base_channels": 4, "n_layers": 1, "discriminator_warmup_samples": 0},
        "optim": {"warmup_samples": 0},
        "train": {"batch_size": 4, "log_every_samples": 4, "num_sample_photos": 0},
        "decode": {"input_size": 32},
    },
    "overrides": {
        name: {"model": {"upsample": {"stages": [[8], [8], [4]]}}}
        for name in ("strided", "strided_gan")
    },
    "evaluate": {"photos": 4, "crop": SIDE, "resamples": 20, "num_shown": 2},
}
"""Of a plan: every recipe in some steps of four crops of 32 pixels."""


@pytest.fixture(autouse=True, scope="module")
def _no_curves() -> Iterator[None]:
    """Drawing a run's curves takes longer than these trainings; tests/training draws them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pix2color.training.trainer.draw_curves", lambda folder: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def _offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing can be downloaded, and nothing was before."""
    cache = tmp_path_factory.mktemp("hub")

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.hub.download_url_to_file", offline)
        patch.setattr("torch.hub.get_dir", lambda: str(cache))
        yield


@pytest.fixture(scope="session")
def crowd(small_photos: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 30 crops of three photos, enough for a split. Shared: do not write into it."""
    folder = tmp_path_factory.mktemp("crowd")
    for number in range(30):
        top, left = 3 * (number // 3), 2 * (number // 3)
        photo = small_photos[number % 3][top : top + SIDE, left : left + SIDE]
        Image.fromarray(photo).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def training_photos(crowd: Path) -> tuple[PhotoSet, PhotoSet]:
    """The crowd's photos for training and for validation."""
    data = DataConfig(
        roots=(str(crowd),), split=SplitConfig(train=0.6, val=0.2, test=0.2), cache_size=SIDE
    )

    def part(name: Split) -> PhotoSet:
        return load_photos(data, splits=[name])

    return part("train"), part("val")


@pytest.fixture(scope="session")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained mobilenet_v2 in a file, as torchvision would save it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.pth"
    torch.save(encoders.build_backbone("mobilenet_v2").state_dict(), path)
    return path


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., BenchmarkPlan]:
    """Makes a tiny plan of recipes; `over` is laid over it."""

    def make(*recipes: str, **over: Any) -> BenchmarkPlan:
        tree = configs.deep_merge(TINY, {"recipes": recipes, **over})
        overrides = {name: one for name, one in tree["overrides"].items() if name in recipes}
        return BenchmarkPlan.model_validate(tree | {"overrides": overrides})

    return make


@pytest.fixture(scope="session")
def make_entries(crowd: Path) -> Callable[..., list[RecipeRun]]:
    """A plan's entries, to be trained on the crowd."""

    def make(plan: BenchmarkPlan, out: Path, folder: Path = Path()) -> list[RecipeRun]:
        return resolve_runs(plan, folder, out=out, roots=[str(crowd)], log=lambda line: None)

    return make
