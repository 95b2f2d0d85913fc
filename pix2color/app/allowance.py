"""What visitors of a page may ask of the machine behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """Limits of one page; the defaults suit a small shared machine."""

    megapixels: float = 40.0
    """Largest photo."""
    files: int = 100
    """Photos one visitor may have at a time."""
    upload_bytes: int = 500_000_000
    """Largest upload, and largest sum of one visitor's photos."""
    queue: int = 32
    """Requests that may wait; more are told to come back later."""
    sessions: int = 200
    """Open at a time. A new one replaces one without results, or one not used for minutes."""
    cached_outputs: int = 16
    """Photos whose network output is kept in memory (some MB each), over all sessions."""
    idle_seconds: float = 3600.0
    """After which a visitor's photos are removed although the page may still be open."""
    free_bytes: int = 1_000_000_000
    """Nothing more is taken in when the disk has less left."""
