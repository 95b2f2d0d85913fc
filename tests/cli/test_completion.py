"""Shell completion and the manual page, made from the parsers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pix2color.cli import COMMANDS, main
from pix2color.cli.completion import parsers


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_gets_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the completion extra is not installed")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--lossless-jpeg" in script and "--runtime" in script


def completed(script: str, *words: str) -> list[str]:
    """What bash completes the last word to."""
    line = " ".join(f"'{word}'" for word in ("pix2color", *words))
    code = f"""{script}
COMP_WORDS=({line}); COMP_CWORD={len(words)}; COMP_LINE="${{COMP_WORDS[*]}}"
COMP_POINT=${{#COMP_LINE}}
$(complete -p pix2color | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    return [word.strip() for word in done.stdout.splitlines() if word.strip()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the completion extra is not installed")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "inf") == ["infer"]
    assert completed(script, "infer", "--run") == ["--runtime"]
    assert set(completed(script, "infer", "--runtime", "")) == {"torch", "onnx"}
    assert "--queue" in completed(script, "app", "--")


def test_without_shtab_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err == "error: completion needs shtab: pip install shtab\n"


def test_the_manual_names_every_command_and_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["manual"]) == 0
    page = capsys.readouterr().out
    file = tmp_path / "pix2color.1"
    assert main(["manual", "--out", str(file)]) == 0 and file.read_text() == page
    assert main(["manual", "--out", str(tmp_path)]) == 2
    for name, parser in parsers().items():
        assert f".SS {name}\n" in page and name in COMMANDS
        for option in parser._option_string_actions:
            assert option in ("-h", "--help") or option.replace("-", r"\-") in page
    if shutil.which("man") is None and shutil.which("groff") is None:
        return
    tool = ["groff", "-man", "-Tutf8", "-ww"] if shutil.which("groff") else ["man", "-l"]
    done = subprocess.run([*tool, file], capture_output=True, text=True, check=True)
    assert "--lossless-jpeg" in done.stdout.replace("\x1b[1m", "") and not done.stderr
