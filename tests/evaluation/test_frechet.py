"""FD: closed forms, scipy's matrix root, and weights that do not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from scipy import linalg
from torch import Tensor

from pix2color.errors import WeightsError
from pix2color.evaluation.frechet import Backbone, frechet_distance


def _normal(count: int, size: int, seed: int) -> np.ndarray:
    """Correlated features of very different spreads."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((size, size)) * np.logspace(0, -3, size)
    return rng.standard_normal((count, size)) @ mixed


@pytest.mark.parametrize(("count", "size"), [(200, 6), (20, 60)])
def test_a_set_is_at_no_distance_from_itself(count: int, size: int) -> None:
    features = _normal(count, size, 0)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("count", "size"), [(200, 6), (20, 60)])
def test_a_shift_costs_its_square(count: int, size: int) -> None:
    features = _normal(count, size, 1)
    shift = np.linspace(-1, 2, size)
    found = frechet_distance(features + shift, features)
    assert found == pytest.approx(np.square(shift).sum(), rel=1e-9)


def test_a_wider_spread_costs_the_square_of_the_difference() -> None:
    """Of one dimension: (s1 - s2)^2; of features scaled by k: (k - 1)^2 tr C."""
    features = _normal(100, 5, 2)
    centered = features - features.mean(0)
    trace = np.trace(np.cov(features.T))
    assert frechet_distance(3 * centered, centered) == pytest.approx(4 * trace, rel=1e-9)


def test_it_is_scipys_where_the_covariances_are_regular() -> None:
    one, other = _normal(400, 12, 3), 0.7 * _normal(300, 12, 4) + 0.1
    covariances = [np.cov(x.T) for x in (one, other)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(one.mean(0) - other.mean(0)).sum()
    expected += np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root).real
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-8)


def test_with_fewer_photos_than_dimensions_it_is_scipys_as_well() -> None:
    """scipy's root of the singular product is only good to single precision."""
    one, other = _normal(15, 40, 5), _normal(12, 40, 6)
    roots = [linalg.sqrtm(np.cov(x.T) + 1e-12 * np.eye(40)).real for x in (one, other)]
    expected = np.square(one.mean(0) - other.mean(0)).sum()
    expected += sum(np.trace(np.cov(x.T)) for x in (one, other))
    expected -= 2 * linalg.svdvals(roots[0] @ roots[1]).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)


def test_float32_features_are_measured_in_float64() -> None:
    """Of features far from 0, float32 would lose the spread."""
    features = (_normal(50, 8, 7) + 4096).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features.astype(np.float64) + 0.5) == pytest.approx(2.0)


def test_photos_without_features_do_not_count_and_one_photo_has_no_distance() -> None:
    features = _normal(30, 4, 8)
    with_gap = np.concatenate((features, np.full((2, 4), np.nan)))
    assert frechet_distance(with_gap, features) == pytest.approx(0, abs=1e-9)
    assert np.isnan(frechet_distance(features[:1], features))


@pytest.fixture(scope="module")
def squeeze_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained squeezenet1_1 with its classifier, as torchvision saves it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained mobilenet_v2 in half precision."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobile.safetensors"
    state = torchvision.models.mobilenet_v2().state_dict()
    save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    return path


def test_the_network_is_recognized_by_its_keys(
    squeeze_file: Path, mobilenet_file: Path, rgb: Tensor
) -> None:
    squeeze, mobile = Backbone(squeeze_file), Backbone(mobilenet_file)
    assert (squeeze.name, squeeze.dimensions) == ("squeezenet1_1", 512)
    assert (mobile.name, mobile.dimensions) == ("mobilenet_v2", 1280)
    assert squeeze.digest in squeeze.description and len(squeeze.digest) == 12
    for backbone in (squeeze, mobile):
        assert backbone.features(rgb).shape == (4, backbone.dimensions)


def test_features_are_torchvisions_averaged_over_the_picture(
    mobilenet_file: Path, rgb: Tensor
) -> None:
    torch.manual_seed(0)
    net = torchvision.models.mobilenet_v2().half().float().eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = net.features((rgb - mean) / std).mean((2, 3))
    assert torch.allclose(Backbone(mobilenet_file).features(rgb), expected, atol=1e-4)


def test_the_features_part_of_a_file_is_enough(squeeze_file: Path, tmp_path: Path) -> None:
    state = torch.load(squeeze_file, weights_only=True)
    path = tmp_path / "features.safetensors"
    save_file({k: v.clone() for k, v in state.items() if k.startswith("features.")}, path)
    assert Backbone(path).name == "squeezenet1_1"


def test_pictures_too_small_for_the_network_have_no_features(
    squeeze_file: Path, mobilenet_file: Path
) -> None:
    assert Backbone(squeeze_file).features(torch.zeros(2, 3, 9, 40)).isnan().all()
    assert Backbone(mobilenet_file).features(torch.zeros(2, 3, 90, 40)).isnan().all()


@pytest.mark.parametrize("kind", ["foreign", "pickle", "missing"])
def test_weights_that_do_not_hold_are_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    if kind == "foreign":
        torch.save({"features.0.weight": torch.zeros(2)}, path)
    elif kind == "pickle":
        torch.save({"net": torch.nn.Linear(2, 2)}, path)
    with pytest.raises(WeightsError, match=r"net\.pth") as caught:
        Backbone(path)
    assert "\n" not in str(caught.value)


def test_the_weights_at_hand_tell_gray_from_color(shared_weights: Path, rgb: Tensor) -> None:
    gray = rgb.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for name in ("squeezenet1_1_features", "mobilenet_v2_imagenet"):
        backbone = Backbone(shared_weights / f"{name}.safetensors")
        truth, half, none = (backbone.features(x).numpy() for x in (rgb, (rgb + gray) / 2, gray))
        assert 0 < frechet_distance(half, truth) < frechet_distance(none, truth)
