"""What all commands share: errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from pix2color import errors


def run(command: Callable[[], int]) -> int:
    """Run a command's work and return its exit code.

    A Pix2ColorError is one line on standard error; Ctrl-C is one word; a closed pipe is the end of
    the reader's interest. Anything else is a fault of ours and keeps its traceback.
    """
    try:
        return command()
    except errors.Pix2ColorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return errors.EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_FAILED
