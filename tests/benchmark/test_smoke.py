"""`--budget smoke` over every recipe, as CI runs it: about a minute of one core."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pix2color.benchmark.images import FAILURES
from pix2color.config import load
from pix2color.evaluation.registry import METRICS

ROOT = Path(__file__).parents[2]
RECIPES = {p.stem for p in (ROOT / "configs").glob("*.yaml")} - {"benchmark", "packaged", "distill"}


def stands_apart(rows: list[dict[str, Any]], name: str) -> str | None:
    """The recipe whose interval for a figure overlaps with none of the others', said anew."""
    sign = -1 if METRICS[name].better == "lower" else 1
    ends = {
        row["name"]: sorted(sign * row["figures"][name][end] for end in ("low", "high"))
        for row in rows
        if row["primary"]
    }
    for one, (low, _) in ends.items():
        if METRICS[name].better and all(low > high for o, (_, high) in ends.items() if o != one):
            return one
    return None


@pytest.mark.slow
def test_every_recipe_becomes_a_row(mobilenet_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    nowhere = "http://127.0.0.1:9"  # so that VGG16's 528 MB are missing everywhere alike
    environment = os.environ | {"TORCH_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT)}
    environment |= {"https_proxy": nowhere, "http_proxy": nowhere, "OMP_NUM_THREADS": "1"}
    command = [
        *(sys.executable, "-m", "pix2color", "benchmark", "--budget", "smoke"),
        *("--pretrained", f"mobilenet_v2={mobilenet_file}", "--out", str(out), "--quiet"),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"report in {out / 'index.html'}"

    tree = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert {one["name"]: one["status"] for one in tree["recipes"]} == dict.fromkeys(RECIPES, "done")
    rows = tree["sets"]["test"]["rows"]
    titles = {one["name"]: one["title"] for one in tree["recipes"]}
    names = {"truth", "gray", "random", "mean", *titles.values()}
    names |= {f"{titles[name]} (start)" for name in RECIPES if load(name).init_from}
    with_classes = [name for name in RECIPES if load(name).model.head.type == "classes"]
    names |= {f"{titles[name]} (best decoding)" for name in with_classes}
    assert {row["name"] for row in rows} == names
    assert len(rows) == len(names)
    for one in tree["recipes"]:
        vgg = one["name"].startswith("vgg16")  # its weights cannot be had: the row is named so
        assert ("in place of vgg16" in one["note"]) == vgg
        assert one["title"] == one["name"] + (" on mobilenet_v2" if vgg else "")
        assert one["samples"] == 8 or one["parent"]
    assert tree["data"]["toy"]

    html = (out / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) == 14
    assert all(source.startswith("data:image/") for source in sources)
    for number, failure in enumerate(FAILURES, start=1):
        assert f"<h3>{number}. {failure.title}</h3>" in html
    shown = [name for name in METRICS if f"<th>{METRICS[name].title}" in html.partition("Gains")[0]]
    best = [stands_apart(rows, name) for name in shown if name in rows[0]["figures"]]
    figures = html.partition("Networks in the order of AuC")[0]  # where differences are bold
    assert figures.count("<b>") == len([name for name in best if name])

    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert not re.search(r"^\d+/\d+ ", again.stderr, re.MULTILINE)  # nothing is trained again
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["sets"] == tree["sets"]
