"""python -m pix2color benchmark: arguments, signals and progress of a comparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2color.cli import common
from pix2color.errors import EXIT_OK, ConfigError

if TYPE_CHECKING:
    from pix2color.benchmark.plan import RecipeRun
    from pix2color.training.events import TrainEvent

_EPILOG = """examples:
  python -m pix2color benchmark --config configs/benchmark.yaml --data photos/ --out report/
  python -m pix2color benchmark --data photos/ --minutes 10 --recipes pretrain_l2 pretrain_class
  python -m pix2color benchmark --budget smoke

The same command again continues where it was stopped; finished recipes are not trained again.
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color benchmark",
        description="Train every recipe on the same photos for the same budget, and compare them.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    # fmt: off
    add("--config", default="benchmark.yaml", help="the plan: a file or its name (%(default)s)")
    add("--data", nargs="+", metavar="PATH", default=[],
        help="folders or .tar shards, split into train, val and test; left out: the few photos"
        " bundled with scikit-image")
    add("--out", type=Path, default=Path("report"), help="folder of the report (%(default)s)")
    add("--recipes", nargs="+", metavar="NAME",
        help="only these, in place of the plan's; all: every recipe")
    add("--budget", choices=("plan", "smoke"), default="plan",
        help="smoke: a smoke test, seconds per recipe on a few small photos")
    add("--minutes", type=float, metavar="N", help="minutes of training per recipe")
    add("--samples", type=int, metavar="N", help="training samples per recipe, in place of minutes")
    add("--test", action="append", default=[], metavar="NAME=PATH",
        help="photos beside the test split, such as labelled=photos/; may be repeated")
    add("--checkpoint", action="append", metavar="FILE|USER/REPO", default=[],
        help="a release file, or `default` for the packaged one: a row that is measured and not"
        " trained; may be repeated")
    add("--pretrained", action="append", default=[], metavar="NETWORK=FILE",
        help="ImageNet weights of an encoder or classifier; others are downloaded")
    add("--lpips-backbone", metavar="FILE",
        help="torchvision's weights of the LPIPS net, where they cannot be downloaded")
    add("--fd-backbone", metavar="FILE",
        help="also measure FD, a Frechet distance, in the features of these weights: torchvision's"
        " mobilenet_v2 or squeezenet1_1")
    add("--classifier", metavar="NAME|FILE",
        help="also measure its accuracy on sets that have classes (folders or names)")
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="change one value of the plan, such as evaluate.photos=100; may be repeated")
    add("--public-report", type=Path, metavar="FOLDER",
        help="also write a report without images of the data's photos")
    add("--train-only", action="store_true", help="leave measuring to another call")
    add("--device", default=None, help="of measuring: cpu, cuda, ... (a GPU where there is one)")
    add("--quiet", action="store_true", help="plain lines, no bar")
    # fmt: on
    return parser


def main(argv: list[str] | None = None) -> int:
    """Compare; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_benchmark, arguments)


def _benchmark(arguments: argparse.Namespace) -> int:
    common.check_ranges(arguments, minutes=(0.001, 1_000_000), samples=(1, common.MOST))
    overrides = _overrides(arguments)
    from pix2color.benchmark import plan as plans
    from pix2color.config import find_recipe

    plan = plans.load_plan(arguments.config, overrides=overrides, smoke=arguments.budget == "smoke")
    from pix2color.benchmark.run import Benchmark

    reporter = _Reporter(plain=arguments.quiet)
    with reporter.bar as bar:
        benchmark = Benchmark(
            plan,
            find_recipe(arguments.config).parent,
            roots=arguments.data,
            out=arguments.out,
            device=arguments.device,
            log=bar.write,
            smoke=arguments.budget == "smoke",
        )
        stopping = "stopping: finishing this step and saving the state"
        with common.stop_requested(lambda: bar.write(stopping)) as stop:
            benchmark.train(reporter.observe, stop)
        if not arguments.train_only:
            common.stop_on_sigterm()
            benchmark.report(reporter.photos, public=arguments.public_report)
    print(f"report in {arguments.out / 'index.html'}" if not arguments.train_only else "trained")
    return EXIT_OK


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments as sections and values of a plan."""
    from pix2color.config import set_dotted_key

    tree: dict[str, Any] = {}
    for text in arguments.set:
        set_dotted_key(tree, text)
    if arguments.minutes is not None or arguments.samples is not None:
        tree["budget"] = {"minutes": arguments.minutes, "samples": arguments.samples}
    if arguments.recipes:
        every = arguments.recipes == ["all"]
        tree["recipes"] = "all" if every else arguments.recipes
    if arguments.checkpoint:
        tree["checkpoints"] = arguments.checkpoint
    for flag, section in (("test", "test_sets"), ("pretrained", "pretrained")):
        for text in getattr(arguments, flag):
            name, sign, path = text.partition("=")
            if not sign or not name or not path:
                raise ConfigError(f"--{flag} {text!r}: write it as NAME=PATH")
            tree.setdefault(section, {})[name] = path
    for flag in ("lpips_backbone", "fd_backbone", "classifier"):
        if value := getattr(arguments, flag):
            tree.setdefault("evaluate", {})[flag] = value
    return tree


class _Reporter:
    """Shows the trainings and measurements one after the other, each from 0 to 100 %."""

    def __init__(self, *, plain: bool) -> None:
        self.bar = common.ProgressBar(1.0, plain=plain, interval=30)
        self._title = ""

    def observe(self, run: RecipeRun, event: TrainEvent) -> None:
        """The trainer's observer."""
        self._show(run.name, event.fraction)
        if event.kind == "log":
            figures = {"samples": f"{event.samples:,} ({event.rate:.1f}/s)"}
            if "loss" in event.metrics:
                figures["loss"] = f"{event.metrics['loss']:.3f}"
            self.bar.advance_to(event.fraction, **figures)

    def photos(self, name: str, done: int, total: int) -> None:
        """Show how many photos of a set are measured."""
        self._show(f"measuring {name}", done / total)
        self.bar.advance_to(done / total, photos=f"{done}/{total}")

    def _show(self, title: str, fraction: float) -> None:
        if title != self._title:
            self._title = title
            self.bar.restart(1.0, title, initial=fraction)
        if self.bar.is_bar:
            self.bar.advance_to(fraction)
