"""train.py: arguments, signals and the progress bar of a training."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from pix2color import errors
from pix2color.cli import common

if TYPE_CHECKING:
    from pix2color.config import Config
    from pix2color.training.events import TrainEvent, TrainResult
    from pix2color.training.trainer import Trainer

_EPILOG = """examples:
  accelerate launch train.py --config pretrain_class.yaml --data my-photos/
  accelerate launch train.py --config gan.yaml --set budget.minutes=30
  accelerate launch train.py --config gan.yaml --resume
"""
_SHOWN = ("auc_gain", "auc_rebalanced_gain", "psnr_gain", "colorfulness_ratio")


def parser() -> argparse.ArgumentParser:
    """The arguments of train.py."""
    made = common.Parser(
        prog="train.py",
        description="Train a recipe of configs/ (or a YAML file of your own).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", required=True, help="a recipe's name or file")
    made.add_argument(
        "--data",
        nargs="+",
        metavar="PATH",
        help="folders or .tar shards (data.roots); left out: photos bundled with scikit-image",
    )
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value, such as budget.minutes=30; may be repeated",
    )
    made.add_argument("--resume", action="store_true", help="go on where the run folder stopped")
    made.add_argument("--quiet", action="store_true", help="plain lines, no bar")
    return made


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
    reporter = _Reporter(quiet=arguments.quiet, speaks=accelerator.is_main_process)
    reporter.line(f"# {config.output} (config {config.digest()})\n{config.dump().rstrip()}")
    trainer = make_trainer(
        config,
        accelerator=accelerator,
        resume=arguments.resume,
        announce=reporter.line,
        observer=reporter.status,
    )
    _save_on_signals(trainer, reporter)
    try:
        summary = trainer.fit()
    finally:
        reporter.close()
    # Not on errors: a process that failed alone would wait for the others for ever.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    reporter.line(_summary(summary, config))
    return errors.EXIT_OK if summary.finished else errors.EXIT_INTERRUPTED


def _save_on_signals(trainer: Trainer, reporter: _Reporter) -> None:
    """Ctrl-C and SIGTERM end the training after the step under way; a second Ctrl-C at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if trainer.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        trainer.stop = True
        reporter.line("stopping: finishing this step and saving the state")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _summary(summary: TrainResult, config: Config) -> str:
    said = (
        f"{'done' if summary.finished else 'stopped'}: {summary.samples:,} samples in "
        f"{summary.seconds / 60:.1f} min ({summary.rate:.1f}/s)"
    )
    if summary.skipped:
        said += f", {summary.skipped} steps skipped for non-finite gradients"
    if summary.release:
        said += (
            f"; best {config.train.selection_metric} {summary.best:.2f} at {summary.best_samples:,} samples: "
            f"{summary.release}"
        )
    if not summary.finished:
        said += "; go on with --resume"
    return said


class _Reporter:
    """A bar on a terminal, plain lines elsewhere; silent in all but the main process."""

    def __init__(self, *, quiet: bool, speaks: bool) -> None:
        from tqdm import tqdm

        self.speaks = speaks
        self.began: tuple[float, float] | None = None  # when, and with what share done already
        self.bar: tqdm[Any] | None = None
        if speaks and not quiet and sys.stderr.isatty():
            form = "{percentage:5.1f}% |{bar}| {elapsed} < {remaining}{postfix}"
            self.bar = tqdm(total=1.0, bar_format=form, dynamic_ncols=True)

    def line(self, text: str) -> None:
        """A line that stays."""
        if not self.speaks:
            return
        if self.bar is not None:
            self.bar.write(text)
        else:
            print(text, flush=True)

    def status(self, status: TrainEvent) -> None:
        """The trainer's news."""
        if self.began is None:
            self.began = (time.monotonic(), status.fraction)
            if self.bar is not None:
                self.bar.initial = self.bar.n = self.bar.last_print_n = status.fraction
                self.bar.start_t = self.bar.last_print_t = time.time()
        if self.bar is not None:
            self.bar.update(status.fraction - self.bar.n)
        if status.kind == "step":
            return
        if status.kind == "validation":
            shown = {k: status.metrics[k] for k in _SHOWN}
            self.line(f"{status.samples:>9,} validation  {_figures(shown)}")
        elif self.bar is not None:
            loss = status.metrics.get("loss", status.metrics.get("discriminator", 0.0))
            self.bar.set_postfix_str(f"{status.samples:,} {status.rate:.1f}/s loss {loss:.3f}")
        else:
            self.line(f"{status.samples:>9,} {self._remaining(status)}  {_figures(status.metrics)}")

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _remaining(self, status: TrainEvent) -> str:
        since, before = self.began or (time.monotonic(), 0.0)
        done, spent = status.fraction - before, time.monotonic() - since
        if done <= 0:
            return f"{status.fraction:6.1%}"
        return f"{status.fraction:6.1%} {(1 - status.fraction) * spent / done / 60:5.1f} min left"


def _figures(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
