"""Fixtures of the training tests: tiny recipes on four small photos; lets tests import
`fake_model`, the small network beside this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import save_file

from pix2color.config import Config, load
from pix2color.models.encoders import build_backbone

sys.path.insert(0, str(Path(__file__).parents[1]))

TINY = (
    "data.crop=32",
    "data.cache_size=48",
    "model.pretrained=none",
    "model.encoder=zhang_cnn",  # a step takes less than half of mobilenet_v2's
    "model.conv_encoder.width=8",
    "model.decoder_channels=[16]",
    "model.convs_per_level=[1]",
    "train.batch_size=4",
    "train.num_val_photos=1",
    "train.num_sample_photos=0",
    "train.plot_curves=false",
    "decode.input_size=32",
    "optim.warmup_samples=4",
)


@pytest.fixture
def another_precision() -> Iterator[None]:
    """accelerate keeps one precision for the whole process: forget it before and after."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="session")
def imagenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's of mobilenet_v2; its weights are random."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "mobilenet_v2.safetensors"
    save_file(build_backbone("mobilenet_v2").state_dict(), file)
    return file


@pytest.fixture
def tiny(photo_folder: Path, tmp_path: Path) -> Callable[..., Config]:
    """Makes a recipe: `run` names its folder, the rest are overrides."""

    def make(run: str, *overrides: str) -> Config:
        folders = (f"data.roots={photo_folder}", f"output={tmp_path / run}")
        return load(None, [*TINY, *folders, *overrides])

    return make
