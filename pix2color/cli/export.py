"""python -m pix2color export: a network as an ONNX file, or as a page that colors photos."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color export",
        description="Write a network as ONNX, for onnxruntime (docs/onnx.md), or as a page of "
        "static files that colors photos inside the browser, without a server (docs/web-page.md).",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--graph", action="store_true",
        help="the graph beside a release file, with which infer.py runs it without torch",
    )  # fmt: skip
    kind.add_argument(
        "--onnx", type=Path, metavar="FILE", help="one file FILE.onnx, for programs of your own"
    )
    kind.add_argument(
        "--web", type=Path, metavar="DIR", help="the page, as a folder for any static host"
    )
    parser.add_argument(
        "--single-file",
        action="store_true",
        help="with --web: DIR/pix2color.html alone, which opens without a host",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="a release file; default: the packaged weights"
    )
    ort = parser.add_mutually_exclusive_group()
    ort.add_argument(
        "--fetch-ort",
        action="store_true",
        help="first download onnxruntime-web from npm's registry: --web needs it, once",
    )
    ort.add_argument(
        "--ort-package",
        type=Path,
        metavar="FILE",
        help="the same from a file: onnxruntime-web-VERSION.tgz, as `npm pack` writes it",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Export; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_export, arguments)


def _export(arguments: argparse.Namespace) -> int:
    if arguments.single_file and arguments.web is None:
        raise errors.Pix2ColorError("--single-file belongs to --web DIR")
    gets_ort = arguments.fetch_ort or arguments.ort_package is not None
    if gets_ort:
        _get_ort(arguments.ort_package)
    if arguments.graph:
        return _export_graph(arguments)
    if arguments.onnx is not None:
        return _export_onnx(arguments)
    if arguments.web is not None:
        return _export_web(arguments)
    if not gets_ort:
        raise errors.Pix2ColorError("give --graph, --onnx FILE or --web DIR")
    return errors.EXIT_OK


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


def _export_web(arguments: argparse.Namespace) -> int:
    from pix2color.web import bundle, ort_package
    from pix2color.web.network import web_network

    ort_package.files()  # before the work of a second
    network = web_network(arguments.checkpoint)
    folder: Path = arguments.web
    if arguments.single_file:
        path = folder / bundle.SINGLE_FILE
        size = bundle.write_single_file(path, network)
        print(f"{path} ({size / 1e6:.1f} MB): open it in a browser")
        return errors.EXIT_OK
    size = bundle.write_folder(folder, network)
    print(
        f"{folder} ({size / 1e6:.1f} MB): put it on any static host, or try it here:\n"
        f"  python -m http.server --bind 127.0.0.1 --directory {folder}"
    )
    return errors.EXIT_OK


def _get_ort(package: Path | None) -> None:
    from pix2color.web import ort_package

    if package is None:
        ort_package.fetch()
    else:
        try:
            data = package.read_bytes()
        except OSError as error:
            raise errors.Pix2ColorError(
                f"--ort-package {package} cannot be read: {error.strerror or error}"
            ) from None
        ort_package.unpack(data, str(package))
    print(f"onnxruntime-web {ort_package.VERSION} is in the cache")
