"""train.py: arguments, signals and the progress bar of a training."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pix2color import errors
from pix2color.cli import common

if TYPE_CHECKING:
    from pix2color.config import Config
    from pix2color.training.events import TrainEvent, TrainResult

_EPILOG = """examples:
  accelerate launch train.py --config pretrain_class.yaml --data my-photos/
  accelerate launch train.py --config gan.yaml --set budget.minutes=30
  accelerate launch train.py --config gan.yaml --resume
"""
_SHOWN = (
    *("loss", "auc_gain", "auc_rebalanced_gain", "psnr_gain", "colorfulness_ratio", "cast", "fd"),
)


def parser() -> argparse.ArgumentParser:
    """The arguments of train.py."""
    parser = common.Parser(
        prog="train.py",
        description="Train a recipe of configs/ (or a YAML file of your own).",
        epilog=_EPILOG,
    )
    parser.add_argument("--config", required=True, help="a recipe's name or file")
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="PATH",
        help="folders, .tar shards or URLs of indexed shards (data.roots); left out: photos bundled"
        " with scikit-image",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value, such as budget.minutes=30; may be repeated",
    )
    parser.add_argument("--resume", action="store_true", help="go on where the run folder stopped")
    parser.add_argument("--quiet", action="store_true", help="plain lines, no bar")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_train, arguments)


def _train(arguments: argparse.Namespace) -> int:
    from pix2color.config import load

    over = {"data": {"roots": arguments.data}} if arguments.data else None
    config = load(arguments.config, arguments.set, over=over)

    from pix2color.training.setup import make_accelerator, make_trainer, resolve_launch

    config = resolve_launch(config)
    accelerator = make_accelerator(config)
    reporter = _Reporter(quiet=not accelerator.is_main_process, plain=arguments.quiet)
    with reporter.bar as bar:
        bar.write(f"# {config.output} (config {config.digest()})")
        for line in config.dump().splitlines():
            bar.write(line)
        trainer = make_trainer(
            config,
            accelerator=accelerator,
            resume=arguments.resume,
            announce=bar.write,
            observer=reporter.observe,
        )

        def stop() -> None:
            trainer.stop = True
            bar.write("stopping: finishing this step and saving the state")

        with common.stop_requested(stop):
            result = trainer.fit()
        bar.write(_summary(result, config))
    # Not on errors: a process that failed alone would wait for the others for ever.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return errors.EXIT_OK if result.finished else errors.EXIT_INTERRUPTED


def _summary(result: TrainResult, config: Config) -> str:
    text = (
        f"{'done' if result.finished else 'stopped'}: {result.samples:,} samples in "
        f"{result.seconds / 60:.1f} min ({result.rate:.1f}/s)"
    )
    if result.skipped:
        text += f", {result.skipped} steps skipped for non-finite gradients"
    if result.release:
        text += (
            f"; best {config.train.selection_metric} {result.best:.2f} at"
            f" {result.best_samples:,} samples: {result.release}"
        )
    return text if result.finished else f"{text}; --resume continues"


class _Reporter:
    """Shows a training's events: a bar on a terminal, lines elsewhere."""

    def __init__(self, *, quiet: bool, plain: bool) -> None:
        self.bar = common.ProgressBar(1.0, quiet=quiet, plain=plain, interval=0, out=sys.stdout)
        self._started = False

    def observe(self, event: TrainEvent) -> None:
        """The trainer's observer."""
        if not self._started:
            self._started = True
            self.bar.restart(1.0, initial=event.fraction)
        if event.kind == "validation":
            figures = {name: event.metrics[name] for name in _SHOWN if name in event.metrics}
            shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            self.bar.write(f"validation at {event.samples:,} samples: {shown}")
        elif event.kind == "log":
            losses = {name: f"{value:.4g}" for name, value in event.metrics.items()}
            samples = f"{event.samples:,} ({event.rate:.1f}/s)"
            self.bar.advance_to(event.fraction, samples=samples, **losses)
        elif self.bar.is_bar:
            self.bar.advance_to(event.fraction)
