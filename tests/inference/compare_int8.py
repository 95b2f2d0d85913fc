"""The network with weights and activations of 8 bits beside itself: size, time, and colors.

    python tests/inference/compare_int8.py PHOTOS --lpips squeezenet1_1.safetensors

onnxruntime's quantizer writes the 8-bit graph (static, one scale per channel of the weights); the
ranges of the activations come from every fourth photo of the folder, the figures from the others.
The time is the least processor time of one thread. Intervals are 95 % of the mean difference, over
photos drawn with replacement.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization import shape_inference

from pix2color.checkpoints import checkpoint
from pix2color.color.lab import rgb_to_lab
from pix2color.evaluation import cast, metrics
from pix2color.evaluation.lpips import Lpips
from pix2color.inference import preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import Photo, read
from pix2color.photo.walk import walk
from pix2color.runtime import onnx_export
from pix2color.runtime.onnx import INPUT, OnnxRuntime

DRAWS = 2000


class Inputs(quantization.CalibrationDataReader):
    """The network's inputs of photos, one at a time."""

    def __init__(self, photos: list[Photo], colorizer: Colorizer) -> None:
        size, stride = colorizer.decode.input_size, colorizer.runtime.info.output_stride
        self._inputs: Iterator[NDArray[np.float32]] = (
            preprocess.network_lightness(preprocess.gray_values(photo), size, stride)
            for photo in photos
        )

    def get_next(self) -> dict[str, Any] | None:
        lightness = next(self._inputs, None)
        return None if lightness is None else {INPUT: lightness[None, None]}


def quantized(path: Path, photos: list[Photo], colorizer: Colorizer) -> Path:
    """The 8-bit graph of an ONNX file, beside it."""
    ready, out = path.with_name("ready.onnx"), path.with_name("int8.onnx")
    # Fuses the batch norms into the convolutions, so that those are quantized whole.
    shape_inference.quant_pre_process(path, ready, skip_symbolic_shape=True)
    quantization.quantize_static(
        ready, out, Inputs(photos, colorizer), per_channel=True, reduce_range=False
    )
    model = onnx.load(out)
    props = {each.key: each.value for each in onnx.load(path).metadata_props}
    onnx.helper.set_model_props(model, props)
    onnx.save(model, out)
    return out


def figures(
    colorizer: Colorizer, photos: list[Photo], lpips: Lpips
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """AuC and LPIPS of each photo, N,2; and the cells of prediction and truth, N,70 each."""
    rows, counts, true_counts = [], [], []
    for photo in photos:
        gray = Photo(preprocess.gray_values(photo).copy())
        rgb, true_rgb = (
            torch.from_numpy(each.pixels / np.float32(255)).permute(2, 0, 1)[None]
            for each in (colorizer.colorize(gray), photo)
        )
        lab, true_lab = rgb_to_lab(rgb), rgb_to_lab(true_rgb)
        error = metrics.ab_error(lab[:, 1:], true_lab[:, 1:])
        distance = lpips.distance(lpips.features(rgb), lpips.features(true_rgb))
        if distance is None:
            continue
        rows.append((float(metrics.auc(error)), float(distance)))
        counts.append(cast.cell_counts(true_lab[:, :1], lab[:, 1:])[0].numpy())
        true_counts.append(cast.cell_counts(true_lab[:, :1], true_lab[:, 1:])[0].numpy())
    return np.array(rows), np.array(counts), np.array(true_counts)


def milliseconds(colorizer: Colorizer, runs: int = 30) -> float:
    """The least processor time of the network at its own size."""
    lightness = np.random.default_rng(0).uniform(0, 100, (1, 1, 192, 256)).astype(np.float32)
    times = []
    for _ in range(runs):
        start = time.process_time()
        colorizer.runtime.run(lightness)
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path, help="a folder of color photos")
    parser.add_argument("--lpips", type=Path, metavar="FILE", help="SqueezeNet's weights")
    parser.add_argument("--limit", type=int, default=200, help="photos at most (200)")
    options = parser.parse_args()
    files = [path for path in walk(options.photos) if isinstance(path, Path)]
    files = files[:: max(1, len(files) // options.limit)]
    photos = [photo for photo in map(read, files) if not photo.is_gray and photo.bits == 8]
    lpips = Lpips("squeeze", backbone=options.lpips)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.onnx"
        onnx_export.write(path, checkpoint.load(None))
        before = Colorizer(OnnxRuntime.read(path, device="cpu"))
        small = quantized(path, photos[::4], before)
        after = Colorizer(OnnxRuntime.read(small, device="cpu"))
        sizes = [each.stat().st_size / 1e6 for each in (path, small)]
    tested = [photo for number, photo in enumerate(photos) if number % 4]
    (one, one_cells, true), (two, two_cells, _) = (
        figures(each, tested, lpips) for each in (before, after)
    )
    draws = np.random.default_rng(0).integers(0, len(one), (DRAWS, len(one)))
    change = np.quantile((two - one)[draws].mean(axis=1), (0.025, 0.975), axis=0)
    casts = [
        cast.cast(cells[draws].sum(axis=1), true[draws].sum(axis=1))
        for cells in (one_cells, two_cells)
    ]
    cast_change = np.quantile(casts[1] - casts[0], (0.025, 0.975))
    whole = [cast.cast(cells.sum(axis=0), true.sum(axis=0)) for cells in (one_cells, two_cells)]
    lines = [
        f"{len(photos[::4])} photos for the ranges, {len(one)} for the figures",
        "",
        "| | float32 | int8 | difference, 95 % |",
        "| --- | ---: | ---: | --- |",
        f"| file, MB | {sizes[0]:.1f} | {sizes[1]:.1f} | |",
        f"| network, ms | {milliseconds(before):.1f} | {milliseconds(after):.1f} | |",
    ]
    rows = [
        ("AuC, %", one[:, 0].mean(), two[:, 0].mean(), change[:, 0]),
        ("LPIPS", one[:, 1].mean(), two[:, 1].mean(), change[:, 1]),
        ("cast, %", whole[0], whole[1], cast_change),
    ]
    for name, first, second, (low, high) in rows:
        lines.append(f"| {name} | {first:.3f} | {second:.3f} | {low:+.3f} to {high:+.3f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
