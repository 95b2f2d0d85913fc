"""python -m pix2color import: published weights of other networks as a release file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pix2color import errors
from pix2color.cli import common
from pix2color.io import check_writable

KINDS = "eccv16, siggraph17, ddcolor or ddcolor-tiny"


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color import",
        description="Write published weights of other networks as a .safetensors file that"
        " infer.py, evaluate and the other commands take (docs/other-networks.md).",
    )
    parser.add_argument("kind", metavar="KIND", help=KINDS)
    parser.add_argument(
        "file",
        metavar="FILE",
        help="the authors' file of weights; for DDColor also USER/REPO of the Hugging Face Hub",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="NAME.safetensors to write"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Import; returns the exit code."""
    return common.run_command(_import, parser().parse_args(argv))


def _import(options: argparse.Namespace) -> int:
    out: Path = options.out
    if out.suffix.lower() != ".safetensors":
        raise errors.Pix2ColorError(f"--out {out}: the file's name must end in .safetensors")
    from pix2color.checkpoints.foreign import importing
    from pix2color.runtime.load import load_runtime

    network = importing.kind_of(options.kind)
    try:
        check_writable(out)
        path, name = importing.find_file(options.kind, options.file)
        if os.path.realpath(path) == os.path.realpath(out):
            raise errors.Pix2ColorError(f"--out {out} is the input: name another file")
        imported = importing.import_file(options.kind, path, out, name=name)
    except OSError as error:
        raise errors.Pix2ColorError(f"--out {out}: {error.strerror or error}") from None
    out.with_suffix(".onnx").unlink(missing_ok=True)  # the graph of the weights that were there
    common.say(f"{name}: SHA-256 {imported.sha256}{_published(imported.is_published)}")
    if imported.note:
        print(imported.note)
    info = load_runtime(out, "cpu", kind="torch").info
    print(f"{options.kind} {info.describe()}")
    size = out.stat().st_size / 1e6
    common.say(f"{out} ({size:.1f} MB), {network.origin['license']}, {network.origin['url']}")
    return errors.EXIT_OK


def _published(is_published: bool | None) -> str:
    if is_published is None:
        return ""
    return ", the published file" if is_published else ", not that of the published file"
