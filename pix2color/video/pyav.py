"""Which files are films, and PyAV, which is optional: the `video` extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pix2color.errors import Pix2ColorError

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"))
"""Endings by which films are told from photos."""

_CONTAINERS = {".avi": ".mkv"}  # AVI knows neither variable frame times nor today's codecs

MISSING = 'films need PyAV: pip install "pix2color[video]"'


def library() -> Any:
    """The module `av`; raises Pix2ColorError where it is not installed."""
    try:
        import av
    except ImportError:
        raise Pix2ColorError(MISSING) from None
    return av


def installed() -> bool:
    """Whether PyAV is there; does not import it."""
    from importlib.util import find_spec

    return find_spec("av") is not None


def output_suffix(suffix: str) -> str:
    """The ending of the colored film: the source's, unless that container is too old."""
    return _CONTAINERS.get(suffix.lower(), suffix)


def partial_name(target: Path) -> Path:
    """Where a film goes that was stopped before its end."""
    return target.with_name(f"{target.stem}.partial{target.suffix}")
