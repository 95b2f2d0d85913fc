"""configs/packaged: ten runs, each from what the script has made before it, end in the weights."""

from __future__ import annotations

import re
from pathlib import Path

from pix2color import weights
from pix2color.config import Config, load

LAST = 10
FOLDER = Path(__file__).parents[2] / "configs" / "packaged"
SCRIPT = (FOLDER / "train.sh").read_text(encoding="utf-8").replace("\\\n", " ")


def recipe(number: int) -> Config:
    return load(FOLDER / f"{number}.yaml")


def test_every_run_starts_from_what_was_made_before_it() -> None:
    made: set[str] = set()
    ran = 0
    for line in SCRIPT.splitlines():
        if found := re.match(r"run (\d+) ", line):
            ran += 1
            assert int(found[1]) == ran
            config = recipe(ran)
            assert config.init_from in made or (ran == 1 and config.init_from is None)
            made.add(f"{config.output}/release.safetensors")
        elif found := re.match(r"release (\S+)(.*)", line):
            out = re.search(r"--out (\S+)", found[2])
            averaged = re.search(r"--average ((?:[^-\s]\S*\s*)+)", found[2])
            assert set(averaged[1].split() if averaged else ()) <= made
            assert found[1] == recipe(ran).output
            made.add(out[1] if out else f"{found[1]}/{Path(found[1]).name}.safetensors")
    assert ran == len(list(FOLDER.glob("*.yaml"))) == LAST
    assert f"{recipe(LAST).output}/packaged-{LAST}.safetensors" in made


def test_the_last_run_is_of_the_packaged_network() -> None:
    packaged = weights.load()
    own = packaged.generator.state_dict()
    last = recipe(LAST).model
    assert packaged.meta["model"] | {"pretrained": ""} == (
        last.model_dump(mode="json") | {"pretrained": ""}
    )
    assert any(key.startswith("decoder.residuals.1.3.") for key in own)
    said = dict(re.findall(r"--(size|temperature|vividness) (\S+)", SCRIPT))
    decode = packaged.decode
    assert {k: float(v) for k, v in said.items()} == {
        "size": decode.size,
        "temperature": decode.temperature,
        "vividness": decode.vividness,
    }
