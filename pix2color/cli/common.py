"""What the commands share: arguments, errors as one line and an exit code, and progress."""

from __future__ import annotations

import argparse
import contextlib
import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO

from pix2color.errors import EXIT_INTERRUPTED, EXIT_OK, Pix2ColorError


class Parser(argparse.ArgumentParser):
    """Takes options that are written out only: a mistyped one is never taken for another."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Exit with a `printable` message."""
        super().error(printable(message))


MOST = 1_000_000_000
"""Upper bound of counts that need none of their own."""


def check_ranges(options: argparse.Namespace, **ranges: tuple[float, float]) -> None:
    """Refuse options outside of their range (least, most), NaN included; None is left alone.

    Raises Pix2ColorError, which names the option.
    """
    for name, (least, most) in ranges.items():
        given = getattr(options, name)
        for value in given if isinstance(given, list) else [given]:
            if value is None or least <= value <= most:
                continue
            limit = f"a number from {least:g} to {most:g}"
            if value < least:
                limit = f"at least {least:g}"
            elif value > most:
                limit = f"at most {most:g}"
            raise Pix2ColorError(f"--{name.replace('_', '-')} {value:.10g}: {limit}")


def printable(text: object) -> str:
    """Text as one line that a terminal shows and does not obey.

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
    except KeyboardInterrupt:
        say("stopped", sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return EXIT_OK


def stop_on_sigterm() -> None:
    """Let SIGTERM end a command as Ctrl-C does, cleaning up on the way."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def stop_requested(on_stop: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came, for work that stops at its next good place.

    A second Ctrl-C (or SIGTERM) raises KeyboardInterrupt at once.

    Args:
        on_stop: called at the first signal, such as to say what is finished first.
    """
    requested = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
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
    """A bar with rate and remaining time on a terminal, a line now and then elsewhere.

    Args:
        total: how many units there will be; None where that is not known.
        unit: the name of one.
        quiet: show nothing.
    """

    _SECONDS = 10.0  # between lines where there is no terminal

    def __init__(
        self, total: int | None, *, unit: str, description: str = "", quiet: bool = False
    ) -> None:
        self._total, self._unit, self._description = total, unit, description
        self._quiet = quiet
        self._done = self._failed = 0
        self._start = self._last = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                unit=unit,
                desc=printable(description) or None,
                dynamic_ncols=True,
                leave=False,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int = 1, *, failed: bool = False, **figures: Any) -> None:
        """Count units done; `figures` and the number of failed units are shown beside them."""
        self._done += count
        self._failed += failed
        if self._failed:
            figures["failed"] = self._failed
        if self._bar is not None:
            if figures:
                self._bar.set_postfix(figures, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if self._quiet or now - self._last < self._SECONDS:
            return
        self._last = now
        rate = self._done / (now - self._start)
        line = f"{self._description} {self._done}".strip()
        if self._total:
            line += f"/{self._total}, {(self._total - self._done) / rate:.0f} s left"
        shown = "".join(f", {name} {value}" for name, value in figures.items())
        self.write(f"{line} {self._unit} ({rate:.1f}/s{shown})")

    def write(self, line: str) -> None:
        """A line that does not break the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(printable(line), file=sys.stderr)
        else:
            say(line, sys.stderr)
