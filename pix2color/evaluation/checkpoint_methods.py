"""Release files as rows: with the setting they ship, with others, and with whole grids of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from pix2color.checkpoints import checkpoint, hub
from pix2color.config import DecodeConfig
from pix2color.data.discovery import unique_name
from pix2color.errors import ConfigError
from pix2color.evaluation.methods import CachedPredictor, Method

Settings = Mapping[str, float]
DEFAULT = "default"
"""The name of the packaged weights."""
FIELDS = {
    "temperature": "temperature",
    "vividness": "vividness",
    "saturation": "saturation",
    "size": "input_size",
}
"""Name of a setting -> its field in `DecodeConfig`."""
_LABELS = {"temperature": "T ", "vividness": "tau ", "saturation": "saturation ", "input_size": "px "}
"""How a field is written in the name of a sweep's method."""
_RESERVED = ("truth", "gray", "random")


def checkpoint_methods(
    sources: Sequence[str],
    *,
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
    further: Mapping[str, Settings] | None = None,
    sweep: Sequence[Settings] = (),
) -> list[Method]:
    """Rows of release files; all rows of one file share the passes of its network.

    Args:
        sources: files, repositories of the Hugging Face Hub, or DEFAULT for the packaged weights.
        device: where the networks go.
        settings: in place of what each file ships.
        further: name -> settings of one more row a file, on top of `settings`.
        sweep: settings of more rows, which are neither timed nor in the picture grid.

    Raises:
        WeightsError: a file that cannot be loaded.
        ConfigError: a value out of range.
    """
    rows: list[Method] = []
    taken = set(_RESERVED)
    for source in sources:
        released = checkpoint.load(source, device=device)
        network = CachedPredictor(released.generator)
        name = _row_name(source, taken)
        about = {"checkpoint": source, "digest": released.digest}
        usual = with_overrides(released.decode, settings or {})
        rows.append(network.method(name, usual, about=about))
        for extra, values in (further or {}).items():
            rows.append(
                network.method(f"{name} ({extra})", with_overrides(usual, values), about=about)
            )
        for values in sweep:
            label = ", ".join(f"{_LABELS[key]}{value:g}" for key, value in values.items())
            decode = with_overrides(usual, values)
            rows.append(network.method(f"{name} {label}", decode, featured=False, about=about))
    return rows


def with_overrides(decode: DecodeConfig, settings: Settings) -> DecodeConfig:
    """A setting with some values changed; ConfigError names a value that is out of range."""
    try:
        return DecodeConfig.model_validate({**decode.model_dump(), **settings})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{key} {first['input']}: {first['msg'].lower()}") from None


def parse_variants(texts: Sequence[str]) -> dict[str, Settings]:
    """`NAME:temperature=1,vividness=0` -> settings by name; ConfigError says what is wrong."""
    out: dict[str, Settings] = {}
    for text in texts:
        name, sign, values = text.partition(":")
        if not sign or not name or name in out:
            raise ConfigError(
                f"variant {text!r}: write it as NAME:temperature=1,vividness=0, each name once"
            )
        pairs = [_pair(part, f"variant {text!r}") for part in values.split(",")]
        out[name] = {FIELDS[key]: _number(key, value) for key, value in pairs}
    return out


def parse_sweep(texts: Sequence[str]) -> list[Settings]:
    """`temperature=0.4,1 vividness=0,0.5` -> every combination; ConfigError says what is wrong."""
    if not texts:
        return []
    axes: dict[str, list[float]] = {}
    for text in texts:
        key, values = _pair(text, f"sweep {text!r}")
        axes[FIELDS[key]] = [_number(key, value) for value in values.split(",")]
    return [
        dict(zip(axes, combination, strict=True))
        for combination in itertools.product(*axes.values())
    ]


def _row_name(source: str, taken: set[str]) -> str:
    """A short name for a checkpoint: its run's, or its file's; it is taken afterwards."""
    path = Path(source)
    if source == DEFAULT or hub.parse(source):
        name = source
    else:
        name = path.resolve().parent.name if path.stem == "release" else path.stem
    return unique_name(name, taken, mark=" #")


def _pair(text: str, where: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or key.strip() not in FIELDS:
        raise ConfigError(f"{where}: {text!r} should be KEY=VALUE with KEY of {', '.join(FIELDS)}")
    return key.strip(), value


def _number(key: str, text: str) -> float:
    try:
        return int(text) if key == "size" else float(text)
    except ValueError:
        raise ConfigError(
            f"{key}={text}: not a {'whole ' if key == 'size' else ''}number"
        ) from None
