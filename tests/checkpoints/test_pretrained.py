"""Pretrained weights: nothing in a downloaded file is run, and no file is silently ignored."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from pix2color import build
from pix2color.checkpoints.pretrained import pretrained_classifier, pretrained_encoder
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.config import load as config_of
from pix2color.errors import ConfigError, WeightsError


class Bomb:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"open({str(self.path)!r}, 'w')",))


@pytest.mark.parametrize("load", [pretrained_encoder, pretrained_classifier])
def test_a_pickle_in_the_download_cache_is_not_run(
    load: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.hub checks the hash of a download only, not of a file in its cache."""
    import torchvision

    boom = tmp_path / "boom"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    cached = tmp_path / "hub" / "checkpoints" / url.rsplit("/")[-1]
    cached.parent.mkdir(parents=True)
    torch.save({"conv1.weight": Bomb(boom)}, cached)
    with pytest.raises(WeightsError, match="ImageNet weights of resnet18") as caught:
        load("resnet18", "imagenet")  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert not boom.exists()


@pytest.mark.parametrize("load", [pretrained_encoder, pretrained_classifier])
def test_files_that_are_no_state_dict_are_refused_unread(load: object, tmp_path: Path) -> None:
    boom = tmp_path / "boom"
    for name, content in (
        ("bomb.pth", pickle.dumps(Bomb(boom), protocol=2)),
        ("text.pth", b"weights, as promised"),
        ("list.pth", pickle.dumps([1, 2], protocol=2)),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match="is not a plain state dict") as caught:
            load("resnet18", str(tmp_path / name))  # type: ignore[operator]
        assert "\n" not in str(caught.value)
    assert not boom.exists()


def test_a_file_for_a_timm_encoder_is_refused_and_not_ignored(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"timm/resnet10t takes no weights file"):
        pretrained_encoder("timm/resnet10t", str(tmp_path / "weights.pth"))


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for load in (pretrained_encoder, pretrained_classifier):
        with pytest.raises(WeightsError, match="does not hold the weights of resnet18") as caught:
            load("resnet18", str(tmp_path / "other.pth"))
        assert "\n" not in str(caught.value)


def test_an_encoder_trained_on_gray_photos_does_not_stand_for_the_pretrained_one() -> None:
    for source in ("default", str(DEFAULT_FILE)):
        with pytest.raises(ConfigError, match=r"gray photos.*set model\.pretrained to imagenet"):
            pretrained_encoder("mobilenet_v2", source, fine_tuned=False)
        pretrained_encoder("mobilenet_v2", source)


def test_a_discriminator_on_frozen_features_needs_an_encoder_with_weights() -> None:
    options = ("gan.discriminator=projected", "gan.norm=spectral", "model.pretrained=imagenet")
    config = config_of("strided_gan", [*options, "init_from=null"])
    with pytest.raises(ConfigError, match="no weights of strided_cnn: use patch"):
        build.build_training(config, start=False)
