"""python -m pix2color evaluate, run in this process on small photos with a stand-in network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor

from pix2color.checkpoints import release_file
from pix2color.cli import evaluate
from pix2color.config import DecodeConfig
from pix2color.errors import EXIT_OK, EXIT_USAGE
from pix2color.inference.colorizer import Colorizer
from pix2color.runtime.base import NetworkInfo, NetworkOutput


class _Sepia:
    """A runtime: brown where it is bright."""

    kind, device = "torch", "cpu"
    info = NetworkInfo("sepia", "d1", DecodeConfig(input_size=48), output_stride=2)

    def run(self, lightness: np.ndarray, **options: Any) -> NetworkOutput:
        cells = F.avg_pool2d(torch.from_numpy(lightness), 2).numpy() / 10
        return NetworkOutput(np.concatenate((cells, 2 * cells), axis=1))


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No packaged weights, no download."""

    from_pretrained = Colorizer.from_pretrained

    def load(source: str, device: str) -> Colorizer:
        is_run = source.startswith("runs/")
        return Colorizer(_Sepia()) if is_run else from_pretrained(source, device)

    def offline(*args: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(Colorizer, "from_pretrained", load)
    monkeypatch.setattr(release_file, "DEFAULT_FILE", tmp_path / "none.safetensors")
    monkeypatch.setattr(lpips, "LPIPS", offline)


def _run(*arguments: str | Path) -> int:
    return evaluate.main([*map(str, arguments), "--quiet", "--resamples", "20"])


def _tree(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return tree


def test_a_folder_becomes_a_report(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    code = _run(
        "--data", photo_folder, "--checkpoint", "runs/sepia/release.safetensors", "--limit", "3",
        "--crop", "48", "--out", out, "--variant", "gray:saturation=0",
        "--sweep", "saturation=0.5,2",
    )  # fmt: skip
    assert code == EXIT_OK
    tree = _tree(out)
    assert [row["name"] for row in tree["rows"]] == [
        "truth", "gray", "random", "sepia", "sepia (gray)", "sepia saturation 0.5",
        "sepia saturation 2",
    ]  # fmt: skip
    figures = {row["name"]: row["figures"] for row in tree["rows"]}
    assert figures["sepia (gray)"]["auc"] == figures["gray"]["auc"]
    ratios = [figures[n]["colorfulness_ratio"]["value"] for n in list(figures)[-2:]]
    assert 0 < ratios[0] < ratios[1]
    assert tree["photos"] == 3 and tree["data"]["found"] == 4
    assert tree["protocol"]["name"] == "center"
    printed = capsys.readouterr().out
    assert "no weights of its backbone" in printed
    assert "no weights are packaged" in printed
    with Image.open(out / "grid.png") as grid:
        assert grid.width == 4 * 192  # gray, sepia, sepia (gray), truth


def test_a_quick_sweep_passes_each_photo_once_per_size(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[int, int]] = []
    run = _Sepia.run

    def counted(self: _Sepia, lightness: np.ndarray, **options: Any) -> NetworkOutput:
        passes.append((len(lightness), lightness.shape[-1]))
        return run(self, lightness, **options)

    monkeypatch.setattr(_Sepia, "run", counted)
    out = tmp_path / "report"
    code = _run(
        "--data", photo_folder, "--checkpoint", "runs/sepia/release.safetensors", "--crop", "48",
        "--quick", "--sweep", "saturation=0.5,1,2", "temperature=0.4,0.8", "size=32,48",
        "--out", out,
    )  # fmt: skip
    assert code == EXIT_OK
    assert sorted(passes) == [(1, 32)] * 4 + [(1, 48)] * 4
    tree = _tree(out)
    assert len(tree["rows"]) == 3 + 12
    assert {"auc", "psnr", "cast", "colorfulness_ratio"} <= tree["rows"][-1]["figures"].keys()
    assert not {"ssim", "lpips"} & tree["rows"][-1]["figures"].keys()
    assert all(row["milliseconds"] is None for row in tree["rows"])
    assert "SSIM" not in (out / "report.md").read_text() and not (out / "grid.png").exists()


def test_fd_is_measured_in_the_features_of_a_file(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    file, out = tmp_path / "net.pth", tmp_path / "report"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), file)
    code = _run(
        "--data", photo_folder, "--crop", "48", "--no-lpips", "--checkpoint",
        "runs/sepia/release.safetensors", "--fd-backbone", file, "--sweep", "saturation=0,2",
        "--out", out,
    )  # fmt: skip
    assert code == EXIT_OK
    figures = {row["name"]: row["figures"]["fd"] for row in _tree(out)["rows"]}
    assert figures["truth"]["value"] == pytest.approx(0, abs=1e-6)
    assert figures["sepia saturation 0"]["value"] == pytest.approx(figures["gray"]["value"])
    assert figures["gray"]["value"] != figures["sepia saturation 2"]["value"] > 0
    page, digest = (out / "report.md").read_text(), hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"squeezenet1_1 (net.pth, SHA-256 {digest[:12]})" in page
    assert "FD is of 4 photos and is not FID" in page and "| FD |" in capsys.readouterr().out


def test_without_data_the_bundled_photos_serve(tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert _run("--limit", "1", "--crop", "32", "--no-lpips", "--out", out) == EXIT_OK
    tree = _tree(out)
    assert tree["data"]["toy"] and tree["photos"] == 1
    assert "lpips" not in tree["unmeasured"]


def test_the_sample_is_fixed(photo_folder: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        _run("--data", photo_folder, "--limit", "2", "--crop", "24", "--no-lpips", "--out", out)
    one, two = ((out / "photos.csv").read_text() for out in outs)
    assert one == two


def test_halves_share_no_photo_and_make_the_whole(photo_folder: Path, tmp_path: Path) -> None:
    seen = {}
    for part in ("1/1", "1/2", "2/2"):
        out = tmp_path / part.replace("/", "of")
        _run("--data", photo_folder, "--fold", part, "--crop", "24", "--no-lpips", "--out", out)
        lines = (out / "photos.csv").read_text().splitlines()[1:]
        seen[part] = {line.split(",")[0] for line in lines}
    assert seen["1/2"] and seen["2/2"] and not seen["1/2"] & seen["2/2"]
    assert seen["1/2"] | seen["2/2"] == seen["1/1"]


@pytest.mark.parametrize("protocol", ["resize", "full"])
def test_other_protocols(photo_folder: Path, tmp_path: Path, protocol: str) -> None:
    code = _run(
        "--data", photo_folder, "--limit", "2", "--crop", "40", "--protocol", protocol,
        "--no-lpips", "--failures", "--out", tmp_path / "report",
    )  # fmt: skip
    assert code == EXIT_OK
    page = (tmp_path / "report" / "report.md").read_text()
    assert "The five failures" in page
    assert ("stretched to 40 x 40" in page) == (protocol == "resize")


def test_broken_files_are_left_out_and_named(
    small_photos: list[np.ndarray], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(small_photos[0]).save(data / "good.png")
    (data / "text.jpg").write_text("not a photo")
    (data / "empty.jpg").touch()
    assert _run("--data", data, "--no-lpips", "--out", tmp_path / "report") == EXIT_OK
    tree = _tree(tmp_path / "report")
    assert tree["photos"] == 1
    assert sorted(name for name, _ in tree["data"]["broken"]) == ["data/empty.jpg", "data/text.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "{tmp}/missing"), "no such file or folder"),
        (("--data", "{tmp}/empty"), "no photos in"),
        (("--crop", "0"), "--crop 0: at least 1"),
        (("--limit", "0"), "--limit 0: at least 1"),
        (("--fold", "3/2"), "--fold 3/2: write it as K/N"),
        (("--fold", "half"), "--fold half: write it as K/N"),
        (("--sweep", "heat=1"), "KEY of temperature"),
        (("--variant", "faithful"), "NAME:"),
        (("--checkpoint", "{tmp}/no.safetensors"), "no weights file"),
        (("--checkpoint", "{tmp}/pickle.safetensors"), "is a pickle"),
        (("--checkpoint", "runs/a/release.safetensors", "--temperature", "-1"), "temperature -1"),
        (("--lpips-net", "squeeze", "--lpips-backbone", "{tmp}/no.pth"), "no weights file"),
        (("--fd-backbone", "{tmp}/no.safetensors"), "no weights file"),
        (("--fd-backbone", "{tmp}/foreign.pth"), "torchvision's mobilenet_v2 and squeezenet1_1"),
        (("--quick", "--failures"), "--quick leaves out what --failures measures"),
        (("--classifier", "{tmp}/no.safetensors"), "no weights file"),
        (("--device", "nowhere"), "no device"),
        (("--out", "{tmp}/pickle.safetensors"), "is not a writable folder"),
        (("--out", "{tmp}/pickle.safetensors/deep"), "is not a writable folder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("pickle.safetensors", "foreign.pth"):
        torch.save({"a": torch.zeros(1)}, tmp_path / name)
    filled = [text.format(tmp=tmp_path) for text in arguments]
    if "--out" not in filled:
        filled += ["--out", str(tmp_path / "report")]
    if "--lpips-net" not in filled:
        filled.append("--no-lpips")
    assert _run(*filled) == EXIT_USAGE
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "report").exists()


def test_a_classifier_needs_classes(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torchvision
    from safetensors.torch import save_file

    save_file(torchvision.models.mobilenet_v2().state_dict(), tmp_path / "net.safetensors")
    code = _run(
        "--data", photo_folder, "--classifier", tmp_path / "net.safetensors", "--no-lpips",
        "--out", tmp_path / "report",
    )  # fmt: skip
    assert code == EXIT_USAGE
    assert "none of the 4 photos has a class" in capsys.readouterr().err


def test_classes_of_folders_are_read(
    small_photos: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pix2color.evaluation import metric_models

    class Fixed:
        name = "fixed"

        def __init__(self, name_or_file: str, *, device: Any) -> None:
            pass

        def topk_correct(self, rgb: Tensor, labels: list[int]) -> tuple[Tensor, Tensor]:
            right = torch.tensor([float(label == 1) for label in labels], dtype=torch.float64)
            return right, torch.ones_like(right)

    monkeypatch.setattr(metric_models, "Classifier", Fixed)
    for folder, photo in zip(("goldfish", "tench"), small_photos, strict=False):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.fromarray(photo).save(tmp_path / "data" / folder / "1.png")
    out = tmp_path / "report"
    code = _run("--data", tmp_path / "data", "--classifier", "fixed", "--no-lpips", "--out", out)
    assert code == EXIT_OK
    tree = _tree(out)
    assert tree["rows"][0]["figures"]["top1"]["value"] == 50
    assert tree["rows"][0]["figures"]["top1_recovered"]["value"] is None  # gray is as good
    assert "2 photos have a class" in tree["measured_with"]["classifier"]
    report = (out / "report.md").read_text()
    figures = report[report.index("## Figures") : report.index("## Gains")]
    assert (
        f"top-1 and top-5 are read by {tree['measured_with']['classifier'].split(',')[0]};"
        in figures
    )
