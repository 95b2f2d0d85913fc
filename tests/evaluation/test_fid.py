"""FID: of sets of pictures in a stand-in's features; weights that do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

pytest.importorskip("torch_fidelity", reason="needs the extra fid")

from pix2color.errors import WeightsError
from pix2color.evaluation.fid import Fid, inception


def means(levels: Tensor) -> Tensor:
    """Features that a test can follow: the mean of each channel, in 0..255."""
    assert levels.dtype == torch.uint8
    return levels.float().mean((2, 3))


@pytest.fixture
def fid() -> Fid:
    return Fid(means, description="a stand-in")


@pytest.fixture
def pictures(rgb: Tensor) -> Tensor:
    """Sixteen quarters of real photos, 16,3,32,32."""
    return torch.cat([part for half in rgb.chunk(2, -1) for part in half.chunk(2, -2)])


def shifted(pictures: Tensor, levels: float) -> Tensor:
    """Red by so many levels, without leaving 0..1 on either side."""
    shift = torch.tensor([levels / 255, 0, 0]).view(1, 3, 1, 1)
    return pictures * 0.5 + 0.25 + shift


def test_a_set_is_at_no_distance_from_itself(fid: Fid, pictures: Tensor) -> None:
    fid.update("truth", pictures)
    fid.update("same", pictures)
    assert fid.distances("truth") == pytest.approx({"truth": 0, "same": 0}, abs=1e-3)


def test_it_grows_with_a_shift_of_color(fid: Fid, pictures: Tensor) -> None:
    """Where the spread is the same, it is the squared distance of the means."""
    fid.update("truth", shifted(pictures, 0))
    for levels in (10, 20, 40):
        fid.update(f"{levels}", shifted(pictures, levels))
    fid.update("gray", pictures.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    found = fid.distances("truth")
    assert [found[f"{n}"] for n in (10, 20, 40)] == pytest.approx([100, 400, 1600], rel=0.05)
    assert found["gray"] > 1


def test_batches_add_up(fid: Fid, pictures: Tensor) -> None:
    fid.update("truth", pictures)
    fid.update("other", shifted(pictures, 20))
    at_once = fid.distances("truth")
    fid.reset()
    for part in pictures.split(5):
        fid.update("truth", part)
        fid.update("other", shifted(part, 20))
    assert fid.distances("truth") == pytest.approx(at_once)


def test_one_picture_has_no_distribution(fid: Fid, pictures: Tensor) -> None:
    fid.update("truth", pictures[:1])
    fid.update("other", pictures[1:2])
    assert fid.distances("truth") == {}


def test_values_outside_a_picture_are_cut(fid: Fid, pictures: Tensor) -> None:
    fid.update("truth", pictures)
    fid.update("outside", torch.where(pictures > 0.5, 3.0, -2.0))
    fid.update("cut", F.threshold(pictures.round(), 0.5, 0.0))
    found = fid.distances("truth")
    assert found["outside"] == pytest.approx(found["cut"], rel=0.01)


@pytest.mark.parametrize("kind", ["pickle", "foreign", "safetensors", "missing"])
def test_weights_that_do_not_hold(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    if kind == "pickle":
        torch.save({"net": torch.nn.Linear(2, 2)}, path)
    elif kind == "foreign":
        torch.save({"weight": torch.zeros(2)}, path)
    elif kind == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError) as caught:
        inception(str(path), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"cannot be loaded \(Name or .*evaluate\.fid"):
        inception("inception", device="cpu")


@pytest.mark.slow
def test_inception_measures_pictures_from_a_file(
    rgb: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of random weights, which torch-fidelity itself would download."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    made: list[torch.nn.Module] = []

    def drawn(self: torch.nn.Module, state: object) -> None:
        made.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", drawn)
        module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(made[0].state_dict(), tmp_path / "inception.pth")
    meter = inception(str(tmp_path / "inception.pth"), device="cpu")
    assert "torch-fidelity" in meter.description and "inception.pth" in meter.description
    meter.update("truth", rgb)
    assert meter.distances("truth") == pytest.approx({"truth": 0}, abs=1e-3)
