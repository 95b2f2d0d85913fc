"""Photo files that appear whole or not at all, and errors that say why one does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pix2color.errors import PhotoError
from pix2color.io import atomic_open


@contextlib.contextmanager
def atomic_open_photo(path: Path) -> Iterator[BinaryIO]:
    """`io.atomic_open` whose failure is a PhotoError."""
    try:
        with atomic_open(path) as file:
            yield file
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error
