"""Release files as methods: with the settings they ship, with variants, and with sweeps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from pix2color.checkpoints import hub, release_file
from pix2color.config import DecodeConfig, SplitConfig
from pix2color.data.discovery import unique_name
from pix2color.errors import ConfigError
from pix2color.evaluation.l2_head import NAME, L2HeadRuntime, TrainedHead
from pix2color.evaluation.methods import CachedPredictor, Method
from pix2color.inference.colorizer import Colorizer

Settings = Mapping[str, float]
DEFAULT = "default"
"""Source of the packaged weights."""
FIELDS = {
    "temperature": "temperature",
    "vividness": "vividness",
    "saturation": "saturation",
    "calibration": "calibration",
    "size": "input_size",
}
"""Name of a setting -> its field in `DecodeConfig`."""
_LABELS = {
    "temperature": "T ",
    "vividness": "tau ",
    "saturation": "saturation ",
    "calibration": "calibration ",
    "input_size": "px ",
}
"""How a field is written in the name of a sweep's method."""
RESERVED = ("truth", "gray", "random")
"""Names of methods without a network."""


def checkpoint_methods(
    sources: Sequence[str],
    *,
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
    variants: Mapping[str, Settings] | None = None,
    sweep: Sequence[Settings] = (),
) -> list[Method]:
    """Methods of release files; all methods of one file share the passes of its network.

    Args:
        sources: files, repositories of the Hugging Face Hub, or DEFAULT for the packaged weights.
        device: where the networks go.
        settings: fields of `DecodeConfig` in place of those that each file ships.
        variants: name -> settings of one more method per file, on top of `settings`.
        sweep: settings of more methods, which are neither timed nor in the image grid.

    Raises:
        WeightsError: a file that cannot be loaded.
        ConfigError: a value out of range, or a calibration of weights that have none.
    """
    methods: list[Method] = []
    every = [settings or {}, *(variants or {}).values(), *sweep]
    calibrated = any(each.get("calibration") for each in every)
    taken = set(RESERVED)
    for source in sources:
        colorizer = Colorizer.from_pretrained(source, str(device))
        if calibrated and colorizer.runtime.info.calibration is None:
            raise ConfigError(
                f"{source} has no calibration",
                remedy="fit one with the command `python -m pix2color calibrate`, or leave it out",
            )
        network = CachedPredictor(colorizer)
        name = method_name(source, taken)
        metadata = {"checkpoint": source, "digest": colorizer.digest}
        base = with_overrides(colorizer.decode, settings or {})
        methods.append(network.method(name, base, metadata=metadata))
        for variant, values in (variants or {}).items():
            decode = with_overrides(base, values)
            methods.append(network.method(f"{name} ({variant})", decode, metadata=metadata))
        for values in sweep:
            label = ", ".join(f"{_LABELS[key]}{value:g}" for key, value in values.items())
            decode = with_overrides(base, values)
            methods.append(
                network.method(f"{name} {label}", decode, primary=False, metadata=metadata)
            )
    return methods


def l2_head_method(
    source: str, trained: TrainedHead, *, device: torch.device | str, size: int | None = None
) -> Method:
    """An L2 head on the features of a release file; `size` is in place of the file's input size.

    Raises:
        WeightsError: the file cannot be loaded, or the head was trained on another one.
    """
    base = Colorizer.from_pretrained(source, str(device)).runtime
    colorizer = Colorizer(L2HeadRuntime(base, trained))
    decode = with_overrides(colorizer.decode, {} if size is None else {"input_size": size})
    crops = f"trained on {trained.data['samples']} crops of {trained.data['photos']} photos"
    metadata = {"checkpoint": source, "digest": colorizer.digest, "L2 head": crops}
    name = f"{method_name(source, set(RESERVED))} ({NAME})"
    return CachedPredictor(colorizer).method(name, decode, metadata=metadata)


def recorded_splits(sources: Sequence[str]) -> dict[str, SplitConfig | None]:
    """Source -> `data.split` of its training, which says what photos were held out; None where the
    file does not record it (.onnx files and older release files). Errors as `checkpoint_methods`.
    """
    recorded: dict[str, SplitConfig | None] = {}
    for source in sources:
        path = hub.resolve(source)
        is_release = path.suffix.lower() != ".onnx"
        # `calibrate` replaces a calibration of other weights.
        file = release_file.read(path, framework="np", calibrated=False) if is_release else None
        data = file.meta.get("data", {}) if file else {}
        recorded[source] = SplitConfig(**data["split"]) if "split" in data else None
    return recorded


def with_overrides(decode: DecodeConfig, settings: Settings) -> DecodeConfig:
    """Decoding settings with some values replaced; ConfigError names one that is out of range."""
    try:
        return DecodeConfig.model_validate({**decode.model_dump(), **settings})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{key} {first['input']}: {first['msg'].lower()}") from None


def parse_variants(texts: Sequence[str]) -> dict[str, Settings]:
    """`NAME:temperature=1,vividness=0` -> settings by name; ConfigError names a wrong text."""
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
    """`temperature=0.4,1 vividness=0,0.5` -> every combination; ConfigError names a wrong text."""
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


def method_name(source: str, taken: set[str]) -> str:
    """A short name for a checkpoint: its run's, or its file's; it is added to `taken`."""
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
