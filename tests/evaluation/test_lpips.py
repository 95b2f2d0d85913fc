"""LPIPS from backbone files, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import lpips
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from pix2color.errors import WeightsError
from pix2color.evaluation.lpips import NETS, Lpips, NetName
from pix2color.models.init import skip_weight_init


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained squeezenet in a file, as torchvision would save it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


def test_the_known_value(shared_weights: Path) -> None:
    """torchmetrics' documentation prints 0.1008 for these pictures."""
    meter = Lpips("squeeze", backbone=shared_weights / "squeezenet1_1_features.safetensors")
    torch.manual_seed(123)
    one, other = (torch.rand(10, 3, 100, 100) for _ in range(2))
    distance = meter.distance(meter.features(one), meter.features(other))
    assert distance is not None
    assert float(distance.mean()) == pytest.approx(0.1008, abs=5e-5)


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")  # lpips names weights the old way
@pytest.mark.parametrize("net", NETS)
def test_it_is_what_the_package_computes(net: NetName, tmp_path: Path, rgb: Tensor) -> None:
    """The package's own distance, of a backbone with random weights that a file carries over."""
    torch.manual_seed(0)
    with skip_weight_init():  # the package draws a whole network, and vgg16's takes seconds
        whole = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    own = {
        key: torch.randn_like(value) / value[0].numel() ** 0.5
        for key, value in whole.net.state_dict().items()
    }
    whole.net.load_state_dict(own)
    state = {f"features.{key.partition('.')[2]}": value for key, value in own.items()}
    save_file(state, tmp_path / "backbone.safetensors")
    meter = Lpips(net, backbone=tmp_path / "backbone.safetensors")
    rgb = rgb[:2]
    other = rgb.flip(-1)
    with torch.no_grad():
        expected = whole(other, rgb, normalize=True).flatten()
    found = meter.distance(meter.features(other), meter.features(rgb))
    assert found is not None and float(found.min()) > 0
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_truth_is_at_distance_nought(backbone: Path, rgb: Tensor) -> None:
    meter = Lpips("squeeze", backbone=backbone)
    found = meter.distance(meter.features(rgb), meter.features(rgb))
    assert found is not None
    assert found.tolist() == [0.0] * 4


def test_pictures_too_small_for_it_have_none(backbone: Path, rgb: Tensor) -> None:
    meter = Lpips("squeeze", backbone=backbone)
    assert meter.features(rgb[..., :16, :16]) is None
    assert meter.features(rgb[..., :17, :17]) is not None
    assert meter.distance(None, None) is None


def test_features_alone_are_enough(backbone: Path, tmp_path: Path, rgb: Tensor) -> None:
    state = torch.load(backbone, weights_only=True)
    only = {key: value for key, value in state.items() if key.startswith("features.")}
    save_file(only, tmp_path / "features.safetensors")
    one, other = (
        Lpips("squeeze", backbone=path).features(rgb)
        for path in (backbone, tmp_path / "features.safetensors")
    )
    assert one is not None and other is not None
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_backbone_of_another_net_is_named(backbone: Path) -> None:
    with pytest.raises(WeightsError, match=r"alexnet, the backbone of LPIPS \(alex\)"):
        Lpips("alex", backbone=backbone)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        Lpips("squeeze", backbone=tmp_path / "missing.safetensors")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError, match="not a plain state dict"):
        Lpips("squeeze", backbone=tmp_path / "text.pth")
    torch.save({"features": [1, 2]}, tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="more than tensors"):
        Lpips("squeeze", backbone=tmp_path / "list.pth")


def test_without_a_network_it_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(lpips, "LPIPS", offline)
    with pytest.raises(WeightsError, match="weights of it in lpips_backbone"):
        Lpips("alex")
