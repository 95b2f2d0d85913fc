"""Photos from NumPy arrays: one array of L and one or several of ab, in OpenCV's 8-bit Lab.

L is stored as L * 255 / 100, a and b as a + 128 and b + 128. The photos of the ab arrays, one array
after the other, belong to those of L in order. Files are memory-mapped, so only requested photos
are read. Pickles are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2color.color.lab_numpy import lab_to_rgb
from pix2color.errors import DataError

SUFFIX = ".npy"
_EXPECTED = "expected: one of L, uint8 N,H,W, and one or several of ab, uint8 N,H,W,2"


@dataclass(frozen=True, slots=True)
class NpyPhoto:
    """A photo: a row of the L array and a row of an ab array."""

    lightness: Path
    lightness_row: int
    ab: Path
    ab_row: int
    nbytes: int
    """Size of its pixels in 8-bit RGB."""

    def read(self) -> bytes:
        """The photo as an 8-bit sRGB file (PPM), lossless but for colors outside sRGB.

        Raises:
            OSError: a file was deleted or changed.
        """
        try:
            lightness = _open(self.lightness)[self.lightness_row]
            ab = _open(self.ab)[self.ab_row]
        except (DataError, IndexError) as error:
            raise OSError(str(error)) from None
        lab = np.dstack((lightness, ab)).astype(np.float32)
        lab = lab * np.array((100 / 255, 1, 1), np.float32) - np.array((0, 128, 128), np.float32)
        rgb = np.rint(lab_to_rgb(lab) * 255).astype(np.uint8)
        height, width = lightness.shape
        return b"P6 %d %d 255\n" % (width, height) + rgb.tobytes()


def list_npy_photos(paths: Sequence[Path]) -> Iterator[NpyPhoto]:
    """Every photo of a set of arrays, in order.

    Args:
        paths: one array of L (three dimensions) and, in their order, those of ab (four).

    Raises:
        DataError: a file that is not an array, a wrong dtype or shape, not one array of L, no
            array of ab, or numbers of photos that differ.
    """
    arrays = [(path, _checked(path)) for path in paths]
    lightness_arrays = [(path, array) for path, array in arrays if array.ndim == 3]
    ab_arrays = [(path, array) for path, array in arrays if array.ndim == 4]
    names = ", ".join(path.name for path in paths)
    if len(lightness_arrays) != 1 or not ab_arrays:
        raise DataError(
            f"{len(lightness_arrays)} arrays of L and {len(ab_arrays)} of ab in {names};"
            f" {_EXPECTED}"
        )
    path, lightness = lightness_arrays[0]
    for other, ab in ab_arrays:
        if ab.shape[1:3] != lightness.shape[1:]:
            raise DataError(
                f"{other.name} contains photos of {_size(ab)} pixels, {path.name} of "
                f"{_size(lightness)}: they do not belong together"
            )
    total = sum(len(ab) for _, ab in ab_arrays)
    if total != len(lightness):
        raise DataError(
            f"{path.name} contains {len(lightness):,} photos, the ab arrays {total:,}: name all of "
            "them, in their order"
        )
    row = 0
    for other, ab in ab_arrays:
        for index in range(len(ab)):
            yield NpyPhoto(path, row, other, index, 3 * lightness[0].size)
            row += 1


def natural_sort(paths: Sequence[Path]) -> list[Path]:
    """Paths sorted with numbers compared as numbers: ab2 before ab10."""
    return sorted(paths, key=lambda path: [_key(part) for part in path.parts])


def _key(name: str) -> list[tuple[int, str]]:
    return [(int(n), "") if n else (-1, text) for n, text in re.findall(r"(\d+)|(\D+)", name)]


def _checked(path: Path) -> np.ndarray:
    array = _open(path)
    if array.dtype != np.uint8:
        raise DataError(f"{path} is of type {array.dtype}; {_EXPECTED} (OpenCV's 8-bit Lab)")
    if not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 2)) or 0 in array.shape:
        shape = ",".join(map(str, array.shape))
        raise DataError(f"{path} has the shape {shape or 'of a single number'}; {_EXPECTED}")
    return array


def _open(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a NumPy array of plain numbers: {error!s:.100}") from None
    return array


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[2]}"
