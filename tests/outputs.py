"""What a run wrote beside its record."""

from __future__ import annotations

from pathlib import Path


def outputs(out: Path) -> dict[str, bytes]:
    """The files of an output folder by their names below it, without `.pix2color/`."""
    files = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file()}
    return {
        name: path.read_bytes()
        for name, path in sorted(files.items())
        if not name.startswith(".pix2color/")
    }
