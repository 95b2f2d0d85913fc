"""Where torch runs networks: the device of a name, and the number of threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from pix2color.errors import Pix2ColorError


def find_device(name: str | None) -> torch.device:
    """The device of that name, or the best there is.

    Raises Pix2ColorError for one that torch does not know or does not have here.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
        torch.zeros(1, device=device)
    except torch.OutOfMemoryError:  # it is there, and full: coloring falls back and says so
        return device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise Pix2ColorError(
            f"no device {name!r} here", remedy="leave {device} out, or set it to cpu"
        ) from None
    return device


@contextlib.contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """torch computes on one thread within it, where the device is the CPU."""
    before = torch.get_num_threads()
    if device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
