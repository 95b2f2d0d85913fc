"""Images of a report: the same photos by every recipe, temperatures, and the worst failures."""

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
from pix2color.config import DataConfig
from pix2color.data.dataset import ALL_SPLITS, Pixels, load_photos
from pix2color.evaluation import methods
from pix2color.evaluation.failure_metrics import rare_bins
from pix2color.evaluation.methods import Batch, CachedPredictor, Method
from pix2color.evaluation.protocol import crop_photo
from pix2color.inference.colorizer import Colorizer
from pix2color.io import atomic_write

TEMPERATURES = (1.0, 0.77, 0.58, 0.38, 0.29, 0.14, 0.01)
"""Of the strip; 0.01 shows the likeliest class."""
_TILE = 112  # side of an image, pixels
_GAP = 3
_LINE = 15  # a line of text
_QUALITY = 88
_NUM_WORST = 6
_UNLICENSED = "motorcycle"  # has no license in scikit-image, so it must not be published
_MIN_RARE = 200  # pixels of rare colors from which a photo has a share of them

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """One of the five failures and its metric."""

    title: str
    metric: str
    text: str
    high_is_bad: bool = True


FAILURES = (
    Failure(
        "Color bias",
        "rare_recall",
        "share of the pixels of the rarest true colors (the bins that hold the rarest 10 % of all"
        " pixels) with a color within 20 ab of theirs; low is bad",
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
        "excess standard deviation of ab inside the true photo's SLIC segments, in ab units, mean"
        " over segments; high is bad",
    ),
    Failure(
        "Edge pollution",
        "border",
        "mean error in the outer 5 % of the image less the mean error inside, in ab units; high"
        " is bad",
    ),
    Failure(
        "Bleeding",
        "bleeding",
        "share of the true contrast across color edges that is lost, sampled 3 to 6 px away on"
        " both sides, in percent; high is bad",
    ),
)


def predict_all(compared: Sequence[Method], photos: Sequence[Pixels]) -> dict[str, list[Pixels]]:
    """Every method's images of photos, H,W,3 uint8."""
    images: dict[str, list[Pixels]] = {method.name: [] for method in compared}
    for number, photo in enumerate(photos):
        batch = Batch([photo], [number])
        for method in compared:
            images[method.name] += method.predict(batch)
    return images


def draw_grids(folder: Path, test: TestSet, compared: Sequence[Method], *, num_shown: int) -> None:
    """Write grid.jpg, of test photos, and bundled.jpg, of scikit-image's: one line per method."""
    all_methods = [methods.gray(), *compared, methods.truth()]
    _save(folder / "grid.jpg", _grid(predict_all(all_methods, test.squares[:num_shown])))
    # The random colors are those of the data's photos.
    without_random = [method for method in all_methods if method.name != "random"]
    _save(folder / "bundled.jpg", _grid(predict_all(without_random, _bundled())))


def draw_temperatures(
    folder: Path, outcomes: Sequence[Outcome], out: Path, *, device: torch.device
) -> None:
    """Write temperatures.jpg: a bundled photo from T = 1 to 0, a line per network with classes."""
    photo = _bundled()[:1]
    lines: dict[str, list[Pixels]] = {}
    for outcome in outcomes:
        if outcome.status != "done":
            continue
        colorizer = Colorizer.from_pretrained(outcome.release(out), str(device))
        if colorizer.runtime.info.log_prior is None:
            continue  # a network without classes has no temperature
        network = CachedPredictor(colorizer)
        strip = [
            network.method(f"{t}", colorizer.decode.model_copy(update={"temperature": t}))
            for t in TEMPERATURES
        ]
        lines[outcome.title] = [image for (image,) in predict_all(strip, photo).values()]
    if lines:
        heads = [f"T {t:g}" for t in TEMPERATURES[:-1]] + ["T 0"]
        _save(folder / "temperatures.jpg", _grid(lines, heads))


def draw_failures(
    folder: Path,
    test: TestSet,
    compared: Sequence[Method],
    arrays: Mapping[str, Array],
) -> None:
    """Write failure_N.jpg for each of FAILURES: the worst photos by it, one per recipe.

    From above: the recipe and the metric, the recipe's image, the truth.
    """
    trained = [method for method in compared if method.primary]
    for number, failure in enumerate(FAILURES, start=1):
        cells = []
        for value, index, method in _select_worst(failure, trained, arrays):
            photo = test.squares[index]
            (image,) = method.predict(Batch([photo], [index]))
            cells.append((method.name, f"{value:.2f}", image, photo))
        if cells:
            _save(folder / f"failure_{number}.jpg", _draw_worst(cells))


def _select_worst(
    failure: Failure, trained: Sequence[Method], arrays: Mapping[str, Array]
) -> list[tuple[float, int, Method]]:
    """The worst (value, photo, method), each photo once and each method once."""
    sign = 1 if failure.high_is_bad else -1
    candidates = [
        (sign * float(value), index, method)
        for method in trained
        for index, value in enumerate(_per_photo(failure, method.name, arrays))
        if np.isfinite(value)
    ]
    worst: list[tuple[float, int, Method]] = []
    for value, index, method in sorted(candidates, key=lambda candidate: -candidate[0]):
        if all(index != photo and method is not other for _, photo, other in worst):
            worst.append((sign * value, index, method))
        if len(worst) == _NUM_WORST:
            break
    return worst


def _bundled() -> list[Pixels]:
    """Center squares of the photos in scikit-image that are in the public domain."""
    bundled = load_photos(DataConfig(cache_size=256), splits=ALL_SPLITS, keep_gray=True)
    return [
        crop_photo(photo, "center", crop=256)
        for name, photo in zip(bundled.names, bundled.photos, strict=True)
        if _UNLICENSED not in name
    ]


def _per_photo(failure: Failure, method: str, arrays: Mapping[str, Array]) -> Array:
    """The metric of each photo; NaN where it is undefined."""
    if failure.metric == "rare_recall":
        counts, recalled = arrays["counts/truth"], arrays[f"within_20/{method}"]
        rare = rare_bins(counts.sum(0))
        pixels = counts[:, rare].sum(1)
        share = 100 * recalled[:, rare].sum(1) / np.maximum(pixels, 1)
        return np.where(pixels >= _MIN_RARE, share, np.nan)
    if failure.metric == "chroma_ratio":
        true = arrays[f"photos/chroma_true/{method}"]
        ratio: Array = arrays[f"photos/chroma/{method}"] / np.maximum(true, 1e-9)
        return ratio
    return arrays[f"photos/{failure.metric}/{method}"]


def _grid(lines: Mapping[str, Sequence[Pixels]], heads: Sequence[str] = ()) -> Image.Image:
    """One line of images per name, with the name before it and heads above the columns."""
    font = ImageFont.load_default(12)
    columns = max(map(len, lines.values()))
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = int(max(probe.textlength(name, font) for name in lines)) + 2 * _GAP
    top = _LINE if heads else 0
    step = _TILE + _GAP
    sheet = Image.new("RGB", (left + columns * step, top + len(lines) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((left + column * step, 0), head, "black", font)
    for line, (name, images) in enumerate(lines.items()):
        draw.text((_GAP, top + line * step + _TILE // 2 - 8), name, "black", font)
        for column, pixels in enumerate(images):
            sheet.paste(_tile(pixels), (left + column * step, top + line * step))
    return sheet


def _draw_worst(cells: Sequence[tuple[str, str, Pixels, Pixels]]) -> Image.Image:
    font = ImageFont.load_default(11)
    step = _TILE + 8 * _GAP
    sheet = Image.new("RGB", (len(cells) * step, 2 * _LINE + 2 * (_TILE + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, value, image, photo) in enumerate(cells):
        x = column * step
        draw.text((x, 0), name, "black", font)
        draw.text((x, _LINE), value, "black", font)
        sheet.paste(_tile(image), (x, 2 * _LINE))
        sheet.paste(_tile(photo), (x, 2 * _LINE + _TILE + _GAP))
    return sheet


def _tile(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (_TILE, _TILE), Image.Resampling.LANCZOS
    )


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    atomic_write(path, content.getvalue())
