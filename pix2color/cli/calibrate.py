"""python -m pix2color calibrate: a chroma calibration, fitted on photos, in a new release file."""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pix2color import errors
from pix2color.cli import common, evaluation_photos
from pix2color.io import check_writable

if TYPE_CHECKING:
    from pix2color.config import DecodeConfig
    from pix2color.evaluation.calibration import Fit

_EPILOG = """examples:
  python -m pix2color calibrate --data my-photos/ --out calibrated.safetensors
  python -m pix2color calibrate --checkpoint runs/gan/release.safetensors --data train.tar \\
    --temperature 0.45 --limit 1000 --out gan.safetensors
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color calibrate",
        description="Fit a map of chroma, by lightness and hue, that gives a network's colors the"
        " chroma of true photos; write the weights with it as a new release file, and beside it"
        " their graph (.onnx), which infer.py runs without torch.",
        epilog=_EPILOG,
    )
    # fmt: off
    add = parser.add_argument
    add("--checkpoint", default="default", metavar="FILE|USER/REPO",
        help="a release file, or its name on the Hugging Face Hub; default: the packaged weights."
        " A calibration that it has is replaced")
    add("--out", type=Path, required=True, metavar="FILE", help="the new FILE.safetensors")
    add("--temperature", type=float, metavar="T",
        help="to fit for; this and the next two become the defaults of the new file")
    add("--vividness", type=float, metavar="TAU", help="in place of the file's own")
    add("--size", type=int, metavar="N", help="shorter side of the network's input, in pixels")
    add("--calibration", type=float, default=0.5, metavar="SHARE",
        help="share of it that the new file ships with as its default, 0..1 (0.5)")
    add("--no-graph", action="store_true", help="write no graph")
    add("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add("--batch", type=int, default=16, metavar="N", help="photos per pass of the network (16)")
    add("--quiet", action="store_true", help="no progress; only the figures")
    # fmt: on
    evaluation_photos.add_photo_arguments(parser.add_argument_group("photos"))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Calibrate; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_calibrate, arguments)


def _calibrate(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from pix2color.checkpoints import checkpoint, hub, release_file
    from pix2color.evaluation.calibration import fit_calibration
    from pix2color.inference.colorizer import Colorizer
    from pix2color.runtime import onnx_export
    from pix2color.runtime.device import find_device
    from pix2color.runtime.torch import TorchRuntime

    common.stop_on_sigterm()
    source = hub.resolve(arguments.checkpoint)
    if os.path.realpath(source) == os.path.realpath(arguments.out):
        raise errors.Pix2ColorError(f"--out {arguments.out} is the input: name another file")
    loaded = checkpoint.load(arguments.checkpoint, calibrated=False)
    graph = not arguments.no_graph
    if graph:
        onnx_export.check_pair_can_be_written()  # before any long work
    file = release_file.read(source, calibrated=False)
    runtime = TorchRuntime(loaded, device=find_device(arguments.device))
    decode = (
        Colorizer(runtime)
        .resolve_decode(
            temperature=arguments.temperature,
            vividness=arguments.vividness,
            input_size=arguments.size,
        )
        .model_copy(update={"calibration": arguments.calibration})
    )
    notes: list[str] = []
    split = evaluation_photos.find_split(arguments, [arguments.checkpoint], notes)
    photos = evaluation_photos.decode(arguments, split, side=decode.input_size, keep_gray=False)
    with common.ProgressBar(2 * len(photos), unit="steps", quiet=arguments.quiet) as progress:
        fit = fit_calibration(
            runtime,
            photos,
            decode,
            weights=release_file.weights_digest(file.tensors),
            batch=arguments.batch,
            progress=lambda done, total: progress.advance_to(done),
        )
    meta = {**file.meta, "decode": decode.model_dump(mode="json")}
    write = functools.partial(
        release_file.write,
        tensors=file.tensors,
        meta=meta,
        calibration=fit.calibration,
        half=release_file.is_half(file.tensors),
    )
    onnx_export.write_pair(arguments.out, write, graph=graph)
    _print(arguments.out, fit, decode, gray=photos.counts.gray)
    for note in notes:
        print(note)
    return errors.EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    """Refuse impossible arguments before any long work."""
    common.check_ranges(arguments, batch=(1, common.MOST), calibration=(0, 1))
    evaluation_photos.check(arguments)
    out: Path = arguments.out
    if out.suffix.lower() != ".safetensors":
        raise errors.Pix2ColorError(f"--out {out}: the file's name must end in .safetensors")
    if arguments.checkpoint.lower().endswith(".onnx"):
        raise errors.Pix2ColorError(
            f"--checkpoint {arguments.checkpoint}: a calibration is fitted for a release file;"
            " give the .safetensors that it was exported from"
        )
    graph = [] if arguments.no_graph else [out.with_suffix(".onnx")]
    for path in (out, *graph):
        try:
            check_writable(path)
        except OSError as error:
            raise errors.Pix2ColorError(f"--out {path}: {error.strerror or error}") from None


def _print(out: Path, fit: Fit, decode: DecodeConfig, *, gray: int) -> None:
    fitted = fit.calibration
    print(
        f"fitted on {fitted.photos} photos ({gray} gray ones left out) at temperature"
        f" {fitted.temperature:g}, vividness {fitted.vividness:g}, size {fitted.input_size}"
    )
    for name, before, after in (
        ("cast", fit.before.cast, fit.after.cast),
        ("AuC", fit.before.auc, fit.after.auc),
    ):
        print(f"{name} of these photos: {before:.2f} % -> {after:.2f} %")
    graph = out.with_suffix(".onnx")
    beside = f"and its graph {graph.name}" if graph.is_file() else "without a graph"
    size = out.stat().st_size / 1e6
    print(f"{out} ({size:.1f} MB) {beside}, calibration {decode.calibration:g}")
