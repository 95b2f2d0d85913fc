"""The rotation flag of a video: frames are turned upright for the network, colors turned back.

The flag itself is copied: colorized frames are stored in the orientation of the source's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

_FIXED_POINT_ONE = 1 << 16


@dataclass(frozen=True)
class Rotation:
    """One of the eight orientations in which frames can be stored."""

    transposed: bool = False
    """Stored rows are shown as columns."""
    flip_rows: bool = False
    """The shown order of rows is reversed, after transposing."""
    flip_columns: bool = False
    matrix: tuple[int, ...] | None = None
    """The flag: nine numbers, as in the track header of ISO/IEC 14496-12."""

    def apply(self, plane: NDArray) -> NDArray:
        """H,W as stored -> as shown."""
        return self._flip(plane.T if self.transposed else plane)

    def invert(self, planes: NDArray) -> NDArray:
        """C,H,W as shown -> as stored: the inverse of `apply`."""
        planes = self._flip(planes)
        return planes.swapaxes(1, 2) if self.transposed else planes

    def _flip(self, planes: NDArray) -> NDArray:
        return planes[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def rotation_of(frame: Any) -> Rotation:
    """The Rotation of an av.VideoFrame's display matrix; other angles than 90° are not applied."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])
    except KeyError:
        return Rotation()
    matrix = struct.unpack("=9i", data)
    a, b, c, d = (round(matrix[k] / _FIXED_POINT_ONE) for k in (0, 1, 3, 4))
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        return Rotation(True, b < 0, c < 0, matrix)
    if (abs(a), abs(b), abs(c), abs(d)) == (1, 0, 0, 1):
        return Rotation(False, d < 0, a < 0, matrix)
    return Rotation(matrix=matrix)
