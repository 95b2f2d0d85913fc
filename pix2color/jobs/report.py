"""The report of a run: every photo's outcome as JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from pix2color._version import __version__
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError, describe
from pix2color.io import atomic_open, check_writable
from pix2color.jobs.pipeline import Outcome
from pix2color.jobs.planner import JobPlan, refuse_sources


def check_report_path(path: Path, plan: JobPlan, inputs: Sequence[Path]) -> None:
    """Refuse a report that cannot be written or that would replace another file of the run.

    Args:
        plan: of the run; neither its sources nor its targets may be replaced.
        inputs: further files that the run reads.

    Raises:
        Pix2ColorError: a folder or a device, an input, a target, or not writable.
    """
    if path.exists() and not path.is_file():
        raise Pix2ColorError(f"report {path}: a folder or a device; name a file")
    jobs = [*plan.jobs, *plan.videos]
    refuse_sources([path], [*(job.source for job in jobs), *inputs])
    if os.path.realpath(path) in {os.path.realpath(p) for job in jobs for p in job.targets}:
        raise Pix2ColorError(f"report {path}: a colored photo goes there; choose another name")
    try:
        check_writable(path)
    except OSError as error:
        raise Pix2ColorError(f"report {path}: {error.strerror or error}") from None


def write_report(
    path: Path,
    outcomes: Sequence[Outcome],
    plan: JobPlan,
    *,
    decode: DecodeConfig,
    weights: str,
    option: Callable[[str], str],
) -> None:
    """Write every photo's status as JSON, atomically.

    Args:
        decode: how the photos were decoded.
        weights: the checkpoint's digest.
        option: how a failure's remedy names an argument (`errors.Pix2ColorError.describe`).

    Raises:
        Pix2ColorError: it cannot be written.
    """
    photos = [
        {
            "source": plan.shown(o.job.source),
            "target": plan.shown(o.job.target),
            "status": o.status,
            "reason": describe(o.reason, o.remedy, option),
            "notes": list(o.notes),
            "seconds": round(o.seconds, 3),
            "digests": list(o.digests),
        }
        for o in sorted(outcomes, key=lambda o: o.job.source)
    ]
    tree = {
        "pix2color": __version__,
        "weights": weights,
        "decode": decode.model_dump(),
        "counts": Counter(outcome.status for outcome in outcomes),
        "photos": photos,
        "unsupported": [plan.shown(p) for p in plan.unsupported],
        "left_out": [{"path": plan.shown(e.path), "reason": e.reason} for e in plan.left_out],
    }
    text = json.dumps(tree, indent=1, ensure_ascii=False)
    try:
        with atomic_open(path) as file:
            # Bytes of names that are not UTF-8 become \udcXX, which is valid JSON.
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise Pix2ColorError(f"report {path}: {error.strerror or error}") from None
