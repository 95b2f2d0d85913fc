"""pix2color colorizes black-and-white photographs.

>>> from pix2color import Colorizer  # doctest: +SKIP
>>> Colorizer.from_pretrained()("old.jpg")  # doctest: +SKIP

Nothing heavy is imported here: numpy and Pillow come with the first use of `Colorizer`, torch with
weights that it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pix2color._version import __version__

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer

__all__ = ["Colorizer", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Colorizer":
        from pix2color.inference.colorizer import Colorizer

        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
