"""Limits of the web app."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLimits:
    """Limits of one server; the defaults suit a small shared machine."""

    megapixels: float = 40.0
    """Largest photo."""
    files: int = 100
    """Photos one client may have at a time."""
    upload_bytes: int = 500_000_000
    """Largest upload, and largest sum of one client's photos."""
    queue: int = 32
    """Requests that may wait; further ones are refused."""
    sessions: int = 200
    """Open at a time. A new one replaces one without results, or one not used for minutes."""
    cached_outputs: int = 16
    """Photos whose network output is kept in memory (some MB each), over all sessions."""
    idle_seconds: float = 3600.0
    """Time without use after which a session ends, although its page may still be open."""
    free_bytes: int = 1_000_000_000
    """Uploads are refused when the disk has less space left."""
