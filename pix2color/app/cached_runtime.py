"""Caches network outputs, so that the network runs once per photo and hints."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from pix2color.inference.colorizer import Colorizer
from pix2color.runtime.base import Floats, NetworkOutput, Runtime

_MAX_OUTPUTS = 8  # per photo: with and without features, with the latest hints


class CachedRuntime:
    """A runtime that remembers the outputs of another one.

    An output depends on the arguments of `run` alone, so results are the same, bit for bit.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.kind, self.device, self.info = runtime.kind, runtime.device, runtime.info
        self._outputs: OrderedDict[tuple[object, ...], NetworkOutput] = OrderedDict()
        self._lock = threading.Lock()

    def run(
        self,
        lightness: Floats,
        *,
        features: bool = False,
        hints: Floats | None = None,
        device: str | None = None,
    ) -> NetworkOutput:
        """See `Runtime.run`; equal arguments run the network once."""
        key = (_digest(lightness), features, None if hints is None else _digest(hints), device)
        with self._lock:
            if key not in self._outputs:
                while len(self._outputs) >= _MAX_OUTPUTS:
                    self._outputs.popitem(last=False)
                self._outputs[key] = self._runtime.run(
                    lightness, features=features, hints=hints, device=device
                )
            return self._outputs[key]


def _digest(array: Floats) -> tuple[object, ...]:
    return array.shape, hashlib.blake2b(np.ascontiguousarray(array).data).digest()


def cached(colorizer: Colorizer) -> Colorizer:
    """A Colorizer with the same network behind a cache of its own."""
    return Colorizer(CachedRuntime(colorizer.runtime))


class CachePool:
    """The caches of the photos that were used last: one per session, bounded over all of them."""

    def __init__(self, colorizer: Colorizer, capacity: int) -> None:
        self._colorizer, self._capacity = colorizer, capacity
        self._lock = threading.Lock()
        self._colorizers: OrderedDict[Hashable, tuple[object, Colorizer]] = OrderedDict()

    def get(self, session: Hashable, photo: object) -> Colorizer:
        """The cached Colorizer of a session's photo, in place of that of its previous photo."""
        with self._lock:
            last, colorizer = self._colorizers.pop(session, (None, None))
            if colorizer is None or last is not photo:
                colorizer = cached(self._colorizer)
            self._colorizers[session] = (photo, colorizer)
            while len(self._colorizers) > self._capacity:
                self._colorizers.popitem(last=False)
            return colorizer

    def release(self, session: Hashable) -> None:
        """Drop a session's cache, if it has one."""
        with self._lock:
            self._colorizers.pop(session, None)
