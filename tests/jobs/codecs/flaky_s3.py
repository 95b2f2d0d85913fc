"""S3 over a bad network: `flaky://bucket/key`.

One call in PIX2COLOR_TEST_FLAKY goes wrong (0: none). It fails before or after it took effect,
comes late, or transfers half of the bytes.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

from s3fs import S3FileSystem

_EVERY = int(os.environ.get("PIX2COLOR_TEST_FLAKY", "0"))
_calls = itertools.count(os.getpid())
_chance = random.Random(os.getpid())


class FlakyS3(S3FileSystem):  # type: ignore[misc]
    """s3fs whose calls of `ObjectStore` go wrong now and then."""

    protocol = ("flaky",)

    async def _disturb(self, call: Callable[..., Awaitable[Any]], *arguments: Any, **o: Any) -> Any:
        if not _EVERY or next(_calls) % _EVERY:
            return await call(*arguments, **o)
        kind = _chance.choice(("fails", "fails late", "delays", "truncates"))
        if kind == "fails":
            raise ConnectionResetError("connection reset by peer")
        if kind == "delays":
            await asyncio.sleep(0.2)
        if kind == "truncates" and len(arguments) > 1 and isinstance(arguments[1], bytes):
            arguments = (arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
        result = await call(*arguments, **o)
        if kind == "fails late":
            raise TimeoutError("the read operation timed out")
        is_bytes = kind == "truncates" and isinstance(result, bytes)
        return result[: len(result) // 2] if is_bytes else result

    async def _cat_file(self, *arguments: Any, **options: Any) -> Any:
        return await self._disturb(super()._cat_file, *arguments, **options)

    async def _pipe_file(self, *arguments: Any, **options: Any) -> Any:
        return await self._disturb(super()._pipe_file, *arguments, **options)

    async def _info(self, *arguments: Any, **options: Any) -> Any:
        return await self._disturb(super()._info, *arguments, **options)
