"""Caches network outputs, so that the network runs once per photo and hints."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable

import torch
from torch import Tensor

from pix2color.inference.colorizer import Colorizer
from pix2color.models.heads import Head
from pix2color.runtime.backends import Runtime

_MAX_OUTPUTS = 8  # per photo: with and without features, with the latest hints

Output = tuple[Tensor, Tensor | None]


class CachedBackend:
    """A backend that remembers the outputs of another one.

    An output depends on the arguments of `run` alone, so results are the same, bit for bit.
    """

    def __init__(self, backend: Runtime) -> None:
        self._backend = backend
        self.kind = backend.kind
        self._outputs: OrderedDict[tuple[object, ...], Output] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def stride(self) -> int:
        """As in Backend."""
        return self._backend.stride

    @property
    def head(self) -> Head:
        """As in Backend."""
        return self._backend.head

    @property
    def accepts_hints(self) -> bool:
        """As in Backend."""
        return self._backend.accepts_hints

    def run(
        self,
        lightness: Tensor,
        device: torch.device,
        *,
        features: bool = False,
        hints: Tensor | None = None,
    ) -> Output:
        """As in Backend; equal arguments run the network once."""
        key = (_digest(lightness), device, features, None if hints is None else _digest(hints))
        with self._lock:
            if key not in self._outputs:
                while len(self._outputs) >= _MAX_OUTPUTS:
                    self._outputs.popitem(last=False)
                self._outputs[key] = self._backend.run(
                    lightness, device, features=features, hints=hints
                )
            return self._outputs[key]


def _digest(tensor: Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), hashlib.blake2b(tensor.contiguous().numpy().data).digest()


def cached(colorizer: Colorizer) -> Colorizer:
    """A Colorizer with the same network behind a cache of its own."""
    out = copy.copy(colorizer)
    out.backend = CachedBackend(colorizer.backend)
    return out


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
