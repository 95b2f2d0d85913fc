"""What README, CONTRIBUTING and docs/ refer to exists: links, files, config keys, options."""

from __future__ import annotations

import argparse
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, parser_of
from pydantic import BaseModel

from pix2color.cli import COMMANDS
from pix2color.config import Config

TEXTS = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
CURRENT = [path for path in TEXTS if path.name != "CHANGELOG.md"]  # which holds old names too
RECIPES = sorted((ROOT / "configs").rglob("*.yaml"))
FOLDERS = ("pix2color", "tests", "configs", "docs", ".ci", ".github")
FOREIGN_OPTIONS = {
    "--mixed_precision", "--num_processes", "--num_machines",  # accelerate
    "--predicted",  # tests/inference/compare_enlargement.py
}  # fmt: skip


def name(path: Path) -> str:
    """The name of a test's parameter."""
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A document without its fenced blocks, which test_commands.py reads."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```\s*$", "", text, flags=re.MULTILINE | re.DOTALL)


def inline_code(path: Path) -> list[str]:
    """What stands in backticks within the prose."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(path))]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def links(path: Path) -> list[str]:
    """The targets of a document's links and pictures within the project."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in targets if not re.match(r"\w+:", target)]


@pytest.mark.parametrize("document", TEXTS, ids=name)
def test_a_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in links(document):
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), f"{name(document)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(path), f"{name(document)}: {file} has no heading for #{anchor}"


@pytest.mark.parametrize("document", CURRENT, ids=name)
def test_a_named_file_of_the_project_exists(document: Path) -> None:
    pattern = re.compile(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/[\w./*-]*)")
    for code in inline_code(document):
        for path in pattern.findall(code):
            assert any(ROOT.glob(path.rstrip("/."))), f"{name(document)} names {path}"


def config_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a section and of the sections below it."""
    for key, field in section.model_fields.items():
        yield prefix + key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from config_keys(field.annotation, f"{prefix}{key}.")


@pytest.mark.parametrize("document", [*CURRENT, *RECIPES], ids=name)
def test_a_named_config_key_exists(document: Path) -> None:
    known = set(config_keys(Config))
    sections = {key.partition(".")[0] for key in known if "." in key}
    pattern = re.compile(rf"(?<![\w/.-])((?:{'|'.join(sections)})\.[a-z_][\w.]*\w)")
    is_recipe = document.suffix == ".yaml"
    for text in [document.read_text(encoding="utf-8")] if is_recipe else inline_code(document):
        for key in pattern.findall(text):
            if not key.endswith((".py", ".yaml", ".safetensors")):
                assert key in known, f"{name(document)}: there is no config key {key}"


@pytest.mark.parametrize("document", [p for p in CURRENT if p.name != "report.md"], ids=name)
def test_the_spelling_is_that_of_the_us(document: Path) -> None:
    british = r"colour|grey|centre|neighbour|behaviour|licence|labell|modell|\w+isation|optimise"
    text = document.read_text(encoding="utf-8")
    assert not re.findall(rf"\b(?:{british})\w*", text, re.IGNORECASE), name(document)


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """All long options of a parser and of its subcommands."""
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for nested in action.choices.values():
                yield from options(nested)


@pytest.mark.parametrize("document", CURRENT, ids=name)
def test_a_named_option_exists(document: Path) -> None:
    known = {option for command in COMMANDS for option in options(parser_of(command))}
    for code in inline_code(document):
        if re.match(r"([A-Z_]+=\S+ )?python tests/", code):
            continue  # a script with options of its own
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            assert option in known | FOREIGN_OPTIONS, f"{name(document)}: no option {option}"


def test_the_architecture_lists_the_packages_with_their_levels_of_imports() -> None:
    levels = runpy.run_path(str(ROOT / "tests/contracts/test_imports.py"))["LEVEL"]
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = {row[2]: int(row[1]) for row in re.finditer(r"^\| (\d) \| `(\w+)` \|", text, re.M)}
    assert rows == {package: levels[package] + 1 for package in rows}
    assert list(rows.values()) == sorted(rows.values())
    packages = {path.parent.name for path in (ROOT / "pix2color").glob("*/__init__.py")}
    assert packages <= rows.keys()
