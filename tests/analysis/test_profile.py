"""profile: small runs of the command."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fake_model import released, use_fake_model
from PIL import Image, ImageCms

from pix2color.analysis.profile import STAGES, colorize_in_stages
from pix2color.cli import profile
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import read, writing
from pix2color.runtime.torch import TorchRuntime


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_model(monkeypatch)


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


def _photo(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    image, options = Image.fromarray(pixels), {"format": form.partition(" ")[0]}
    if form == "PNG 16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif form == "JPEG RGB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image, options["icc_profile"] = image.convert("RGB"), profile
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "JPEG RGB", "PNG", "PNG 16", "TIFF"])
def test_the_stages_together_write_what_coloring_writes(form: str) -> None:
    colorizer = Colorizer(TorchRuntime(released()))
    data, expected = _photo(form), io.BytesIO()
    writing.encode(colorizer.colorize(read(data)), expected)
    colored, seconds = colorize_in_stages(data, colorizer)
    assert colored == expected.getvalue()
    assert len(seconds) == len(STAGES) and min(seconds) > 0


def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile.main(["--runs", "1000", "--json", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: not a regular file\n"


@pytest.mark.parametrize("stride", [1, 8])
def test_it_times_networks_of_every_stride(
    stride: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 x 150 pixels are seen at 64 x 48: no multiples of 8 come about by themselves."""
    network = released(input_size=44)
    monkeypatch.setattr(network.generator, "stride", stride)
    use_fake_model(monkeypatch, network)
    assert profile.main(["--megapixels", "0.03", "--runs", "1"]) == 0
    assert "0.03 MP JPEG" in capsys.readouterr().out


def test_the_rate_of_a_folder_is_printed_beside_the_slowest_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["--megapixels", "0.05", "--runs", "1", "--folder", "3", "--json", str(path)]
    assert profile.main(arguments) == 0
    folder = json.loads(path.read_text())["folder"]["0.05 MP JPEG"]
    assert folder["photos"] == 3 and folder["photos_per_second"] > 0
    assert folder["slowest_stage"] in capsys.readouterr().out
    assert folder["cores_busy"] > 0


@pytest.mark.parametrize(
    "arguments", [("--runs", "0"), ("--megapixels", "1", "nan"), ("--folder", "-1")]
)
def test_it_refuses_numbers_out_of_range(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile.main([*arguments]) == 2
    assert f"error: {arguments[0]} " in capsys.readouterr().err
