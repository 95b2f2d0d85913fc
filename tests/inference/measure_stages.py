"""What each stage of coloring costs one core, and how near a folder comes to the sum over all.

    python tests/inference/measure_stages.py
    python tests/inference/measure_stages.py --megapixels 1 12 --runs 15 --folder 64

The cost of a stage is the least processor time of all runs, on one core where the system can pin a
process; other programs disturb that least. The sum, shared by all cores without loss, is the limit
of a folder's rate. The folder is then colored as infer.py does; its rate needs a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from pix2color import bands, markdown
from pix2color.analysis import profile
from pix2color.inference.colorizer import Colorizer


def stage_costs(data: bytes, colorizer: Colorizer, runs: int) -> list[float]:
    """Processor seconds of each stage: the least of the runs after one unmeasured one."""
    rounds = [
        profile.colorize_in_stages(data, colorizer, time.process_time)[1] for _ in range(runs + 1)
    ]
    return [min(times) for times in zip(*rounds[1:], strict=True)]


def on_one_core(data: bytes, colorizer: Colorizer, runs: int) -> list[float]:
    """`stage_costs` with the process on one core."""
    if not hasattr(os, "sched_setaffinity"):
        return stage_costs(data, colorizer, runs)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return stage_costs(data, colorizer, runs)
    finally:
        os.sched_setaffinity(0, cores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1.0, 12.0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=int, default=64, help="megapixels of the folder (64)")
    options = parser.parse_args()
    colorizer = Colorizer.from_pretrained()
    count = bands.cores()
    head = ["", *profile.STAGES, "sum", f"limit on {count} cores", "folder", "of the limit"]
    rows = []
    for megapixels in options.megapixels:
        data = profile.synthetic_photo(megapixels, "JPEG")
        costs = on_one_core(data, colorizer, options.runs)
        timing = profile.measure(f"{megapixels:g} MP", data, [colorizer], runs=1)[0]
        photos = max(2 * count, round(options.folder / megapixels))
        rate = profile.measure_throughput(data, colorizer, timing, photos=photos)
        limit, found = count / sum(costs), rate.photos / rate.seconds
        cells = [f"{1000 * cost:.1f}" for cost in (*costs, sum(costs))]
        cells += [f"{limit:.1f}/s", f"{found:.1f}/s", f"{found / limit:.2f}"]
        rows.append([timing.name, *cells])
        sys.stdout.write(
            f"{timing.name}: in the folder {1000 * rate.processor / rate.photos:.1f} ms per photo,"
            f" cores busy {rate.cpu_utilization:.2f}\n"
        )
    sys.stdout.write(
        f"\nprocessor milliseconds per photo, one core, load {os.getloadavg()[0]:.1f}\n\n"
        f"{markdown.table(head, rows)}\n"
    )


if __name__ == "__main__":
    main()
