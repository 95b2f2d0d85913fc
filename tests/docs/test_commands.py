"""Every command and every Python example of README.md and docs/ is true.

All `sh` blocks are read: each command must be one that this file knows, its arguments ones that the
command's own parser takes, its recipe one that can be loaded. All `python` blocks must compile, and
what they import from pix2color must be there. That is the default suite's part.

The slow part does what they say, in small: in a folder with photos, scans and a run of the names
that the documents use, with a few more options that make it short (`SHORTER`). Launchers
(`accelerate launch`, `torchrun`) are parsed by their own parsers and what they launch runs in this
process.

New in a document? A command whose inputs are not there yet gets them in `_fill`; one that cannot
run here goes to ONLY_PARSED with the reason.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2color.cli import _COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HERE = Path(__file__).relative_to(ROOT)

ONLY_PARSED = {
    "pip install": "the environment of the tests is not changed; .ci/run installs",
    "pytest": "it would run itself; .ci/run does it",
    "accelerate config": "it asks questions",
    "sh configs/packaged/train.sh": "hours; tests/recipes/test_packaged.py reads it",
    "hf auth login": "it asks for a token",
    "python tests/": "a measurement, run by hand",
    "python -m pix2color benchmark": "minutes; tests/benchmark/test_smoke.py runs it in small",
    "python -m pix2color app": "it serves until it is stopped; tests/app",
    "python -m pix2color release --run runs/gan --push USER/REPO": (
        "it needs the Hub; tests/cli/test_release_push.py pushes to a stand-in"
    ),
    "python infer.py photos/ --checkpoint USER/REPO": "it needs the Hub; tests/weights/test_hub.py",
    "python infer.py film.mp4": "it needs PyAV and a film; tests/cli/test_infer_films.py",
}
"""The start of a command -> why it is not run here."""

ONLY_COMPILED = {
    "gradio_client": "it needs a page that is being served; tests/app",
    'from_pretrained("USER/REPO': "it needs the Hub; tests/weights/test_hub.py",
}
"""What a Python block holds -> why it is not run here."""

TINY = (
    "budget.samples=8", "train.batch=4", "data.crop=32", "data.side=48", "decode.size=32",
    "train.validate_photos=1", "train.sample_photos=0",
    "gan.critic_samples=0", "gan.width=8", "data.max_broken=1.0",
)  # fmt: skip
SHORTER = {
    "infer": ["--size", "48", "--quiet"],
    "train": [part for one in TINY for part in ("--set", one)],
    "evaluate": [
        "--limit", "2", "--crop", "48", "--size", "48", "--no-lpips", "--resamples", "5", "--quiet",
    ],
    "speed": ["--runs", "1"],
}  # fmt: skip
"""Appended to a command where it is run."""

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def _blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```([\w-]*)[^\n]*\n(.*?)^```\s*$", text, re.MULTILINE | re.DOTALL)
    return [Block(document, text[: f.start()].count("\n") + 1, f[1], f[2]) for f in found]


def _commands(block: Block) -> list[list[str]]:
    """The words of each command: comments gone, lines joined, cut at && and ;."""
    out: list[list[str]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word in ("&&", ";", "&", "||", "|"):
                out += [words] if words else []
                words = []
            else:
                words.append(word)
    return out


BLOCKS = [block for document in DOCUMENTS for block in _blocks(document)]
SHELL = [(b, words) for b in BLOCKS if b.language in ("sh", "bash") for words in _commands(b)]
PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]


def _name(value: Any) -> str:
    return str(value) if isinstance(value, Block) else " ".join(value)[:70]


class _ParsedError(Exception):
    """Parsing went well, and nothing further is to be done."""


def _parse_only(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Call a command's main up to where its own parser is done."""
    original = argparse.ArgumentParser.parse_args
    seen: list[argparse.Namespace] = []

    def parse(self: Any, args: Any = None, namespace: Any = None) -> Any:
        seen.append(original(self, args, namespace))
        raise _ParsedError

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        with pytest.raises(_ParsedError):
            call()
    return seen[0]


def _unlaunched(words: list[str]) -> list[str]:
    """The command that a launcher launches; the launcher's own parser must take its options."""
    if words[:2] == ["accelerate", "launch"]:
        from accelerate.commands.launch import launch_command_parser

        parsed = launch_command_parser().parse_args(words[2:])
        return ["python", parsed.training_script, *parsed.training_script_args]
    if words[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        parsed = get_args_parser().parse_args(words[1:])
        return ["python", parsed.training_script, *parsed.training_script_args]
    return words


def _ours(words: list[str]) -> tuple[str, list[str]] | None:
    """(command, arguments) of pix2color, however it is called; None for another program."""
    if words[0] == "pix2color":
        return words[1], words[2:]
    if words[:3] == ["python", "-m", "pix2color"]:
        return words[3], words[4:]
    if words[0] == "python" and words[1] in ("infer.py", "train.py"):
        return words[1].removesuffix(".py"), words[2:]
    return None


def _main(command: str) -> Callable[[list[str]], int]:
    assert command in _COMMANDS, f"pix2color has no command {command}"
    main: Callable[[list[str]], int] = importlib.import_module(_COMMANDS[command][0]).main
    return main


@pytest.mark.parametrize(("block", "words"), SHELL, ids=_name)
def test_a_command_is_one_that_its_program_takes(
    block: Block, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = _ours(_unlaunched(words))
    if ours:
        command, arguments = ours
        parsed = _parse_only(lambda: _main(command)(arguments), monkeypatch)
        if command == "train":
            from pix2color.config import load

            load(parsed.config, parsed.set)
        return
    if words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), f"{block}: {words[1]} is not there"
        return
    if words[:2] == ["pip", "install"]:
        for extra in re.findall(r"\[([\w,-]+)\]", " ".join(words)):
            assert set(extra.split(",")) <= set(EXTRAS), f"{block}: no extra [{extra}]"
        return
    assert _reason(words), f"{block}: {' '.join(words)!r} is not known: list it in {HERE}"


def _reason(words: list[str]) -> str | None:
    """Why a command is only parsed; USER/REPO stands for any name of the Hub in the documents."""
    text = " ".join(words)
    return next((why for start, why in ONLY_PARSED.items() if text.startswith(start)), None)


def test_commands_stand_in_blocks_that_are_read() -> None:
    """A block without a language is a drawing or an output, not commands."""
    programs = ("python ", "pip ", "accelerate ", "torchrun ", "pix2color ", "hf ", "$ ")
    for block in BLOCKS:
        if not block.language:
            lines = [line for line in block.text.splitlines() if line.startswith(programs)]
            assert not lines, f"{block}: commands stand in ```sh blocks: {lines[0]!r}"
    assert len(SHELL) > 15 and len(PYTHON) > 1


@pytest.mark.parametrize("block", PYTHON, ids=_name)
def test_an_example_imports_what_is_there(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pix2color"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, small_photos: list[np.ndarray]) -> Path:
    """A checkout in which the documents' commands find what they name."""
    folder = tmp_path_factory.mktemp("documents")
    _fill(folder, small_photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ["--config", "gan.yaml", "--data", "my-photos/", "--quiet"]
        arguments += ["--set", "init_from=null", "--set", "model.widths=[8,8,8,8]"]
        patch.setattr("pix2color.training.trainer.draw_curves", lambda run: None)
        assert _main("train")([*arguments, *SHORTER["train"]]) == 0
        assert _main("release")(["--run", "runs/gan"]) == 0
        if importlib.util.find_spec("onnx"):
            assert _main("export")(["--onnx", "out.onnx"]) == 0
    return folder


def _fill(folder: Path, photos: list[np.ndarray]) -> None:
    """The photos and files that the documents speak of."""
    for name in ("my-photos", "val", "imagenet-photos"):
        (folder / name).mkdir()
        for number, photo in enumerate(photos * 4):
            Image.fromarray(np.roll(photo, 3 * number, axis=1)).save(
                folder / name / f"{number}.png"
            )
    colour = [Image.fromarray(photo).resize((216, 144)) for photo in photos]
    gray = [photo.convert("L") for photo in colour]
    for name in ("photos", "scans", "archive"):
        (folder / name).mkdir()
        gray[0].save(folder / name / "one.jpg")
    for number, name in enumerate(("portrait.tif", "portrait.jpg", "scan.tif", "scan.jpg")):
        gray[number].save(folder / name)
    gray[1].save(folder / "scans/portrait.jpg")
    for name in ("other.jpg", "photo.jpg"):
        colour[2].save(folder / name)
    hints = '{"portrait.jpg": [{"x": 12, "y": 8, "color": "#2040ff"}]}'
    (folder / "hints.json").write_text(hints)
    for name in ("configs", "tests"):
        (folder / name).symlink_to(ROOT / name)


RUN = {" ".join(words): (block, words) for block, words in SHELL if not _reason(words)}
"""Each command once, wherever it stands."""


@pytest.fixture(autouse=True)
def _in_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No curves, which take longer than these trainings; nothing in the user's cache."""
    monkeypatch.setattr("pix2color.training.trainer.draw_curves", lambda run: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize(("block", "words"), RUN.values(), ids=_name)
def test_a_command_does_what_it_says(
    block: Block,
    words: list[str],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = _ours(_unlaunched(words))
    assert ours, f"{block}: {' '.join(words)!r} cannot be run here: list it in {HERE}"
    command, arguments = ours
    if command == "train":
        arguments = [*arguments, "--quiet", "--set", f"output={tmp_path / 'run'}"]
        arguments = [a for a in arguments if a != "--resume"]
    monkeypatch.chdir(prepared)
    if "--out" not in arguments and command in ("infer", "evaluate", "uncolor"):
        arguments = [*arguments, "--out", str(tmp_path / "out")]
    code = _main(command)([*arguments, *SHORTER.get(command, ())])
    said = capsys.readouterr().err
    if code and "needs the extra" in said:
        pytest.skip(said)
    remedy = f"give it its inputs in _fill, or list it in ONLY_PARSED ({HERE})"
    assert code == 0, f"{block}: {' '.join(words)!r} ends with {code}: {said}{remedy}"


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=_name)
def test_an_example_runs(
    block: Block, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = next((why for part, why in ONLY_COMPILED.items() if part in block.text), None)
    if why:
        pytest.skip(why)
    for module in re.findall(r"^import (\w+)", block.text, re.MULTILINE):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    left = shutil.ignore_patterns("runs", "report", "colorized")
    shutil.copytree(prepared, tmp_path / "here", symlinks=True, ignore=left)
    monkeypatch.chdir(tmp_path / "here")
    gray = np.asarray(Image.open("scan.jpg"))
    names = {"gray": gray, "image": Image.open("portrait.jpg"), "other": Image.open("scan.jpg")}
    exec(compile(block.text, str(block), "exec"), names)
