"""Pretrained encoders and classifiers: from downloads, files, and release files."""

from __future__ import annotations

import pickle
from pathlib import Path

from torch import Tensor

from pix2color.checkpoints import hub, release_file
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.checkpoints.state_dict import read_tensors
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.encoders import NAMES, Encoder, build_encoder, imagenet_weights
from pix2color.models.fusion import Classifier, build_classifier


def pretrained_encoder(name: str, source: str, *, fine_tuned: bool = True) -> Encoder:
    """A pretrained encoder.

    Args:
        name: torchvision's or timm/<name>.
        source: default (the packaged weights' own encoder) | imagenet | a weights file |
            user/repo of the Hugging Face Hub, of which the encoder is taken.
        fine_tuned: whether the encoder of a release file will do, which was trained on gray photos.

    Raises:
        ConfigError: no such encoder, a file for a timm encoder, or a release file where it will
            not do.
        WeightsError: the weights are missing, cannot be downloaded or are of another network; the
            message says how to proceed.
    """
    if source == "default" and not fine_tuned:
        raise _fine_tuned("model.pretrained: default")
    if source == "default":
        if not DEFAULT_FILE.is_file():
            raise WeightsError(
                "model.pretrained: default needs the packaged weights, which are missing from this "
                "installation; use imagenet, none or a file"
            )
        return _encoder_of_release(name, DEFAULT_FILE)
    if source == "imagenet":
        if name.startswith("timm/"):
            try:
                return build_encoder(name, timm_pretrained=True)
            except (OSError, RuntimeError) as error:
                raise _download_failed(name, error) from None
        return build_encoder(name, state=_download(name))
    path = hub.resolve(source) if hub.parse(source) else Path(source)
    if path.suffix == ".safetensors":
        _, meta = release_file.read_safetensors(path)
        if meta.get("format") == release_file.FORMAT:
            if not fine_tuned:
                raise _fine_tuned(str(path))
            return _encoder_of_release(name, path)
    state = _read_file(path)
    try:
        return build_encoder(name, state=state)
    except RuntimeError as error:
        raise _wrong_architecture(path, name, error) from None


def pretrained_classifier(name: str, source: str) -> Classifier:
    """A pretrained classifier of 1000 classes, as the fusion network needs one.

    Args:
        name: torchvision's or timm/<name>.
        source: imagenet | a weights file.

    Raises:
        ConfigError: no such network, or no weights are named: the output of an untrained
            classifier is noise.
        WeightsError: see pretrained_encoder.
    """
    if source in ("none", "default"):
        raise ConfigError(
            f"encoder fusion needs the weights of a whole classifier ({name}): set model.pretrained"
            " to imagenet or a weights file"
        )
    if source == "imagenet" and name.startswith("timm/"):
        try:
            return build_classifier(name, timm_pretrained=True)
        except (OSError, RuntimeError) as error:
            raise _download_failed(name, error) from None
    classifier = build_classifier(name)
    if source == "imagenet":
        classifier.net.load_state_dict(_download(name))
        return classifier
    state = _read_file(Path(source))
    try:
        classifier.net.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        raise _wrong_architecture(Path(source), name, error) from None
    return classifier


def _download(name: str) -> dict[str, Tensor]:
    """ImageNet weights of a torchvision network."""
    if name not in NAMES:
        raise ConfigError(f"no network {name!r}: choose one of {', '.join(NAMES)}")
    try:
        return imagenet_weights(name)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise _download_failed(name, error) from None


def _download_failed(name: str, error: Exception) -> WeightsError:
    reason = str(error).partition("\n")[0]
    return WeightsError(
        f"ImageNet weights of {name} cannot be downloaded ({reason:.100})",
        remedy="name a weights file in {model.pretrained}",
    )


def _fine_tuned(source: str) -> ConfigError:
    return ConfigError(
        f"{source} holds an encoder trained on gray photos, where one as pretrained on color photos"
        " is needed: set model.pretrained to imagenet or to a file with its ImageNet weights"
    )


def _wrong_architecture(path: Path, name: str, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split())
    return WeightsError(f"{path} does not hold the weights of {name}: {reason:.150}")


def _read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of the file that `model.pretrained` names."""
    if not path.is_file():
        raise WeightsError(
            f"model.pretrained: no weights file {path}; give default, imagenet, none or a path"
        )
    return read_tensors(path)


def _encoder_of_release(name: str, path: Path) -> Encoder:
    file = release_file.read(path)
    stored = file.meta.get("model", {}).get("encoder")
    if stored != name:
        raise WeightsError(
            f"{path.name} holds a {stored} encoder, the recipe names {name}: set "
            "model.pretrained to imagenet, none or a weights file"
        )
    prefix = "encoder."
    tensors = {k.removeprefix(prefix): v for k, v in file.tensors.items() if k.startswith(prefix)}
    encoder = build_encoder(name)
    release_file.load_state_strict(encoder, tensors, source=str(path))
    return encoder
