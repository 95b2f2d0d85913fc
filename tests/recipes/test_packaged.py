"""configs/packaged: every recipe is used, and the last one makes the packaged weights."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from pix2color.checkpoints import checkpoint
from pix2color.cli import release, train
from pix2color.config import load

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs/packaged").glob("*.yaml"), key=lambda path: int(path.stem))
RECORDER = """#!/bin/sh
for word in "$0" "$@"; do printf '%s\\037' "$word"; done >> "$RECORD"
echo >> "$RECORD"
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The commands of train.sh, run with programs that only write down how they are called."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("accelerate", "python"):
        program = folder / name
        program.write_text(RECORDER)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    record = folder / "record"
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", "configs/packaged/train.sh", "--data", "photos with spaces"],
        cwd=ROOT,
        env=os.environ | {"PATH": path, "RECORD": str(record)},
        check=True,
    )
    lines = [line.split("\037")[:-1] for line in record.read_text().splitlines()]
    return [[Path(words[0]).name, *words[1:]] for words in lines]


def test_every_run_starts_from_what_was_made_before_it(commands: list[list[str]]) -> None:
    made: set[str] = set()
    trained: list[Path] = []
    for words in commands:
        if words[:3] == ["accelerate", "launch", "train.py"]:
            arguments = train.parser().parse_args(words[3:])
            assert arguments.data == ["photos with spaces"]
            config = load(ROOT / arguments.config)
            assert config.init_from is None or config.init_from in made
            trained.append(ROOT / arguments.config)
            made.add(f"{config.output}/release.safetensors")
        else:
            assert words[:4] == ["python", "-m", "pix2color", "release"]
            arguments = release.parser().parse_args(words[4:])
            assert f"{arguments.run}/release.safetensors" in made
            assert set(map(str, arguments.average)) <= made
            made.add(str(arguments.out or arguments.run / f"{arguments.run.name}.safetensors"))
    assert trained == RECIPES


def test_the_last_run_is_of_the_packaged_network(commands: list[list[str]]) -> None:
    packaged = checkpoint.load()
    last = load(RECIPES[-1]).model
    assert packaged.meta["model"] | {"pretrained": ""} == (
        last.model_dump(mode="json") | {"pretrained": ""}
    )
    arguments = release.parser().parse_args(commands[-1][4:])
    shipped = packaged.decode
    for name in ("input_size", "temperature", "vividness"):
        assert getattr(arguments, name) == getattr(shipped, name), name
