"""python -m pix2color benchmark: arguments, signals and progress of a comparison."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
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
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    return common.run_command(lambda: _benchmark(arguments))


def _benchmark(arguments: argparse.Namespace) -> int:
    common.check_ranges(arguments, minutes=(0.001, 1_000_000), samples=(1, common.MOST))
    overrides = _overrides(arguments)
    from pix2color.benchmark import plan as plans
    from pix2color.config import find_recipe

    plan = plans.load_plan(arguments.config, overrides=overrides, smoke=arguments.budget == "smoke")
    from pix2color.benchmark.run import Benchmark

    reporter = _Reporter(quiet=arguments.quiet)
    stop = _stop_on_signals(reporter.write)
    benchmark = Benchmark(
        plan,
        find_recipe(arguments.config).parent,
        roots=arguments.data,
        out=arguments.out,
        device=arguments.device,
        log=reporter.write,
        smoke=arguments.budget == "smoke",
    )
    try:
        benchmark.train(reporter.training, stop)
        if not arguments.train_only:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            common.stop_on_sigterm()
            benchmark.report(reporter.photos, public=arguments.public_report)
    finally:
        reporter.close()
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


def _stop_on_signals(log: Callable[[str], object]) -> Callable[[], bool]:
    """Ctrl-C and SIGTERM end the current training after its step; a second Ctrl-C at once."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopping = True
        log("stopping: finishing this step and saving the state")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return lambda: stopping


class _Reporter:
    """One bar per recipe on a terminal, a line every 30 seconds elsewhere."""

    _SECONDS = 30.0  # between lines where there is no terminal

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._bar: Any = None
        self._shown = ""
        self._last = 0.0

    def write(self, line: str) -> None:
        """Print a line beside the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def training(self, run: RecipeRun, event: TrainEvent) -> None:
        """Show an event of a training."""
        figures = f"{event.samples:,} samples, {event.rate:.1f}/s"
        if "loss" in event.metrics:
            figures += f", loss {event.metrics['loss']:.3f}"
        self._show(run.name, event.fraction, figures, important=event.kind == "log")

    def photos(self, set_name: str, done: int, total: int) -> None:
        """Show how many photos of a set are measured."""
        self._show(f"measuring {set_name}", done / total, f"{done}/{total} photos", important=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, title: str, fraction: float, figures: str, *, important: bool) -> None:
        if self._terminal:
            self._on_bar(title, fraction, figures if important else "")
        elif important and time.monotonic() - self._last > self._SECONDS:
            self._last = time.monotonic()
            self.write(f"{title} {fraction:.0%}: {figures}")

    def _on_bar(self, title: str, fraction: float, figures: str) -> None:
        from tqdm import tqdm

        if title != self._shown:
            self.close()
            form = "{desc} {percentage:5.1f}% |{bar}| {elapsed} < {remaining}{postfix}"
            self._bar = tqdm(total=1.0, desc=title, bar_format=form, dynamic_ncols=True)
            self._shown = title
        if figures:
            self._bar.set_postfix_str(figures)
        self._bar.update(max(0.0, fraction - self._bar.n))
