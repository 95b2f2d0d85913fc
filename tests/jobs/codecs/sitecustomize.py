"""Makes Pillow's decoders of this process as dangerous as marked files ask for.

Python imports it at its start where this folder is in PYTHONPATH, so also in child processes. A
photo that contains `MARK` and one of the words below ends, blocks or fills its process when its
pixels are decoded.
"""

import os
import time
from pathlib import Path
from typing import Any

from PIL import ImageFile

MARK = b"pix2color-test:"
_undisturbed = ImageFile.ImageFile.load


def _load(self: Any) -> Any:
    data = b""
    if self.fp is not None:  # None after the first call
        place = self.fp.tell()
        self.fp.seek(0)
        data = self.fp.read()
        self.fp.seek(place)
    if MARK in data:
        word, _, argument = data.partition(MARK)[2].partition(b";")[0].decode().partition("=")
        if word == "exit":
            os._exit(3)
        if word == "hang":
            time.sleep(3600)
        if word == "eat":
            eaten = []
            while True:
                eaten.append(bytearray(2**28))
        if word == "once" and not Path(argument).exists():  # a file that remembers
            Path(argument).touch()
            os._exit(4)
    return _undisturbed(self)


ImageFile.ImageFile.load = _load  # type: ignore[method-assign]

if "PIX2COLOR_TEST_FLAKY" in os.environ:
    from fsspec.registry import known_implementations

    known_implementations["flaky"] = {"class": "flaky_s3.FlakyS3", "err": "s3fs is missing"}
