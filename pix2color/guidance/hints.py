"""Colors that a user pins to places of a photo: reading, checks, and the grid of the network.

A hint is a point, a stroke or a box with a color, in pixels of the upright photo; (0, 0) is the
middle of its upper left pixel.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from pix2color.color.constants import AB_RANGE
from pix2color.color.lab_numpy import rgb_to_lab
from pix2color.errors import Pix2ColorError

Floats = NDArray[np.float32]
_KEYS = {"x", "y", "color", "ab", "radius", "points", "box"}
_SUBCELLS = 8  # of a cell along each axis, on which shapes are drawn
_MAX_AB = 150.0
_MAX_RADIUS = 1e6  # pixels
_MAX_TEXT = 16_000_000  # characters of a file; a device such as /dev/zero has no end


@dataclass(frozen=True)
class Hint:
    """One place and its color."""

    ab: tuple[float, float]
    points: tuple[tuple[float, float], ...] = ()
    """x, y of a point, or of the corners of a stroke."""
    radius: float = 0.0
    """Of the point or of the stroke's pen, in pixels."""
    box: tuple[float, float, float, float] | None = None
    """x, y of two opposite corners, in place of points."""


def read_hints(path: str | Path) -> list[Hint] | dict[str, list[Hint]]:
    """The hints of a JSON file: a list for one photo, or an object of lists by file name.

    Raises:
        Pix2ColorError: it cannot be read or holds something else; the message says where.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_MAX_TEXT + 1)
        if len(text) > _MAX_TEXT:
            raise Pix2ColorError(f"hints {path}: above {_MAX_TEXT // 10**6} million characters")
        tree = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Pix2ColorError(f"hints {path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise Pix2ColorError(f"hints {path}: no JSON, line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise Pix2ColorError(f"hints {path}: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise Pix2ColorError(f"hints {path}: no JSON: {error}") from None
    if isinstance(tree, dict) and "x" not in tree:
        return {str(name): parse_hints(hints, f"{path}: {name}") for name, hints in tree.items()}
    return parse_hints(tree, str(path))


def parse_hints(tree: Any, where: str = "hints") -> list[Hint]:
    """Hints from plain values: a list of objects as in the JSON file, or of Hint.

    Raises:
        Pix2ColorError: one of them is no hint.
    """
    if not isinstance(tree, Sequence) or isinstance(tree, str):
        raise Pix2ColorError(f"{where}: expected a list of hints")
    return [
        item if isinstance(item, Hint) else _parse(item, f"{where}, hint {number}")
        for number, item in enumerate(tree, start=1)
    ]


def _parse(item: Any, where: str) -> Hint:
    if not isinstance(item, Mapping):
        raise Pix2ColorError(f"{where}: expected an object with x, y and color")
    if unknown := sorted(set(item) - _KEYS):
        raise Pix2ColorError(
            f"{where}: unknown key {unknown[0]}; known: {', '.join(sorted(_KEYS))}"
        )
    shapes = [key for key in ("x", "points", "box") if key in item]
    if len(shapes) != 1:
        raise Pix2ColorError(f"{where}: give a point (x, y), points of a stroke, or a box")
    ab = _color(item, where)
    radius = _number(item.get("radius", 0), f"{where}: radius")
    if not 0 <= radius <= _MAX_RADIUS:
        raise Pix2ColorError(f"{where}: radius {radius:g} is outside 0..{_MAX_RADIUS:g}")
    if "box" in item:
        x0, y0, x1, y1 = _numbers(item["box"], 4, f"{where}: box")
        return Hint(ab, box=(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    corners = item["points"] if "points" in item else [[item["x"], item.get("y")]]
    if not isinstance(corners, Sequence) or isinstance(corners, str) or not corners:
        raise Pix2ColorError(f"{where}: points is a list of [x, y]")
    pairs = [_numbers(corner, 2, f"{where}: point") for corner in corners]
    return Hint(ab, tuple((x, y) for x, y in pairs), radius)


def _color(item: Mapping[str, Any], where: str) -> tuple[float, float]:
    if ("color" in item) == ("ab" in item):
        raise Pix2ColorError(f"{where}: give a color such as #2040ff, or ab, and not both")
    if "ab" in item:
        a, b = _numbers(item["ab"], 2, f"{where}: ab")
        if math.hypot(a, b) > _MAX_AB:
            raise Pix2ColorError(f"{where}: ab [{a:g}, {b:g}] is no color that sRGB has")
        return a, b
    try:
        rgb = ImageColor.getrgb(str(item["color"]))[:3]
    except ValueError:
        raise Pix2ColorError(
            f"{where}: unknown color {item['color']!r}; write it as #2040ff or by its CSS name"
        ) from None
    _, a, b = rgb_to_lab(np.array(rgb) / 255)
    return float(a), float(b)


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer above all floats
        pass
    raise Pix2ColorError(f"{where}: {reprlib.repr(value)} is not a number")


def _numbers(values: Any, count: int, where: str) -> list[float]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        raise Pix2ColorError(f"{where}: {values!r} is not a list of {count} numbers")
    return [_number(value, where) for value in values]


def encode_hints(
    hints: Sequence[Hint], photo_size: tuple[int, ...], grid: tuple[int, int]
) -> Floats:
    """Hints as a network takes them (`Runtime.run`; models.hint_encoder.encode_hints for torch).

    Args:
        hints, photo_size, grid: as for `rasterize`.

    Returns:
        3,h,w: ab / AB_RANGE and 1 where a cell is hinted, 0 elsewhere.

    Raises:
        Pix2ColorError: a hint is outside the photo.
    """
    coverage, ab = rasterize(hints, photo_size, grid)
    hinted = (coverage > 0).astype(np.float32)
    return np.concatenate((ab / np.float32(AB_RANGE) * hinted, hinted[None]))


def rasterize(
    hints: Sequence[Hint], photo_size: tuple[int, ...], grid: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Hints on a grid of cells.

    Args:
        hints: in pixels of the photo.
        photo_size: its height and width in pixels.
        grid: rows and columns of cells over it.

    Returns:
        Coverage, the share of each cell that is hinted (h,w, 0..1), and the hints' ab there (2,h,w;
        the mean where several hints meet).

    Raises:
        Pix2ColorError: a hint is outside the photo.
    """
    coverage = np.zeros(grid, np.float32)
    total = np.zeros((2, *grid), np.float32)
    for number, hint in enumerate(hints, start=1):
        _check_inside(hint, photo_size, number)
        cover = _coverage(hint, photo_size, grid)
        coverage += cover
        total += cover * np.array(hint.ab, np.float32)[:, None, None]
    total /= np.maximum(coverage, 1e-6)
    return np.minimum(coverage, 1, dtype=np.float32), total


def _check_inside(hint: Hint, photo_size: tuple[int, ...], number: int) -> None:
    height, width = photo_size
    corners = hint.points if hint.box is None else (hint.box[:2], hint.box[2:])
    for x, y in corners:
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise Pix2ColorError(
                f"hint {number}: ({x:g}, {y:g}) is outside the photo of {width} x {height} pixels"
            )


def _coverage(hint: Hint, photo_size: tuple[int, ...], grid: tuple[int, int]) -> Floats:
    """The share of each cell that a hint covers; a point covers at least its own cell."""
    rows, columns = grid
    canvas = Image.new("L", (columns * _SUBCELLS, rows * _SUBCELLS))
    pen = ImageDraw.Draw(canvas)
    scale_x, scale_y = canvas.width / photo_size[1], canvas.height / photo_size[0]
    if hint.box is not None:
        x0, y0, x1, y1 = hint.box
        pen.rectangle(
            (x0 * scale_x, y0 * scale_y, (x1 + 1) * scale_x - 1, (y1 + 1) * scale_y - 1), fill=255
        )
    centers = [((x + 0.5) * scale_x, (y + 0.5) * scale_y) for x, y in hint.points]
    radius_x, radius_y = hint.radius * scale_x, hint.radius * scale_y
    if len(centers) > 1:
        pen.line(centers, fill=255, width=max(1, round(radius_x + radius_y)))
    for x, y in centers:
        pen.ellipse((x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=255)
    fine = np.asarray(canvas, np.float32) / np.float32(255)
    share = fine.reshape(rows, _SUBCELLS, columns, _SUBCELLS).mean(axis=(1, 3))
    for x, y in centers:
        share[min(int(y / _SUBCELLS), rows - 1), min(int(x / _SUBCELLS), columns - 1)] = 1
    return share
