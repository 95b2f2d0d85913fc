"""A film's rotation flag: frames turned upright for the network, colors turned back.

The flag itself is kept: the colored frames lie as the source's do.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

_ONE = 1 << 16


@dataclass(frozen=True)
class Rotation:
    """One of the eight ways in which frames can lie."""

    swapped: bool = False
    """Rows are shown as columns."""
    down: bool = False
    """What is shown first among the rows lies last."""
    across: bool = False
    matrix: tuple[int, ...] | None = None
    """The flag: nine numbers, as in ISO/IEC 14496-12's track header."""

    def apply(self, plane: NDArray) -> NDArray:
        """H,W as stored -> as shown."""
        if self.swapped:
            plane = plane.T
        return plane[:: -1 if self.down else 1, :: -1 if self.across else 1]

    def invert(self, planes: NDArray) -> NDArray:
        """C,H,W as shown -> as stored: the inverse of `upright`."""
        planes = planes[:, :: -1 if self.down else 1, :: -1 if self.across else 1]
        return planes.swapaxes(1, 2) if self.swapped else planes


def rotation_of(frame: Any) -> Rotation:
    """The Turn that an av.VideoFrame's display matrix asks for; odd angles turn nothing."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])
    except KeyError:
        return Rotation()
    matrix = struct.unpack("=9i", data)
    a, b, c, d = (round(matrix[k] / _ONE) for k in (0, 1, 3, 4))
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        return Rotation(True, b < 0, c < 0, matrix)
    if (abs(a), abs(b), abs(c), abs(d)) == (1, 0, 0, 1):
        return Rotation(False, d < 0, a < 0, matrix)
    return Rotation(matrix=matrix)
