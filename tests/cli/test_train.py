"""train.py's lines while it trains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pix2color.cli import train
from pix2color.config import Config
from pix2color.errors import ConfigError
from pix2color.training import setup
from pix2color.training.events import TrainEvent


def test_the_time_left_is_reckoned_from_what_this_start_has_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is resumed at 60 % and does 10 % in two minutes has six minutes to go."""
    now = 1000.0
    monkeypatch.setattr(train.time, "monotonic", lambda: now)
    reporter = train._Reporter(quiet=True, speaks=True)
    now += 300  # of reading photos, which say nothing about the steps

    def told(fraction: float, kind: str = "log") -> str:
        reporter.status(TrainEvent(64, None, fraction, 9.5, {"loss": 1.0}, kind))  # type: ignore[arg-type]
        return capsys.readouterr().out

    assert "left" not in told(0.6)
    now += 120
    assert re.search(r" 70\.0% +6\.0 min left ", told(0.7))
    assert told(0.8, "step") == ""


@pytest.mark.parametrize("name", ["a\u00a0b", "it's", "o'neill \u2028 x", "a\\x41b", "a: b"])
def test_folders_of_any_name_reach_the_trainer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def started(config: Config) -> None:
        seen.append(config.data.roots)
        raise ConfigError("far enough")

    monkeypatch.setattr(setup, "make_accelerator", started)
    folders = (str(tmp_path / name), str(tmp_path / "other"))
    assert train.main(["--config", "gan.yaml", "--data", *folders]) == 2
    assert seen == [folders]
