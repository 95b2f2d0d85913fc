"""What goes wrong in a training leaves nothing behind: a NaN, a kill, a resume by mistake."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killed_training import kill_once_saved
from torch import Tensor

from pix2color import io
from pix2color.config import Config
from pix2color.data.loader import Batch, BatchSource
from pix2color.errors import EXIT_INTERRUPTED, TrainingError
from pix2color.training.setup import make_trainer
from pix2color.training.trainer import Trainer

MakeConfig = Callable[..., Config]


class Poisoned:
    """Batches of which those that `bad` names hold a NaN."""

    wait_seconds = 0.0

    def __init__(self, inner: BatchSource, bad: Callable[[int], bool]) -> None:
        self.inner = inner
        self.bad = bad

    def get(self, first: int, size: int) -> Batch:
        batch = self.inner.get(first, size)
        if self.bad(first):
            batch.input_lightness[0, 0, 0, 0] = float("nan")
        return batch

    def close(self) -> None:
        self.inner.close()


def finite(network: torch.nn.Module) -> bool:
    values = [v for v in network.state_dict().values() if v.is_floating_point()]
    return all(bool(v.isfinite().all()) for v in values)


@pytest.mark.parametrize(
    "gan", [(), ("gan.enabled=true", "gan.base_channels=8", "gan.discriminator_warmup_samples=0")]
)
def test_a_nan_leaves_weights_and_batch_statistics_alone(
    gan: tuple[str, ...], tiny: MakeConfig
) -> None:
    """Batch norms take their statistics in the forward pass, before anything can be skipped."""
    config = tiny("nan", "budget.samples=20", "gan.n_layers=1", *gan)
    trainer = make_trainer(config)
    trainer.batches = Poisoned(trainer.batches, lambda first: first == 8)
    summary = trainer.fit()
    assert summary.finished and summary.skipped == 1
    for network in (trainer.unwrapped_generator, trainer.ema, trainer.discriminator):
        assert network is None or finite(network)
    assert summary.release is not None
    assert summary.metrics["auc"] > 50


def test_a_resume_by_mistake_leaves_the_run_as_it_was(tiny: MakeConfig) -> None:
    config = tiny("run", "budget.samples=4")
    make_trainer(config).fit()
    folder = Path(config.output)
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    other = tiny("run", "budget.samples=8", "model.decoder_channels=[24]")
    with pytest.raises(TrainingError, match="another recipe"):
        make_trainer(other, resume=True)
    after = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert after == before


def test_a_kill_during_the_first_save_leaves_a_folder_that_can_be_started_again(
    tiny: MakeConfig,
) -> None:
    config = tiny("run", "budget.samples=4")
    torn = Path(config.output, "state", ".samples-000000002.part")
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half a st")
    with pytest.raises(TrainingError, match="no run to resume"):
        make_trainer(config, resume=True)
    assert make_trainer(config).fit().finished
    assert not torn.exists()
    make_trainer(config, resume=True)


class Bomb:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_run_folder_from_others_runs_no_code_when_it_is_resumed(
    tiny: MakeConfig, tmp_path: Path
) -> None:
    config, mark = tiny("run", "budget.samples=4"), tmp_path / "mark"
    make_trainer(config).fit()
    (saved,) = Path(config.output, "state").glob("samples-*")
    pickles = [path for path in saved.iterdir() if path.suffix not in {".safetensors", ".json"}]
    assert pickles
    for path in (*pickles, saved / "custom_checkpoint_0.pkl"):
        whole = path.read_bytes() if path.is_file() else None
        torch.save(Bomb(mark), path)
        with contextlib.suppress(TrainingError):
            make_trainer(config, resume=True)
        assert not mark.exists(), path.name
        path.unlink() if whole is None else path.write_bytes(whole)
    make_trainer(config, resume=True)


# Killed


def test_a_file_that_a_killed_run_left_half_written_is_removed(tiny: MakeConfig) -> None:
    config = tiny("run", "budget.samples=4")
    folder = Path(config.output)
    folder.mkdir(parents=True)
    (folder / f".weights.{io._owner(2**22 + 1)}{io.PART_SUFFIX}").write_bytes(b"half")
    make_trainer(config)
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "photos.json"]


SAMPLES = 48
OPTIONS = (f"budget.samples={SAMPLES}", "train.save_every_samples=16", "model.dropout=0.2")


def state(trainer: Trainer) -> dict[str, Tensor]:
    return {**trainer.unwrapped_generator.state_dict(), **trainer.ema.state_dict()}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -signal.SIGKILL),
        pytest.param(signal.SIGTERM, EXIT_INTERRUPTED, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_is_as_never_stopped(
    number: signal.Signals, code: int, tiny: MakeConfig
) -> None:
    whole = make_trainer(tiny("whole", *OPTIONS))
    whole.fit()
    config = tiny("killed", *OPTIONS)
    assert kill_once_saved(config, number) == code
    resumed = make_trainer(config, resume=True)
    assert 0 < resumed.progress.samples < SAMPLES
    assert resumed.fit().finished
    assert not list(Path(config.output, "state").glob(".*"))
    expected = state(whole)
    assert all(torch.equal(value, expected[name]) for name, value in state(resumed).items())
