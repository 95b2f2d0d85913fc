"""Training on indexed shards: resumed exactly, validated on its own photos, refused in time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import torch
from killed_training import kill_once_saved
from s3_server import new_s3_url
from shard_files import add_index, colors, index_path, indexed_shards, pack
from torch import Tensor

from pix2color.config import Config
from pix2color.data.dataset import load_photos
from pix2color.data.indexed import select_photos
from pix2color.errors import DataError
from pix2color.training.photos import dataset_summary, load_validation
from pix2color.training.setup import make_trainer
from pix2color.training.trainer import Trainer

MakeConfig = Callable[..., Config]
STEPS = 5
BATCH = 4


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return indexed_shards(tmp_path / "shards")


@pytest.fixture
def recipe(tiny: MakeConfig, shards: Path) -> MakeConfig:
    """A tiny recipe that reads the shards."""

    def make(run: str, *overrides: str) -> Config:
        options = (f"data.roots={shards}", "data.cache=none", "data.shuffle_shards=2")
        options += ("model.head.type=regression", "loss.l1=1")  # no prior to estimate
        return tiny(run, *options, f"budget.samples={STEPS * BATCH}", *overrides)

    return make


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {**trainer.unwrapped_generator.state_dict(), **trainer.ema.state_dict()}


def test_stopped_after_every_step_and_resumed_is_as_never_stopped(recipe: MakeConfig) -> None:
    whole = make_trainer(recipe("whole", "model.dropout=0.2"))
    whole.fit()
    config = recipe("parts", "model.dropout=0.2")
    for step in range(1, STEPS + 1):
        part = make_trainer(config, resume=step > 1)
        assert part.progress.samples == (step - 1) * BATCH

        def stop(status: object, part: Trainer = part, step: int = step) -> None:
            part.stop = part.progress.samples >= step * BATCH

        part.observer = stop
        part.fit()
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(part).items())


def test_the_release_file_records_the_photos_as_with_the_cache(recipe: MakeConfig) -> None:
    config = recipe("run")
    indexed, cached = (find(config.data, splits=["train"]) for find in (select_photos, load_photos))
    assert dataset_summary(config, indexed) == dataset_summary(config, cached)


def test_validation_has_the_photos_of_the_cache(recipe: MakeConfig) -> None:
    config = recipe("run", "data.split={train: 0.5, val: 0.5, test: 0}", "train.num_val_photos=4")
    expected = load_photos(config.data, splits=["val"]).photos[:4]
    found = load_validation(config, announce=print)
    assert [photo.tobytes() for photo in found] == [photo.tobytes() for photo in expected]


def test_a_stream_says_how_it_becomes_exact(recipe: MakeConfig, shards: Path) -> None:
    pytest.importorskip("webdataset", reason="needs the extra [stream]")
    said: list[str] = []
    make_trainer(recipe("indexed"), announce=said.append)
    assert not any("python -m pix2color index" in line for line in said)
    for shard in shards.glob("*.tar"):
        index_path(shard).unlink()
    make_trainer(recipe("plain"), announce=said.append)
    assert any("python -m pix2color index" in line for line in said)


@pytest.mark.parametrize("cache", ["indexed", "ram", "stream"])
def test_other_photos_are_noticed_at_a_resume(recipe: MakeConfig, shards: Path, cache: str) -> None:
    if cache == "stream":
        pytest.importorskip("webdataset", reason="needs the extra [stream]")
        for shard in shards.glob("*.tar"):
            index_path(shard).unlink()
    kind = "data.cache=ram" if cache == "ram" else "data.cache=none"
    config = recipe("run", kind, "budget.samples=4")
    make_trainer(config).fit()
    said: list[str] = []
    make_trainer(config, resume=True, announce=said.append)
    assert not any("other photos" in line for line in said)
    pack(shards / "train-2.tar", [(f"{n}.png", colors(900 + n)) for n in range(30)])
    if cache == "indexed":
        add_index(shards / "train-2.tar")
    make_trainer(config, resume=True, announce=said.append)
    assert any("resumed with other photos: " in line for line in said)
    make_trainer(config, resume=True, announce=said.append)  # it has become the run's
    assert sum("other photos" in line for line in said) == 1


@pytest.mark.parametrize("change", ["stale", "one missing"])
def test_shards_without_a_current_index_stop_before_anything_is_written(
    recipe: MakeConfig, shards: Path, change: str
) -> None:
    if change == "stale":
        pack(shards / "train-2.tar", [("other.png", colors(5))])
    else:
        index_path(shards / "train-2.tar").unlink()
    config = recipe("refused")
    with pytest.raises(DataError, match=r"train-2\.tar.*; run python -m pix2color index"):
        make_trainer(config)
    assert not Path(config.output).exists()


@pytest.mark.slow
def test_killed_on_an_object_store_and_resumed_is_as_never_stopped_on_a_disk(
    recipe: MakeConfig, shards: Path, tmp_path: Path
) -> None:
    url = new_s3_url()
    for path in shards.iterdir():
        with fsspec.open(f"{url}/shards/{path.name}", "wb") as file:
            file.write(path.read_bytes())
    options = ("budget.samples=48", "train.save_every_samples=16", "model.dropout=0.2")
    remote = (f"data.roots={url}/shards", f"data.shard_cache={tmp_path / 'cache'}")
    whole = make_trainer(recipe("whole", *options))
    whole.fit()
    config = recipe("killed", *options, *remote)
    assert kill_once_saved(config, signal.SIGKILL) == -signal.SIGKILL
    resumed = make_trainer(config, resume=True)
    assert 0 < resumed.progress.samples < 48
    assert resumed.fit().finished
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())
    assert list((tmp_path / "cache").glob("*.tar"))
