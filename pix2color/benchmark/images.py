"""Pictures of a report: the same photos by every recipe, temperatures, and the worst failures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from pix2color.benchmark.measure import TestSet
from pix2color.benchmark.train import Outcome
from pix2color.checkpoints import checkpoint
from pix2color.config import DataConfig
from pix2color.data.dataset import ALL_SPLITS, Pixels, load_photos
from pix2color.evaluation import methods, metrics
from pix2color.evaluation.failure_metrics import rare_bins
from pix2color.evaluation.methods import Batch, CachedPredictor, Method
from pix2color.evaluation.protocol import crop_photo
from pix2color.io import atomic_write
from pix2color.models.heads import ClassificationHead

TEMPERATURES = (1.0, 0.77, 0.58, 0.38, 0.29, 0.14, 0.01)
"""Of the strip; 0.01 is the likeliest class for all that can be seen."""
_TILE = 112  # pixels a side
_GAP = 3
_LINE = 15  # a line of text
_QUALITY = 88
_WORST = 6
_UNLICENSED = "motorcycle"  # scikit-image has it without a license: not in a picture to publish
_LEAST_RARE = 200  # pixels of rare colors without which a photo says nothing about them

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """One of the five failures, how it is measured here and which way is bad."""

    title: str
    figure: str
    text: str
    high_is_bad: bool = True


FAILURES = (
    Failure(
        "Color bias",
        "rare_recall",
        "share of the pixels of the rarest true colors (the bins that hold the rarest 10 % of all"
        " pixels) that got a color within 20 ab of theirs; low is bad",
        high_is_bad=False,
    ),
    Failure(
        "Desaturation",
        "chroma_ratio",
        "sum of the predicted chroma over that of the true chroma; below 1 is dull",
        high_is_bad=False,
    ),
    Failure(
        "Inconsistent color",
        "patchiness",
        "how much more ab spreads inside the true photo's SLIC segments than it should, in ab"
        " units, mean over segments; high is bad",
    ),
    Failure(
        "Edge pollution",
        "border",
        "mean error in the outer 5 % of the picture less the mean error inside, in ab units; high"
        " is bad",
    ),
    Failure(
        "Bleeding",
        "bleeding",
        "share of the true contrast across color edges that is lost, read 3 to 6 px on both"
        " sides, in percent; high is bad",
    ),
)


@torch.inference_mode()
def predict_ab(
    compared: Sequence[Method], photos: Sequence[Pixels], device: torch.device
) -> dict[str, list[Pixels]]:
    """Every row's pictures of photos, as H,W,3 uint8."""
    found: dict[str, list[Pixels]] = {row.name: [] for row in compared}
    for index in range(len(photos)):
        one = Batch.of(photos, [index], device)
        for row in compared:
            rgb, _ = metrics.render(one.lightness, row.predict(one))
            levels = (255 * rgb[0]).round().byte().permute(1, 2, 0).cpu().numpy()
            found[row.name].append(np.ascontiguousarray(levels))
    return found


def draw_grids(
    folder: Path, test: TestSet, compared: Sequence[Method], *, shown: int, device: torch.device
) -> None:
    """Write grid.jpg, of test photos, and bundled.jpg, of scikit-image's: a line a row."""
    everything = [methods.gray(), *compared, methods.truth()]
    names = [row.name for row in everything]
    mine = test.squares[:shown]
    _save(folder / "grid.jpg", _grid(names, predict_ab(everything, mine, device)))
    squares = _bundled()
    featured = [row for row in everything if row.name != "random"]
    names = [row.name for row in featured]
    _save(folder / "bundled.jpg", _grid(names, predict_ab(featured, squares, device)))


@torch.inference_mode()
def draw_temperatures(
    folder: Path, outcomes: Sequence[Outcome], out: Path, *, device: torch.device
) -> None:
    """Write temperatures.jpg: a bundled photo from T = 1 to 0, a line a network with classes."""
    photo = _bundled()[:1]
    lines: dict[str, list[Pixels]] = {}
    for outcome in outcomes:
        if outcome.status != "done":
            continue
        released = checkpoint.load(outcome.release(out), device=device)
        if not isinstance(released.generator.head, ClassificationHead):
            continue  # others have no temperature
        network = CachedPredictor(released.generator)
        settings = [released.decode.model_copy(update={"temperature": t}) for t in TEMPERATURES]
        strip = [network.method(f"{one.temperature}", one) for one in settings]
        found = predict_ab(strip, photo, device)
        lines[outcome.title] = [found[row.name][0] for row in strip]
    if lines:
        heads = [f"T {t:g}" for t in TEMPERATURES[:-1]] + ["T 0"]
        _save(folder / "temperatures.jpg", _grid(list(lines), lines, heads))


def draw_failures(
    folder: Path,
    test: TestSet,
    compared: Sequence[Method],
    arrays: Mapping[str, Array],
    *,
    device: torch.device,
) -> None:
    """Write failure_N.jpg for each of FAILURES: the worst photos by it, each recipe's worst one.

    Above: the recipe and the measure; the recipe's picture, and the truth below it.
    """
    trained = [row for row in compared if row.primary]
    for number, failure in enumerate(FAILURES, start=1):
        worst = _worst_of(failure, trained, arrays)
        cells = []
        for value, index, row in worst:
            batch = Batch.of(test.squares, [index], device)
            rgb, _ = metrics.render(batch.lightness, row.predict(batch))
            mine = (255 * rgb[0]).round().byte().permute(1, 2, 0).cpu().numpy()
            cells.append((row.name, f"{value:.2f}", mine, test.squares[index]))
        if cells:
            _save(folder / f"failure_{number}.jpg", _worst(cells))


def _worst_of(
    failure: Failure, trained: Sequence[Method], arrays: Mapping[str, Array]
) -> list[tuple[float, int, Method]]:
    """The worst (value, photo, row), each photo once and each row once."""
    sign = 1 if failure.high_is_bad else -1
    every = [
        (sign * float(value), index, row)
        for row in trained
        for index, value in enumerate(_per_photo(failure, row.name, arrays))
        if np.isfinite(value)
    ]
    found: list[tuple[float, int, Method]] = []
    for value, index, row in sorted(every, key=lambda one: -one[0]):
        if all(index != other and row is not its for _, other, its in found):
            found.append((sign * value, index, row))
        if len(found) == _WORST:
            break
    return found


def _bundled() -> list[Pixels]:
    """Center squares of the photos in scikit-image that are in the public domain."""
    found = load_photos(DataConfig(cache_size=256), splits=ALL_SPLITS, keep_gray=True)
    return [
        crop_photo(photo, "center", crop=256)
        for name, photo in zip(found.names, found.photos, strict=True)
        if _UNLICENSED not in name
    ]


def _per_photo(failure: Failure, row: str, arrays: Mapping[str, Array]) -> Array:
    """The measure of each photo; NaN where it says nothing."""
    if failure.figure == "rare_recall":
        counts, near = arrays["counts/truth"], arrays[f"near/{row}"]
        rare = rare_bins(counts.sum(0))
        pixels = counts[:, rare].sum(1)
        share = 100 * near[:, rare].sum(1) / np.maximum(pixels, 1)
        return np.where(pixels >= _LEAST_RARE, share, np.nan)
    if failure.figure == "chroma_ratio":
        true = arrays[f"photos/chroma_true/{row}"]
        ratio: Array = arrays[f"photos/chroma/{row}"] / np.maximum(true, 1e-9)
        return ratio
    return arrays[f"photos/{failure.figure}/{row}"]


def _grid(
    names: Sequence[str], lines: Mapping[str, Sequence[Pixels]], heads: Sequence[str] = ()
) -> Image.Image:
    """A line of pictures a name, with the name before it and heads above the columns."""
    font = ImageFont.load_default(12)
    columns = max(len(lines[name]) for name in names)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = int(max(probe.textlength(name, font) for name in names)) + 2 * _GAP
    top = _LINE if heads else 0
    step = _TILE + _GAP
    sheet = Image.new("RGB", (left + columns * step, top + len(names) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((left + column * step, 0), head, "black", font)
    for line, name in enumerate(names):
        draw.text((_GAP, top + line * step + _TILE // 2 - 8), name, "black", font)
        for column, pixels in enumerate(lines[name]):
            sheet.paste(_tile(pixels), (left + column * step, top + line * step))
    return sheet


def _worst(cells: Sequence[tuple[str, str, Pixels, Pixels]]) -> Image.Image:
    font = ImageFont.load_default(11)
    step = _TILE + 8 * _GAP
    sheet = Image.new("RGB", (len(cells) * step, 2 * _LINE + 2 * (_TILE + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, value, mine, true) in enumerate(cells):
        x = column * step
        draw.text((x, 0), name, "black", font)
        draw.text((x, _LINE), value, "black", font)
        sheet.paste(_tile(mine), (x, 2 * _LINE))
        sheet.paste(_tile(true), (x, 2 * _LINE + _TILE + _GAP))
    return sheet


def _tile(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.LANCZOS)


def _save(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    atomic_write(path, content.getvalue())
