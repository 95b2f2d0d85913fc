"""Where pretrained weights come from: downloads, files, and the encoders of release files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pix2color.checkpoints import hub, release_file
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.encoders import NAMES, Encoder, build_encoder, imagenet_weights
from pix2color.models.fusion import Classifier, build_classifier


def pretrained_encoder(name: str, source: str) -> Encoder:
    """A pretrained encoder.

    Args:
        name: torchvision's or timm/<name>.
        source: default (the packaged weights' own encoder) | imagenet | a weights file |
            user/repo of the Hugging Face Hub, whose encoder is taken.

    Raises:
        ConfigError: no such encoder.
        WeightsError: the weights cannot be had or are of another network; it says what to do.
    """
    if source == "default":
        return _packaged_encoder(name)
    if source == "imagenet":
        otherwise = "or use default (mobilenet_v2) or none"
        state = _download(name, otherwise)
        try:
            return build_encoder(name, state=state)
        except OSError as error:  # timm downloads while it builds
            raise _download_failed(name, error, otherwise) from None
    path = hub.resolve(source) if hub.parse(source) else Path(source)
    if path.suffix == ".safetensors":
        _, meta = release_file.read_safetensors(path)
        if meta.get("format") == release_file.FORMAT:
            return _encoder_of_release(name, path)
    state = _read_state(path)
    try:
        return build_encoder(name, state=state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise _wrong_architecture(path, name, error) from None


def pretrained_classifier(name: str, source: str) -> Classifier:
    """A pretrained classifier of 1000 classes, as the fusion network needs one.

    Args:
        name: torchvision's or timm/<name>.
        source: imagenet | a weights file.

    Raises:
        ConfigError: no such network, or no weights are named: what an untrained classifier says
            is noise.
        WeightsError: as `pretrained_encoder`'s.
    """
    if source in ("none", "default"):
        raise ConfigError(
            f"encoder fusion needs the weights of a whole classifier ({name}): set model.pretrained"
            " to imagenet or a weights file"
        )
    if source != "imagenet":
        found = build_classifier(name)
        state = _read_state(Path(source))
        try:
            found.net.load_state_dict({key: value.float() for key, value in state.items()})
        except (RuntimeError, AttributeError, TypeError) as error:
            raise _wrong_architecture(Path(source), name, error) from None
        return found
    if name.startswith("timm/"):
        try:
            return build_classifier(name, pretrained=True)
        except (OSError, RuntimeError) as error:
            raise _download_failed(name, error, "") from None
    found = build_classifier(name)
    found.net.load_state_dict(_download(name, ""))
    return found


def _download(name: str, otherwise: str) -> dict[str, Tensor]:
    """ImageNet weights of a torchvision network; empty for timm's, which download themselves."""
    if name.startswith("timm/"):
        return {}
    if name not in NAMES:
        raise ConfigError(f"no network {name!r}: choose one of {', '.join(NAMES)}")
    try:
        return imagenet_weights(name)
    except (OSError, RuntimeError) as error:
        raise _download_failed(name, error, otherwise) from None


def _download_failed(name: str, error: Exception, otherwise: str) -> WeightsError:
    return WeightsError(
        f"ImageNet weights of {name} cannot be downloaded ({error!s:.100})",
        remedy=f"name a file in {{model.pretrained}}, {otherwise}".rstrip(", "),
    )


def _wrong_architecture(path: Path, name: str, error: Exception) -> WeightsError:
    return WeightsError(f"{path} does not hold the weights of {name}: {error!s:.150}")


def _read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or a plain state dict."""
    if path.suffix == ".safetensors":
        return release_file.read_safetensors(path)[0]
    if not path.is_file():
        raise WeightsError(
            f"model.pretrained {str(path)!r} is no file: default, imagenet, none or a path"
        )
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for one thing: an unreadable file
        raise WeightsError(f"{path} is not a plain state dict: {error!s:.100}") from None
    return state


def _packaged_encoder(name: str) -> Encoder:
    if not DEFAULT_FILE.is_file():
        raise WeightsError(
            "model.pretrained: default needs the packaged weights, which are missing from this "
            "installation; use imagenet, none or a file"
        )
    return _encoder_of_release(name, DEFAULT_FILE)


def _encoder_of_release(name: str, path: Path) -> Encoder:
    file = release_file.read(path)
    found = file.meta.get("model", {}).get("encoder")
    if found != name:
        raise WeightsError(
            f"{path.name} holds a {found} encoder, the recipe wants {name}: set "
            "model.pretrained to imagenet, none or a weights file"
        )
    prefix = "encoder."
    tensors = {k[len(prefix) :]: v for k, v in file.tensors.items() if k.startswith(prefix)}
    made = build_encoder(name)
    release_file.load_state_strict(made, tensors, what=str(path))
    return made
