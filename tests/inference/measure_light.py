"""Start, memory and rates of this checkout beside those of another one, in turns.

    python tests/inference/measure_light.py ../before            # a checkout of the commit before
    python tests/inference/measure_light.py ../before --runs 5 --large 100 --json light.json

Both are run by this Python, each from its own folder, on the same synthetic photos; every figure is
the median of the runs. For a table that can be trusted, nothing else may run on the machine. Only
commands and functions that both checkouts have are used. Ratios below 1 are faster or smaller than
the other checkout's; the rate of a folder is better above 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
CACHE = Path(tempfile.gettempdir()) / "pix2color-measure-cache"
"""Of compiled modules, beside neither checkout; the first, unmeasured run of each fills it."""

# This process imports nothing heavy: a child's peak memory is at least that of its parent.
MAKE = """
import sys
from pathlib import Path
from pix2color.analysis.profile import synthetic_photo
folder, large, count = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
one = synthetic_photo(1, "JPEG")
for name, data in {"1": one, "12": synthetic_photo(12, "JPEG")}.items():
    (folder / f"{name}.jpg").write_bytes(data)
if large:
    (folder / "large.jpg").write_bytes(synthetic_photo(large, "JPEG"))
for number in range(count):
    (folder / "many").mkdir(exist_ok=True)
    (folder / "many" / f"{number:03}.jpg").write_bytes(one)
"""

# Warm: the photo is colored once before. Pillow decodes and encodes the file as it is.
WARM = """
import io, json, statistics, sys, time
from PIL import Image
from pix2color import Colorizer
from pix2color.photo import write
path, out, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
colorizer = Colorizer.from_pretrained()
def color():
    from pathlib import Path
    write(colorizer(path), Path(out))
def pillow():
    with Image.open(path) as image:
        image.save(io.BytesIO(), "JPEG", quality=90)
times = {"color": [], "pillow": []}
for _ in range(runs + 1):
    for name, work in (("color", color), ("pillow", pillow)):
        start = time.perf_counter()
        work()
        times[name].append(time.perf_counter() - start)
print(json.dumps({name: statistics.median(t[1:]) for name, t in times.items()}))
"""


def child(checkout: Path, *arguments: str | Path) -> tuple[float, float, str]:
    """Run Python in a checkout: seconds, peak memory in MB, and what it printed."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(CACHE)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # where set, every run would compile again
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], cwd=checkout, env=environment, stdout=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{checkout}: {' '.join(map(str, arguments))[:80]} failed")
        said.seek(0)
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return seconds, usage.ru_maxrss / unit, said.read()


def command(photo: Path, out: Path) -> tuple[str | Path, ...]:
    """infer.py of a photo or a folder."""
    return "infer.py", photo, "--out", out, "--quiet", "--device", "cpu"


def measure(checkouts: dict[str, Path], photos: Path, options: argparse.Namespace) -> dict:
    """Figure -> checkout -> median, in the order in which they are printed."""
    found: dict[str, dict[str, list[float]]] = {}

    def note(figure: str, name: str, value: float) -> None:
        found.setdefault(figure, {}).setdefault(name, []).append(value)

    def turns(work: Callable[[str, Path], None], runs: int = options.runs) -> None:
        for _ in range(runs):
            for name, checkout in checkouts.items():
                work(name, checkout)

    def start(name: str, checkout: Path) -> None:
        reference = child(checkout, "-c", "import torch")[0]
        seconds, memory, _ = child(checkout, *command(photos / "1.jpg", photos / "out" / name))
        note("1 MP, start to end, s", name, seconds)
        note("the same over import torch", name, seconds / reference)
        note("its peak memory, MB", name, memory)
        bare = child(checkout, "-c", "pass")[0]
        note("import pix2color, s", name, child(checkout, "-c", "import pix2color")[0] - bare)
        note("infer.py --help, s", name, child(checkout, "infer.py", "--help")[0])

    def warm(name: str, checkout: Path) -> None:
        for size in ("12", "1"):
            out = photos / f"{name}-{size}.jpg"
            said = child(checkout, "-c", WARM, photos / f"{size}.jpg", out, str(options.runs))[2]
            times = json.loads(said)
            note(f"{size} MP inside a run, s", name, times["color"])
            note(f"{size} MP over Pillow's copy", name, times["color"] / times["pillow"])

    def folder(name: str, checkout: Path) -> None:
        one = child(checkout, *command(photos / "1.jpg", photos / "out" / name))[0]
        every = child(checkout, *command(photos / "many", photos / "out" / f"{name}-many"))[0]
        note("folder of 1 MP, photos/s", name, (options.folder - 1) / (every - one))

    def large(name: str, checkout: Path) -> None:
        seconds, memory, _ = child(checkout, *command(photos / "large.jpg", photos / "out" / name))
        note(f"{options.large:g} MP, start to end, s", name, seconds)
        note("its peak memory, MB ", name, memory)

    for name, checkout in checkouts.items():
        child(checkout, *command(photos / "1.jpg", photos / "out" / name))
        child(checkout, "infer.py", "--help")
    turns(start)
    turns(warm, 1)
    turns(folder)
    if options.large:
        turns(large, min(options.runs, 3))
    return {
        figure: {name: statistics.median(values) for name, values in by_name.items()}
        for figure, by_name in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=int, default=64, help="photos of 1 MP (64)")
    parser.add_argument("--large", type=float, default=100, help="megapixels (100); 0: none")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    checkouts = {"this": HERE, "other": options.other.resolve()}
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place)
        child(HERE, "-c", MAKE, photos, str(options.large), str(options.folder))
        figures = measure(checkouts, photos, options)
    load = os.getloadavg()[0]
    lines = [f"medians of {options.runs}, {os.cpu_count()} cores, load {load:.1f}", ""]
    lines += ["| figure | this | other | ratio |", "| --- | ---: | ---: | ---: |"]
    for figure, by_name in figures.items():
        this, other = by_name["this"], by_name["other"]
        lines.append(f"| {figure.strip()} | {this:.3g} | {other:.3g} | {this / other:.2f} |")
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json:
        options.json.write_text(json.dumps({"load": load, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
