"""Settings given as text, and rows of release files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pix2color.config import DecodeConfig
from pix2color.errors import ConfigError, WeightsError
from pix2color.evaluation import checkpoint_methods
from pix2color.inference.colorizer import Colorizer


def test_a_sweep_is_every_combination() -> None:
    found = checkpoint_methods.parse_sweep(["temperature=0.4,1", "size=64,96"])
    assert found == [
        {"temperature": 0.4, "input_size": 64},
        {"temperature": 0.4, "input_size": 96},
        {"temperature": 1.0, "input_size": 64},
        {"temperature": 1.0, "input_size": 96},
    ]
    assert checkpoint_methods.parse_sweep([]) == []


def test_further_settings_have_names() -> None:
    found = checkpoint_methods.parse_variants(
        ["faithful:temperature=1,vividness=0", "dull:saturation=0.5"]
    )
    assert found == {
        "faithful": {"temperature": 1.0, "vividness": 0.0},
        "dull": {"saturation": 0.5},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temperatur=1", "KEY of temperature"),
        ("temperature", "KEY=VALUE"),
        ("temperature=hot", "not a number"),
        ("size=1.5", "not a whole number"),
    ],
)
def test_wrong_settings_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checkpoint_methods.parse_sweep([text])
    with pytest.raises(ConfigError, match=message):
        checkpoint_methods.parse_variants([f"name:{text}"])


def test_further_settings_without_a_name_are_an_error() -> None:
    for texts in (["temperature=1"], ["a:size=64", "a:size=32"]):
        with pytest.raises(ConfigError, match="NAME:"):
            checkpoint_methods.parse_variants(texts)


def test_values_out_of_range_are_an_error() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        checkpoint_methods.with_overrides(DecodeConfig(), {"temperature": -1})


def test_rows_are_named_after_runs_and_files(
    warm_runtime: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    colorizer = Colorizer(warm_runtime)
    monkeypatch.setattr(Colorizer, "from_pretrained", lambda source, device: colorizer)
    found = checkpoint_methods.checkpoint_methods(
        ["default", "runs/gan/release.safetensors", "mine.safetensors", "gan.safetensors"],
        settings={"vividness": 0.5},
        variants={"faithful": {"vividness": 0.0}},
        sweep=[{"temperature": 0.4}],
    )
    assert [row.name for row in found[::3]] == ["default", "gan", "mine", "gan #2"]
    assert [row.name for row in found[:3]] == ["default", "default (faithful)", "default T 0.4"]
    assert [row.primary for row in found[:3]] == [True, True, False]
    settings = [row.metadata["decode"] for row in found[:3]]
    assert [one["vividness"] for one in settings] == [0.5, 0.0, 0.5]
    assert [one["temperature"] for one in settings] == [1.0, 1.0, 0.4]
    assert found[3].metadata["checkpoint"] == "runs/gan/release.safetensors"


@pytest.mark.parametrize(
    "asked",
    [
        {"settings": {"calibration": 0.5}},
        {"variants": {"natural": {"calibration": 1.0}}},
        {"sweep": [{"calibration": 0.0}, {"calibration": 0.3}]},
    ],
)
def test_a_calibration_of_weights_without_one_is_an_error(
    asked: dict[str, Any], warm_runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorizer = Colorizer(warm_runtime)
    monkeypatch.setattr(Colorizer, "from_pretrained", lambda source, device: colorizer)
    with pytest.raises(ConfigError, match=r"my\.safetensors has no calibration; fit .*"):
        checkpoint_methods.checkpoint_methods(["my.safetensors"], **asked)
    faithful = {"faithful": {"temperature": 1.0, "calibration": 0.0}}
    assert len(checkpoint_methods.checkpoint_methods(["my.safetensors"], variants=faithful)) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no\.safetensors"):
        checkpoint_methods.checkpoint_methods([str(tmp_path / "no.safetensors")])
