"""python -m pix2color release: a run's averaged weights as one file, also on the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common

_DECODE = ("temperature", "vividness", "saturation", "calibration", "input_size")


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color release",
        description="Write a run's averaged weights as a .safetensors file that infer.py, evaluate "
        "and init_from read, and beside it their graph (.onnx), which infer.py runs without torch.",
    )
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--out", type=Path, help="the file (RUN/NAME.safetensors)")
    parser.add_argument("--best", action="store_true", help="the best weights, not the newest")
    parser.add_argument(
        "--average", type=Path, nargs="+", default=[], metavar="FILE",
        help="release files of the same network, whose weights are averaged with the run's",
    )  # fmt: skip
    parser.add_argument("--no-graph", action="store_true", help="write no graph")
    parser.add_argument("--figures", type=Path, help="a JSON file of figures for the metadata")
    for name in _DECODE:
        option, kind = ("--size", int) if name == "input_size" else (f"--{name}", float)
        parser.add_argument(
            option, dest=name, type=kind, help=f"decode.{name} that the file ships with"
        )
    hub = parser.add_argument_group("Hugging Face Hub")
    hub.add_argument(
        "--push", metavar="USER/REPO", help="also upload it, with a model card, to this repository"
    )
    hub.add_argument("--private", action="store_true", help="a new repository is only yours to see")
    hub.add_argument(
        "--license", default="other", metavar="ID",
        help="of the weights, as the Hub writes it: cc-by-4.0, apache-2.0, ... (other)",
    )  # fmt: skip
    hub.add_argument(
        "--dry-run", type=Path, nargs="?", const=Path(), metavar="FOLDER",
        help="write the folder that would be pushed (RUN/hub) and push nothing",
    )  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> int:
    """Release; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_release, arguments)


def _release(arguments: argparse.Namespace) -> int:
    from pix2color.checkpoints import hub
    from pix2color.training.export import export_run, read_figures

    if arguments.push:
        hub.repository(arguments.push)  # before anything is written
    elif arguments.dry_run is not None or arguments.private:
        raise errors.Pix2ColorError("--dry-run and --private go with --push USER/REPO")
    decode = {k: v for k in _DECODE if (v := getattr(arguments, k)) is not None}
    figures = read_figures(arguments.figures) if arguments.figures else None
    out = export_run(
        arguments.run,
        arguments.out,
        best=arguments.best,
        average=arguments.average,
        decode=decode,
        figures=figures,
        graph=not arguments.no_graph,
    )
    graph = out.with_suffix(".onnx")
    beside = f" and its graph {graph.name}" if graph.is_file() else ", without a graph"
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB){beside}")
    if arguments.push:
        _push(arguments, out)
    return errors.EXIT_OK


def _push(arguments: argparse.Namespace, out: Path) -> None:
    from pix2color.checkpoints import hub
    from pix2color.checkpoints.model_card import write_folder
    from pix2color.runtime import onnx_export

    dry = arguments.dry_run is not None
    folder = arguments.dry_run if dry and arguments.dry_run != Path() else arguments.run / "hub"
    graph = None
    if not arguments.no_graph and (beside := out.with_suffix(".onnx")).is_file():
        graph = onnx_export.renamed(beside.read_bytes(), hub.FILE)
    write_folder(
        folder, out, graph, run=arguments.run, repo=arguments.push, license=arguments.license
    )
    names = ", ".join(hub.files_in(folder))
    if dry:
        print(f"{folder} holds {names}, as they would be pushed to {arguments.push}")
        return
    pushed = hub.push(folder, arguments.push, private=arguments.private)
    print(f"uploaded {names} of {folder} to {pushed.url}")
    print(f"to use it: python infer.py photos/ --checkpoint {arguments.push}@{pushed.commit}")
