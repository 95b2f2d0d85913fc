"""Errors that a user can act on, and the exit codes of the commands.

The library raises these. `pix2color.cli` prints each as one line on standard error and ends with
its exit code. Any other exception that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Callable

EXIT_OK = 0
EXIT_FAILED = 1
"""The work was done but for some inputs, which were named."""
EXIT_USAGE = 2
"""Nothing was done: the arguments, the config or the files do not allow it."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C or SIGTERM after saving what could be saved."""


class Pix2ColorError(Exception):
    """A user error; the message says in one line what is wrong, the remedy how to fix it."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Args:
        message: what is wrong, in one line.
        remedy: what to do. It names the library's arguments and config keys in braces, such as
            "leave {device} out": `str` shows the names alone, a command its own options.
        """
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        return self.describe(lambda name: name)

    @property
    def message(self) -> str:
        """What is wrong, without the remedy."""
        return super().__str__()

    def describe(self, option: Callable[[str], str]) -> str:
        """Message and remedy, with `option(name)` in place of each name in braces."""
        return describe(self.message, self.remedy, option)


def describe(message: str, remedy: str, option: Callable[[str], str]) -> str:
    """`Pix2ColorError.describe` of the two texts of an error that was recorded."""
    if not remedy:
        return message
    return f"{message}; " + re.sub(r"\{([\w.]+)\}", lambda name: option(name[1]), remedy)


class ConfigError(Pix2ColorError):
    """A recipe or an override that cannot be read: unknown key, wrong type, contradiction."""


class DataError(Pix2ColorError):
    """Training or evaluation photos that are missing, too few or too broken."""


class PhotoError(Pix2ColorError):
    """One photo that cannot be read, colored or written; the others go on."""

    exit_code = EXIT_FAILED


class StoreError(Pix2ColorError):
    """A folder or an object store that cannot be listed, read or written."""


class WeightsError(Pix2ColorError):
    """A weights file that is missing, of another architecture, or not a safetensors file."""


class TrainingError(Pix2ColorError):
    """Training that cannot go on: non-finite losses, a run folder of another config."""

    exit_code = EXIT_FAILED
