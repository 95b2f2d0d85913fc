"""profile: small runs of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_model import released

from pix2color.checkpoints import checkpoint
from pix2color.cli import profile


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "load", lambda *args, **options: released())


def test_it_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["--megapixels", "0.05", "--format", "PNG", "--runs", "2", "--json", str(path)]
    assert profile.main(arguments) == 0
    output = capsys.readouterr().out
    assert "network" in output and "0.05 MP PNG" in output and "peak_memory_mb" in output
    tree = json.loads(path.read_text())
    assert len(tree["photos"][0]["stages"]["decode"]) == 2
    assert profile.main([str(tmp_path / "none.jpg")]) == 2


@pytest.mark.parametrize("stride", [1, 8])
def test_it_times_networks_of_every_stride(
    stride: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 x 150 pixels are seen at 64 x 48: no multiples of 8 come about by themselves."""
    network = released(input_size=44)
    monkeypatch.setattr(network.generator, "stride", stride)
    monkeypatch.setattr(checkpoint, "load", lambda *args, **options: network)
    assert profile.main(["--megapixels", "0.03", "--runs", "1"]) == 0
    assert "0.03 MP JPEG" in capsys.readouterr().out


def test_it_of_a_folder_is_told_beside_the_slowest_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["--megapixels", "0.05", "--runs", "1", "--folder", "3", "--json", str(path)]
    assert profile.main(arguments) == 0
    folder = json.loads(path.read_text())["folder"]["0.05 MP JPEG"]
    assert folder["photos"] == 3 and folder["photos_per_second"] > 0
    assert folder["slowest_stage"] in capsys.readouterr().out
    assert 0 < folder["cores_busy"] <= 1.1


@pytest.mark.parametrize(
    "arguments", [("--runs", "0"), ("--megapixels", "1", "nan"), ("--folder", "-1")]
)
def test_it_refuses_numbers_out_of_range(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile.main([*arguments]) == 2
    assert f"error: {arguments[0]} " in capsys.readouterr().err
