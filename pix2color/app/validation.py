"""Checks of values that come from a client."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from pix2color.app.session import Settings
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError

_NUMBER = r"\s*([0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)\s*"
_RGB = re.compile(rf"rgba?\({_NUMBER},{_NUMBER},{_NUMBER}(?:,{_NUMBER})?\)")
_LARGEST = 10  # of a setting
_HEX = re.compile(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")


NATURAL, FAITHFUL = "natural", "faithful"


def presets(decode: DecodeConfig) -> dict[str, tuple[float, float, float, float]]:
    """Temperature, vividness, saturation and calibration by the preset's name.

    Args:
        decode: the weights' defaults, which are the natural preset.
    """
    natural = (decode.temperature, decode.vividness, decode.saturation, decode.calibration)
    return {NATURAL: natural, FAITHFUL: (1.0, 0.0, 1.0, 0.0)}


def hex_color(color: Any) -> str:
    """#rrggbb of what a color picker sends: #rrggbb, #rrggbbaa, rgb(...), rgba(...).

    Raises Pix2ColorError for anything else.
    """
    text = str(color).strip()
    if match := _RGB.fullmatch(text):
        return "#" + "".join(f"{min(255, round(float(part))):02x}" for part in match.groups()[:3])
    if _HEX.fullmatch(text):
        return text[:7].lower()
    raise Pix2ColorError(f"write the color as #2040ff, not {text[:40]!r}")


def number(value: Any, name: str) -> float:
    """A finite number. Raises Pix2ColorError for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an int beyond the range of float
        pass
    raise Pix2ColorError(f"{name} is not a finite number")


def settings(
    temperature: float | None = None,
    vividness: float | None = None,
    saturation: float | None = None,
    calibration: float | None = None,
    *,
    hints: Sequence[Any] = (),
    decode: DecodeConfig | None = None,
) -> Settings:
    """Settings of plain values, which come from a client and are not trusted.

    A value that equals the default of `decode` becomes None.

    Raises Pix2ColorError for anything but a number from 0 to 10.
    """
    checked = {}
    chosen = {
        "temperature": temperature,
        "vividness": vividness,
        "saturation": saturation,
        "calibration": calibration,
    }
    for name, value in chosen.items():
        if value is not None and not 0 <= number(value, name) <= _LARGEST:
            raise Pix2ColorError(f"{name} is a number from 0 to {_LARGEST}")
        default = getattr(decode, name) if decode else None
        checked[name] = None if value is None or value == default else float(value)
    return Settings(**checked, hints=tuple(hints))  # type: ignore[arg-type]
