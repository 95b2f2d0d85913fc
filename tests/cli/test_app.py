"""python -m pix2color app: what it refuses before it serves."""

from __future__ import annotations

import sys

import pytest
from fake_model import use_fake_model

from pix2color.cli import app


@pytest.mark.parametrize("option", ["--max-files", "--max-megapixels", "--max-upload", "--queue"])
def test_limits_are_more_than_nothing(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([option, "0"]) == 2
    assert f"{option} 0: at least " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-upload", "nan"), ("--idle", "inf"), ("--max-megapixels", "nan"), ("--port", "70000")],
)
def test_limits_are_numbers_in_their_range(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main([option, value]) == 2
    assert f"error: {option} {value}: " in capsys.readouterr().err


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fake_model(monkeypatch)
    monkeypatch.setattr("pix2color.cli.common.stop_on_sigterm", lambda: None)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert app.main(["--device", "cpu"]) == 2
    assert 'needs the extra: pip install -e ".[app]"' in capsys.readouterr().err
