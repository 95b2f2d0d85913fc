"""Photos from NumPy arrays: one of L and one or several of ab, 8 bits as OpenCV writes Lab.

L is stored as L * 255 / 100, a and b as a + 128 and b + 128 (OpenCV's 8-bit Lab). The ab arrays
follow one another: the first photo of the second belongs to the L behind those of the first. Files
are memory-mapped, so only the photos that are asked for are read; pickles are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pix2color.color.lab import lab_to_rgb
from pix2color.errors import DataError

SUFFIX = ".npy"
_WANTED = "wanted: one of L, uint8 N,H,W, and one or several of ab, uint8 N,H,W,2"


@dataclass(frozen=True, slots=True)
class NpyPhoto:
    """Where a photo lies: a row of the L array and one of an ab array."""

    lightness: Path
    lightness_row: int
    ab: Path
    ab_row: int
    nbytes: int
    """Of its pixels in 8-bit RGB."""

    def read(self) -> bytes:
        """The photo as an 8-bit sRGB file (PPM), lossless but for colors outside sRGB.

        Raises:
            OSError: a file is gone or was changed.
        """
        try:
            lightness = _open(self.lightness)[self.lightness_row]
            ab = _open(self.ab)[self.ab_row]
        except (DataError, IndexError) as error:
            raise OSError(str(error)) from None
        lab8 = torch.from_numpy(np.dstack((lightness, ab)).astype(np.float32)).permute(2, 0, 1)
        lab = torch.cat((lab8[:1] * (100 / 255), lab8[1:] - 128))
        rgb = (lab_to_rgb(lab) * 255).round().byte().permute(1, 2, 0).numpy()
        height, width = lightness.shape
        return b"P6 %d %d 255\n" % (width, height) + rgb.tobytes()


def list_npy_photos(paths: Sequence[Path]) -> Iterator[NpyPhoto]:
    """Every photo of a set of arrays, in order.

    Args:
        paths: one array of L (three dimensions) and, in their order, those of ab (four).

    Raises:
        DataError: a file that is no array or a pickle, a wrong dtype or shape, no or several L,
            no ab, or numbers of photos that differ.
    """
    arrays = [(path, _checked(path)) for path in paths]
    lights = [(path, array) for path, array in arrays if array.ndim == 3]
    colors = [(path, array) for path, array in arrays if array.ndim == 4]
    names = ", ".join(path.name for path in paths)
    if len(lights) != 1 or not colors:
        raise DataError(f"{len(lights)} arrays of L and {len(colors)} of ab in {names}; {_WANTED}")
    path, lightness = lights[0]
    for other, ab in colors:
        if ab.shape[1:3] != lightness.shape[1:]:
            raise DataError(
                f"{other.name} holds photos of {_size(ab)} pixels, {path.name} of "
                f"{_size(lightness)}: they do not belong together"
            )
    found = sum(len(ab) for _, ab in colors)
    if found != len(lightness):
        raise DataError(
            f"{path.name} holds {len(lightness):,} photos, the ab arrays {found:,}: name all of "
            "them, in their order"
        )
    row = 0
    for other, ab in colors:
        for index in range(len(ab)):
            yield NpyPhoto(path, row, other, index, 3 * lightness[0].size)
            row += 1


def natural_sort(paths: Sequence[Path]) -> list[Path]:
    """Files of a folder with numbers as people count: ab2 before ab10."""
    return sorted(paths, key=lambda path: [_key(part) for part in path.parts])


def _key(name: str) -> list[tuple[int, str]]:
    return [(int(n), "") if n else (-1, text) for n, text in re.findall(r"(\d+)|(\D+)", name)]


def _checked(path: Path) -> np.ndarray:
    array = _open(path)
    if array.dtype != np.uint8:
        raise DataError(f"{path} holds {array.dtype}; {_WANTED} (OpenCV's 8-bit Lab)")
    if not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 2)) or 0 in array.shape:
        shape = ",".join(map(str, array.shape))
        raise DataError(f"{path} has the shape {shape or 'of a single number'}; {_WANTED}")
    return array


def _open(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a NumPy array of plain numbers: {error!s:.100}") from None
    return array


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[2]}"
