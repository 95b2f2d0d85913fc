"""Loading and saving generators as release files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from pix2color._version import __version__
from pix2color.build import build_generator
from pix2color.checkpoints import hub, release_file
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.config import Config, DecodeConfig, ModelConfig, format_validation_error
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.generator import Generator
from pix2color.models.init import skip_weight_init

NOTICE = (
    "Code: Apache-2.0. Weights: the terms of the photos that `data` counts and of the encoder's "
    "own weights apply. Colors are guesses, not facts."
)


@dataclass(frozen=True)
class Checkpoint:
    """A generator and the metadata of its file."""

    generator: Generator
    """In evaluation mode, float32, channels last."""
    decode: DecodeConfig
    """The default settings of the file."""
    meta: dict[str, Any]
    digest: str
    """12 hex digits of the file's SHA-256."""
    name: str
    calibration: ChromaCalibration | None = None
    """None: the file has none, and `decode.calibration` is 0."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """What the generator was built from."""


def load(
    name_or_path: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    name: str | None = None,
    calibrated: bool = True,
) -> Checkpoint:
    """Rebuild a generator from a release file.

    Args:
        name_or_path: a file; None or `default`: the packaged weights; a repository of the Hugging
            Face Hub: `user/repo`, `user/repo@revision`, `user/repo@revision#digest`.
        device: of the generator.
        name: for messages; None: as it was named here.
        calibrated: as for `release_file.read`.

    Raises:
        WeightsError: no such file or repository, a pickle, not a release file, weights of another
            network, or a calibration of other weights.
    """
    path = hub.resolve(name_or_path)
    file = release_file.read(path, calibrated=calibrated)
    try:
        model = ModelConfig.model_validate(file.meta["model"])
        decode = DecodeConfig.model_validate(file.meta["decode"])
        with skip_weight_init():
            generator = build_generator(model, pretrained=False)
    except (KeyError, ValidationError, ConfigError) as error:
        raise WeightsError(
            f"{path} was written by another version of pix2color "
            f"({file.meta.get('version', 'unknown')}; this is {__version__}): {_reason(error)}",
            remedy="use that version, or make the file anew with the command `python -m pix2color"
            " release`, of weights of others with `python -m pix2color import`",
        ) from None
    release_file.load_state_strict(generator, file.tensors, source=str(path))
    generator.eval().requires_grad_(False)
    generator.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if file.calibration is None:  # a recipe may ask for a share before one is fitted
        decode = decode.model_copy(update={"calibration": 0.0})
    shown = name or hub.display_name(name_or_path)
    return Checkpoint(generator, decode, file.meta, file.digest, shown, file.calibration, model)


def _reason(error: KeyError | ValidationError | ConfigError) -> str:
    """What is wrong with a file's config, in one line."""
    if isinstance(error, KeyError):
        return f"it has no section {error}"
    if isinstance(error, ConfigError):
        return error.message
    root = ModelConfig if error.title == ModelConfig.__name__ else DecodeConfig
    return format_validation_error(error, root)


def save(
    path: str | Path,
    generator: torch.nn.Module,
    *,
    config: Config,
    data: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    calibration: ChromaCalibration | None = None,
) -> None:
    """Write a generator as a release file.

    Args:
        generator: unwrapped, with the averaged weights.
        config: of its training; the model and decode sections are stored.
        data: description and counts of the training photos.
        figures: measured figures, with their protocol.
        calibration: fitted for these weights.
    """
    model = config.model.model_dump(mode="json")
    if Path(model["pretrained"]).expanduser().is_absolute():  # do not publish a machine's paths
        model["pretrained"] = Path(model["pretrained"]).name
    meta = {
        "model": model,
        "decode": config.decode.model_dump(mode="json"),
        "data": dict(data or {}),
        "figures": dict(figures or {}),
        "notice": NOTICE,
        "version": __version__,
        "config_digest": config.digest(),
    }
    release_file.write(path, generator.state_dict(), meta, calibration=calibration)
