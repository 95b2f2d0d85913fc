"""A film's rotation flag: frames turned upright for the network, colours turned back.

The flag itself is kept: the coloured frames lie as the source's do.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

_ONE = 1 << 16


@dataclass(frozen=True)
class Turn:
    """One of the eight ways in which frames can lie."""

    swapped: bool = False
    """Rows are shown as columns."""
    down: bool = False
    """What is shown first among the rows lies last."""
    across: bool = False
    matrix: tuple[int, ...] | None = None
    """The flag: nine numbers, as in ISO/IEC 14496-12's track header."""

    def upright(self, plane: NDArray) -> NDArray:
        """H,W as stored -> as shown."""
        if self.swapped:
            plane = plane.T
        return plane[:: -1 if self.down else 1, :: -1 if self.across else 1]

    def stored(self, planes: NDArray) -> NDArray:
        """C,H,W as shown -> as stored: the inverse of `upright`."""
        planes = planes[:, :: -1 if self.down else 1, :: -1 if self.across else 1]
        return planes.swapaxes(1, 2) if self.swapped else planes


def turn_of(frame: Any) -> Turn:
    """The Turn that an av.VideoFrame's display matrix asks for; odd angles turn nothing."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])
    except KeyError:
        return Turn()
    matrix = struct.unpack("=9i", data)
    a, b, c, d = (round(matrix[k] / _ONE) for k in (0, 1, 3, 4))
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        return Turn(True, b < 0, c < 0, matrix)
    if (abs(a), abs(b), abs(c), abs(d)) == (1, 0, 0, 1):
        return Turn(False, d < 0, a < 0, matrix)
    return Turn(matrix=matrix)
