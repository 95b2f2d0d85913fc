"""The L2 head on frozen features: it learns, its features stay, its file, its row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pix2color import build
from pix2color.checkpoints import checkpoint, hub, release_file
from pix2color.cli import baseline, evaluate
from pix2color.color.lab import rgb_to_lab
from pix2color.config import load
from pix2color.data.loader import Batch
from pix2color.errors import EXIT_OK, EXIT_USAGE, WeightsError
from pix2color.evaluation import l2_head
from pix2color.evaluation.l2_head import L2HeadRuntime, TrainedHead
from pix2color.inference.colorizer import Colorizer
from pix2color.models.generator import Generator

OPTIONS = ["model.conv_encoder.width=8", "model.upsample.stages=[[], [16]]", "decode.input_size=48"]


def _release(path: Path, seed: int = 0) -> Path:
    """A release file of a small untrained network with classes."""
    config = load("zhang_class", OPTIONS)
    torch.manual_seed(seed)
    generator = build.build_generator(config.model)
    checkpoint.save(path, generator, config=config, data={})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _release(tmp_path_factory.mktemp("weights") / "small.safetensors")


class OnePhoto:
    """Batches of one photo, always the same."""

    wait_seconds = 0.0

    def __init__(self, rgb: Tensor) -> None:
        self.lab = rgb_to_lab(rgb)

    def get(self, first: int, size: int) -> Batch:
        lab = self.lab.expand(size, -1, -1, -1)
        return Batch(lab[:, :1], lab)

    def close(self) -> None:
        """Nothing was read ahead."""


@pytest.fixture(scope="module")
def trained(weights: Path) -> Iterator[tuple[Generator, list[float], TrainedHead]]:
    """A head that has seen the coffee cup 100 times; the losses on the way."""
    import skimage.data
    from PIL import Image

    small = np.array(Image.fromarray(skimage.data.coffee()).resize((64, 64)))
    rgb = torch.from_numpy(small).permute(2, 0, 1).unsqueeze(0) / 255
    loaded = checkpoint.load(weights)
    losses: list[float] = []
    torch.manual_seed(0)
    head, samples = l2_head.train_head(
        loaded.generator,
        OnePhoto(rgb),
        minutes=math.inf,
        batch=1,
        samples=100,
        progress=lambda spent, loss: losses.append(loss),
    )
    assert samples == 100
    data = {"photos": 1, "samples": samples}
    yield loaded.generator, losses, TrainedHead(head, loaded.digest, data)


def test_it_learns_a_photo_on_features_that_stay_as_they_are(
    trained: tuple[Generator, list[float], TrainedHead], weights: Path
) -> None:
    """From the error of gray down."""
    generator, losses, _ = trained
    assert losses[-1] < losses[0] / 4
    for key, value in checkpoint.load(weights).generator.state_dict().items():
        assert torch.equal(generator.state_dict()[key], value)


def test_a_head_survives_its_file(
    trained: tuple[Generator, list[float], TrainedHead], tmp_path: Path
) -> None:
    head = trained[2]
    l2_head.write(tmp_path / "head.safetensors", head)
    found = l2_head.read(tmp_path / "head.safetensors")
    assert (found.weights, found.data) == (head.weights, head.data)
    features = torch.rand(1, 16, 8, 8)
    assert torch.allclose(found.head(features), head.head(features), atol=0.2)


def test_a_head_of_the_packaged_weights_fits_into_the_package(tmp_path: Path) -> None:
    """Under 2 MB."""
    path = tmp_path / "head.safetensors"
    l2_head.write(path, TrainedHead(l2_head.L2Head(128), "0" * 12, {}))
    assert path.stat().st_size < 1_000_000


def test_its_colors_are_those_of_the_head_at_any_setting(
    trained: tuple[Generator, list[float], TrainedHead], weights: Path
) -> None:
    """A regression has no temperature, and not the calibration of the weights."""
    generator, _, head = trained
    base = Colorizer.from_pretrained(weights, "cpu").runtime
    runtime = L2HeadRuntime(base, head)
    assert runtime.info.log_prior is None and runtime.info.decode.calibration == 0
    lightness = 100 * np.random.default_rng(0).random((1, 1, 40, 48), np.float32)
    with torch.inference_mode():
        features = generator.predict_features(torch.from_numpy(lightness))[0]
        expected = head.head(features).numpy()
    output = runtime.run(lightness)
    assert output.values.shape == (1, 2, 10, 12) and output.features is None
    assert np.allclose(output.values, expected, atol=0.05)


@pytest.mark.parametrize("kind", ["missing", "text", "foreign", "release"])
def test_other_files_are_refused(kind: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    if kind == "text":
        path.write_text("no head")
    elif kind == "foreign":
        save_file({"0.weight": torch.zeros(2)}, path)
    elif kind == "release":
        path = weights
    with pytest.raises(WeightsError, match="is not an L2 head") as caught:
        l2_head.read(path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def _unpackaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(release_file, "DEFAULT_FILE", tmp_path / "none.safetensors")


@pytest.mark.usefixtures("_unpackaged")
def test_the_command_makes_a_row_of_evaluate(
    weights: Path, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = tmp_path / "head.safetensors"
    usual = ["--data", str(photo_folder), "--checkpoint", str(weights), "--quiet"]
    small = ["--crop", "32", "--batch", "4", "--samples", "8"]
    assert baseline.main([*usual, *small, "--out", str(head)]) == EXIT_OK
    assert "8 crops of 4 photos" in capsys.readouterr().out
    out = ["--crop", "48", "--quick", "--resamples", "5", "--out", str(tmp_path / "report")]
    assert evaluate.main([*usual, *out, "--l2-head", str(head)]) == EXIT_OK
    tree = json.loads((tmp_path / "report" / "metrics.json").read_text())
    rows = {row["name"]: row for row in tree["rows"]}
    assert list(rows)[-2:] == ["small", "small (L2 head)"]
    assert rows["small (L2 head)"]["metadata"]["L2 head"] == "trained on 8 crops of 4 photos"
    auc = [rows[name]["figures"]["auc"]["value"] for name in ("small", "small (L2 head)")]
    assert auc[0] != auc[1]
    # A head of other weights is refused in one line.
    other = _release(tmp_path / "other.safetensors", seed=1)
    usual[3] = str(other)
    assert evaluate.main([*usual, *out, "--l2-head", str(head)]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "trained on other weights" in said and said.count("\n") == 1


def test_a_packaged_head_is_a_row_beside_the_weights_that_it_belongs_to(
    trained: tuple[Generator, list[float], TrainedHead],
    weights: Path,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beside newer weights it is left out, and the command says so."""
    head = tmp_path / "l2_head.safetensors"
    l2_head.write(head, trained[2])
    monkeypatch.setattr(l2_head, "PACKAGED_FILE", head)
    usual = ["--data", str(photo_folder), "--crop", "48", "--quick", "--quiet", "--resamples", "5"]
    for packaged, rows in ((weights, 4), (_release(tmp_path / "newer.safetensors", 1), 3)):
        for module in (release_file, hub):
            monkeypatch.setattr(module, "DEFAULT_FILE", packaged)
        assert evaluate.main([*usual, "--out", str(tmp_path / "report")]) == EXIT_OK
        tree = json.loads((tmp_path / "report" / "metrics.json").read_text())
        assert len(tree["rows"]) == rows
        said = "no row of L2: the L2 head was trained on other weights" in capsys.readouterr().out
        assert said == (rows == 3)


@pytest.mark.usefixtures("_unpackaged")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "head.pth"], "must end in .safetensors"),
        (["--minutes", "0"], "--minutes 0: at least 0.001"),
        (["--checkpoint", "none.safetensors"], "none.safetensors"),
        (["--data", "nothing"], "no such file or folder"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    said: str,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual = ["--checkpoint", str(weights), "--quiet", "--out", str(tmp_path / "head.safetensors")]
    assert baseline.main([*usual, *arguments]) == EXIT_USAGE
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "head.safetensors").exists()
