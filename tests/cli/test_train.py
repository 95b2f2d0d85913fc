"""train.py's arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2color.cli import train
from pix2color.config import Config
from pix2color.errors import ConfigError
from pix2color.training import setup


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
