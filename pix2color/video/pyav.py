"""Video file names, and the optional PyAV library: the `video` extra."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pix2color.errors import Pix2ColorError

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"))
"""Endings of file names that mark videos."""

MISSING = 'videos need PyAV: pip install "pix2color[video]"'


def import_av() -> Any:
    """The module `av`; raises Pix2ColorError where it is not installed."""
    try:
        import av
    except ImportError:
        raise Pix2ColorError(MISSING) from None
    return av


def installed() -> bool:
    """Whether PyAV is installed; does not import it."""
    return find_spec("av") is not None


def output_suffix(suffix: str) -> str:
    """The ending of the colorized video: the source's, but .mkv for .avi.

    AVI supports neither variable frame times nor current codecs.
    """
    return ".mkv" if suffix.lower() == ".avi" else suffix


def partial_name(target: Path) -> Path:
    """Where the finished part of a stopped video is written."""
    return target.with_name(f"{target.stem}.partial{target.suffix}")
