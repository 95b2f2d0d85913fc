"""What a training reads before its first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2color.config import Config, load
from pix2color.data import dataset
from pix2color.data.dataset import load_photos
from pix2color.data.discovery import FileRef
from pix2color.errors import WeightsError
from pix2color.training.photos import load_validation
from pix2color.training.setup import make_trainer

IN_RAM = {"cache": "ram", "crop": 16}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A stream of 60 photos, half of them for validation."""
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((24, 18)).save(tmp_path / f"{number}.png")
    split = "data.split={train: 0.5, val: 0.5, test: 0}"
    options = (
        "data.cache=none",
        "data.decode_threads=0",
        "data.cache_size=16",
        "train.num_val_photos=3",
    )
    return load(None, [f"data.roots={tmp_path}", split, *options])


def test_a_stream_is_read_for_validation_until_enough_photos_are_found(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = FileRef.read
    monkeypatch.setattr(FileRef, "read", lambda item: read.append(item.name) or whole(item))
    photos = load_validation(config, announce=print)
    assert len(photos) == 3
    assert len(read) < 30
    every = [photo.tobytes() for photo in load_photos(config.data, splits=["val"]).photos]
    assert all(photo.tobytes() in every for photo in photos)
    other_seed = config.model_copy(update={"train": config.train.model_copy(update={"seed": 9})})
    again = load_validation(other_seed, announce=print)
    assert [photo.tobytes() for photo in again] == [photo.tobytes() for photo in photos]


def test_a_stream_without_validation_photos_says_which_serve(config: Config) -> None:
    said: list[str] = []
    split = config.data.split.model_copy(update={"train": 1.0, "val": 0.0})
    data = config.data.model_copy(update={"split": split})
    assert len(load_validation(config.model_copy(update={"data": data}), announce=said.append)) == 3
    assert "no photo for validation" in said[0]


def test_the_announced_need_of_memory_counts_every_process(config: Config) -> None:
    said: list[str] = []
    for copies in (1, 8):
        load_photos(config.data, splits=["train"], announce=said.append, copies=copies)
    one, eight = (line for line in said if "RAM" in line)
    assert "in 8 processes" in eight and "processes" not in one
    assert one.split("take ")[1].split(" of")[0] != eight.split("take ")[1].split(" of")[0]


def test_photos_in_ram_are_read_once_but_for_those_of_the_validation(
    config: Config, tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("run").model_copy(update={"data": config.data.model_copy(update=IN_RAM)})
    names = {split: load_photos(config.data, splits=[split]).names for split in ("train", "val")}
    reads: Counter[str] = Counter()
    whole = FileRef.read
    monkeypatch.setattr(FileRef, "read", lambda file: reads.update([file.name]) or whole(file))
    # It reads the headers of some files.
    monkeypatch.setattr(dataset, "_estimate", lambda *_: "some of RAM")
    trainer = make_trainer(config)
    assert len(trainer.validator.photos) == 1
    assert {reads[name] for name in names["train"]} == {1}
    assert {reads[name] for name in names["val"]} == {2}  # the first time tells their split
    assert reads.total() == 60 + len(names["val"])


@pytest.mark.parametrize(
    "options",
    [
        ("model.pretrained=FILE",),
        ("loss.perceptual=1", "loss.perceptual_network=FILE"),
        ("train.fd_backbone=FILE",),
        ("loss.distillation=1", "teacher.checkpoint=FILE"),
    ],
)
def test_missing_weights_are_named_before_any_photo_is_read(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "absent.safetensors"
    over = [option.replace("FILE", str(file)) for option in options]
    # The folder of photos does not exist either; it is not looked at.
    config = load(None, [*over, f"data.roots={tmp_path / 'none'}", f"output={tmp_path / 'run'}"])
    key = options[-1].partition("=")[0]
    with pytest.raises(WeightsError, match=rf"{key}.*absent\.safetensors"):
        make_trainer(config)
