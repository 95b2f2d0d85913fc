"""Coloring photos: from a Photo to a Photo, and from folders to folders.

`Colorizer` is imported on first use: planning a run needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer

__all__ = [
    "Colorizer",
]


def __getattr__(name: str) -> Any:
    if name == "Colorizer":
        from pix2color.inference.colorizer import Colorizer

        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
