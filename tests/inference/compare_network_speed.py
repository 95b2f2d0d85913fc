"""How fast the packaged network runs on the CPU in several ways, one thread, warm.

    python tests/inference/compare_network_speed.py [--runs 7] [--no-compile]

The ways take turns, and the processor's time is counted beside the clock's: other programs change
it least. Each way's output is compared with the first one's, in ab.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.inference.preprocess import lightness_table
from pix2color.runtime import onnx_export
from pix2color.runtime.onnx import OnnxRuntime

BATCH = 8
SHAPE = (160, 240)  # of a 3:2 photo at the packaged weights' size
Way = Callable[[Tensor], Tensor]


def ways(released: checkpoint.Checkpoint, *, compiled: bool) -> dict[str, tuple[Way, int]]:
    """Name -> what runs the network, and how many photos at a time."""
    generator = released.generator

    def plain(lightness: Tensor) -> Tensor:
        with torch.inference_mode():
            return generator.predict_raw(lightness)

    def half(lightness: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return generator.predict_raw(lightness).float()

    with tempfile.TemporaryDirectory() as folder:
        onnx_export.write(Path(folder) / "out.onnx", released)
        network = OnnxRuntime.read(Path(folder) / "out.onnx")

    def exported(lightness: Tensor) -> Tensor:
        return torch.from_numpy(network.run(lightness.numpy()).values)

    found: dict[str, tuple[Way, int]] = {
        "torch, one photo at a time": (plain, 1),
        f"torch, {BATCH} of one shape together": (plain, BATCH),
        "torch, bfloat16 autocast": (half, 1),
        "onnxruntime, one photo at a time": (exported, 1),
        f"onnxruntime, {BATCH} together": (exported, BATCH),
    }
    if compiled:
        made = torch.compile(generator)

        def fused(lightness: Tensor) -> Tensor:
            with torch.no_grad():
                return made(lightness)

        start = time.perf_counter()
        try:
            fused(torch.full((1, 1, *SHAPE), 50.0))
        except Exception as error:  # no compiler, most often
            said = " ".join(str(error).split())[:150]
            sys.stdout.write(f"torch.compile does not work here: {said}\n")
        else:
            seconds = time.perf_counter() - start
            sys.stdout.write(f"torch.compile took {seconds:.0f} s, once for every shape\n")
            found["torch.compile, one photo at a time"] = (fused, 1)
    return found


def specimens() -> Tensor:
    """L of four of scikit-image's photos and their mirror images: BATCH,1,*SHAPE."""
    codes = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        image = Image.fromarray(getattr(skimage.data, name)()).convert("L").resize(SHAPE[::-1])
        codes += [np.asarray(image), np.asarray(image)[:, ::-1]]
    return torch.from_numpy(np.take(lightness_table(8), np.stack(codes)))[:, None]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    released = checkpoint.load()
    chosen = ways(released, compiled=not options.no_compile)
    photos = specimens()
    decode = released.decode

    def ab(raw: Tensor) -> Tensor:
        head = released.generator.head
        return head.to_ab(raw, temperature=decode.temperature, vividness=decode.vividness)

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    first: Tensor | None = None
    off = {}
    for name, (way, count) in chosen.items():  # warm, and compared
        seen = ab(way(photos[:count])[:1])
        first = seen if first is None else first
        off[name] = float((seen - first).abs().max())
    for _ in range(options.runs):
        for name, (way, count) in chosen.items():
            clock, worked = time.perf_counter(), time.process_time()
            way(photos[:count])
            passed = time.perf_counter() - clock, time.process_time() - worked
            times[name].append((passed[0] / count, passed[1] / count))
    sys.stdout.write("| way | ms a photo, processor | wall | ratio | ab differs by |\n")
    sys.stdout.write("| --- | ---: | ---: | ---: | ---: |\n")
    base = None
    for name, pairs in times.items():
        wall, processor = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        base = base or processor
        share = f"{processor / base:.2f}"
        row = (name, f"{processor:.0f}", f"{wall:.0f}", share, f"{off[name]:.2g}")
        sys.stdout.write(f"| {' | '.join(row)} |\n")


if __name__ == "__main__":
    main()
