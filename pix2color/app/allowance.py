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
    visitors: int = 200
    """At a time; a new one must wait until another has gone."""
    idle_seconds: float = 3600.0
    """After which a visitor's photos are removed although the page may still be open."""
    free_bytes: int = 1_000_000_000
    """Nothing more is taken in when the disk has less left."""
