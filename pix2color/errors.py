"""Errors a user can act on, and the exit codes that go with them.

Library code raises these; only `pix2color.cli` turns them into one line on standard error and an
exit code. Anything else that escapes is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
"""The work was done but for some inputs, which were named."""
EXIT_USAGE = 2
"""Nothing was done: the arguments, the config or the files do not allow it."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C or SIGTERM after saving what could be saved."""


class Pix2ColorError(Exception):
    """A mistake or a missing thing that the user can mend; the message says how, in one line."""

    exit_code = EXIT_USAGE


class ConfigError(Pix2ColorError):
    """A recipe or an override that cannot be read: unknown key, wrong type, contradiction."""


class DataError(Pix2ColorError):
    """Training or evaluation photos that are missing, too few or too broken."""


class PhotoError(Pix2ColorError):
    """One photo that cannot be read, colored or written; the others go on."""

    exit_code = EXIT_FAILED


class WeightsError(Pix2ColorError):
    """A weights file that is missing, of another architecture, or not a safetensors file."""


class TrainingError(Pix2ColorError):
    """Training that cannot go on: non-finite losses, a run folder of another config."""

    exit_code = EXIT_FAILED
