"""Shared by the commands: arguments, errors as one line and an exit code, progress."""

from __future__ import annotations

import argparse
import contextlib
import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self, TextIO

from pix2color.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Pix2ColorError
from pix2color.io import atomic_write


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps a description of one line; an epilog of several, such as examples, stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text.strip():
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options: a mistyped one is never taken for another."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Exit with a `printable` message."""
        super().error(printable(message))


_NOT_LIGHT = frozenset(
    ("torch", "torchvision", "accelerate", "scipy", "skimage", "lpips", "matplotlib", "jinja2")
)
"""Packages that an installation of requirements-light.txt lacks."""
MOST = 1_000_000_000
"""Upper bound of counts without a limit of their own."""


def check_ranges(options: argparse.Namespace, **ranges: tuple[float, float]) -> None:
    """Refuse options outside of their range (least, most), NaN included; None is left alone.

    Raises Pix2ColorError, which names the option.
    """
    for name, (least, most) in ranges.items():
        values = getattr(options, name)
        for value in values if isinstance(values, list) else [values]:
            if value is None or least <= value <= most:
                continue
            limit = f"a number from {least:g} to {most:g}"
            if value < least:
                limit = f"at least {least:g}"
            elif value > most:
                limit = f"at most {most:g}"
            raise Pix2ColorError(f"--{name.replace('_', '-')} {value:.10g}: {limit}")


def printable(text: object) -> str:
    """Text as one line without control characters.

    Names of files and messages of decoders may hold control characters, line breaks, bytes that
    are not UTF-8 or marks that turn the writing direction: they are written as escapes.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(text)
    )


def say(text: object, file: TextIO | None = None) -> None:
    """Print one `printable` line."""
    print(printable(text), file=file)


def print_or_write(text: str, path: Path | None) -> None:
    """Print a text, or write it as a file; Pix2ColorError where that cannot be written."""
    if path is None:
        print(text)
        return
    try:
        atomic_write(path, text + "\n")
    except OSError as error:
        raise Pix2ColorError(f"{path}: {error.strerror or error}") from None


def option_name(name: str, options: argparse.Namespace) -> str:
    """The option of a command that sets an argument or config key of the library.

    Args:
        name: such as `max_megapixels` or `data.roots`; returned as it is where no option sets it.
        options: the command's parsed options.
    """
    if name == "data.roots" and hasattr(options, "data"):
        return "--data"
    if hasattr(options, name):
        return f"--{name.replace('_', '-')}"
    is_key = "." in name or name in ("output", "init_from")
    return f"--set {name}=VALUE" if is_key and hasattr(options, "set") else name


def option_namer(options: argparse.Namespace) -> Callable[[str], str]:
    """`option_name` for the options of a command."""
    return lambda name: option_name(name, options)


def run_command(function: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Call a command's body; its errors become one line on standard error and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error escapes by itself
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return function(options)
    except Pix2ColorError as error:
        say(f"error: {error.describe(option_namer(options))}", sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _NOT_LIGHT:
            raise
        say(f"error: {name} is not installed, and this needs it: pip install -e .", sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        say("stopped", sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # such as by `| head`
        sys.stderr.close()
        return EXIT_OK


def stop_on_sigterm() -> None:
    """Let SIGTERM end a command as Ctrl-C does, cleaning up on the way."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def stop_requested(on_stop: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came, for work that stops at the next safe point.

    A second Ctrl-C raises KeyboardInterrupt at once.

    Args:
        on_stop: called at the first signal, such as to say what is finished first.
    """
    requested = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:  # launchers may repeat SIGTERM
            raise KeyboardInterrupt
        if not requested:
            requested = True
            on_stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield lambda: requested
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


class ProgressBar:
    """A bar with rate and remaining time on a terminal, lines at intervals elsewhere.

    Args:
        total: number of units; None where it is not known; 1.0 for a fraction of a budget.
        unit: name of a unit, in the plural.
        description: shown before the numbers.
        quiet: show nothing.
        plain: lines also on a terminal.
        interval: least seconds between two lines.
        out: where lines go; default: standard error.
    """

    def __init__(
        self,
        total: float | None,
        *,
        unit: str = "",
        description: str = "",
        quiet: bool = False,
        plain: bool = False,
        interval: float = 10.0,
        out: TextIO | None = None,
    ) -> None:
        self._unit, self._quiet, self._interval, self._out = unit, quiet, interval, out
        self.is_bar = not quiet and not plain and sys.stderr.isatty()
        """Whether a bar is drawn, and no lines."""
        self._bar: Any = None
        self.restart(total, description)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def restart(self, total: float | None, description: str = "", *, initial: float = 0) -> None:
        """Start again, such as for another training.

        Args:
            initial: what is done already; rate and remaining time count only what follows.
        """
        self._close()
        self._total, self._description = total, printable(description)
        self._done = self._initial = initial
        self._failed = 0
        self._start = self._last = time.monotonic()
        if self.is_bar:
            self._bar = self._new_bar()

    def update(self, count: float = 1, *, failed: bool = False, **figures: Any) -> None:
        """Count units done; `figures` and the number of failed units are shown beside them."""
        self._failed += failed
        self.advance_to(self._done + count, **figures)

    def advance_to(self, done: float, **figures: Any) -> None:
        """As `update`, with the number of units that are done in all."""
        count, self._done = done - self._done, done
        if self._failed:
            figures["failed"] = self._failed
        if self._bar is not None:
            if figures:
                self._bar.set_postfix(figures, refresh=False)
            self._bar.update(max(0, count))
            return
        now = time.monotonic()
        if not self._quiet and now - self._last >= self._interval:
            self._last = now
            shown = ", ".join(f"{name} {value}" for name, value in figures.items())
            self.write(", ".join(filter(None, (self._progress(now), shown))))

    def write(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(printable(line), file=self._out or sys.stderr)
        else:
            print(printable(line), file=self._out or sys.stderr, flush=True)

    def _progress(self, now: float) -> str:
        """Such as `cats.mp4 20/50 frames (2.0/s), 15 s left`."""
        rate = (self._done - self._initial) / max(now - self._start, 1e-9)
        if self._total == 1.0:
            text = f"{self._done:.1%}"
        else:
            total = "" if self._total is None else f"/{self._total:g}"
            text = f"{self._done:g}{total} {self._unit} ({rate:.1f}/s)"
        text = f"{self._description} {text}".strip()
        if self._total is None or rate <= 0:
            return text
        left = (self._total - self._done) / rate
        return f"{text}, " + (f"{left:.0f} s left" if left < 120 else f"{left / 60:.1f} min left")

    def _new_bar(self) -> Any:
        from tqdm import tqdm

        fraction = "{desc}{percentage:5.1f}% |{bar}| {elapsed} < {remaining}{postfix}"
        return tqdm(
            total=self._total,
            initial=self._initial,  # type: ignore[arg-type, unused-ignore]  # floats work
            unit=f" {self._unit}",
            desc=self._description or None,
            bar_format=fraction if self._total == 1.0 else None,
            dynamic_ncols=True,
            leave=False,
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
