"""python -m pix2color export: a network as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color export",
        description="Write a network as ONNX, for onnxruntime (docs/onnx.md).",
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--graph", action="store_true",
        help="the graph beside a release file, with which infer.py runs it without torch",
    )  # fmt: skip
    kind.add_argument(
        "--onnx", type=Path, metavar="FILE", help="one file FILE.onnx, for programs of your own"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="a release file; default: the packaged weights"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Export; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_export, arguments)


def _export(arguments: argparse.Namespace) -> int:
    return _export_graph(arguments) if arguments.graph else _export_onnx(arguments)


def _export_graph(arguments: argparse.Namespace) -> int:
    from pix2color.checkpoints import hub
    from pix2color.runtime import onnx_export

    out, off = onnx_export.write_graph(hub.resolve(arguments.checkpoint))
    print(f"{out} ({out.stat().st_size / 1e3:.0f} kB), within {off:.2g} of torch's ab")
    return errors.EXIT_OK


def _export_onnx(arguments: argparse.Namespace) -> int:
    out: Path = arguments.onnx
    if out.suffix.lower() != ".onnx":  # infer.py tells the kinds of weights by it
        raise errors.Pix2ColorError(f"--onnx {out}: the file's name must end in .onnx")
    from pix2color.checkpoints import checkpoint
    from pix2color.runtime import onnx_export

    off = onnx_export.write(out, checkpoint.load(arguments.checkpoint))
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB), within {off:.2g} of torch's ab")
    return errors.EXIT_OK
