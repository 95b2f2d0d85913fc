"""Recipes as files: found by name, read, extended, overridden; errors name the nearest key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pix2color.config.schema import Config
from pix2color.errors import ConfigError

# YAML 1.1 needs a dot in a float; people write 1e-4 (facts of PyYAML, pyyaml issue 173).
_SCIENTIFIC = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number and no/off/yes/on as words."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _SCIENTIFIC, list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a file in `./configs` or of a packaged one.

    Raises ConfigError naming the nearest recipe when there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    recipes: dict[str, Path] = {}
    for folder in _recipe_folders():
        recipes = {p.name: p for p in sorted(folder.glob("*.yaml"))} | recipes
    for candidate in (path.name, f"{path.name}.yaml"):
        if path.parent in (Path(), Path("configs")) and candidate in recipes:
            return recipes[candidate]
    near = difflib.get_close_matches(path.name, recipes, 1, 0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(recipes) or 'none'}"
    raise ConfigError(f"no config {str(name)!r}: {hint}")


def load(
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    over: Mapping[str, Any] | None = None,
) -> Config:
    """Read a recipe and apply overrides of the form `a.b=value` (values are YAML).

    `over` holds sections with values that are laid over the recipe's before the overrides.

    Raises ConfigError for a missing file, broken YAML, an unknown key (naming the nearest known
    one), a value of the wrong type, or a contradiction.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        file = find_recipe(path)
        tree = _read(file)
        tree.setdefault("output", f"runs/{file.stem}")
    tree = deep_merge(tree, over or {})
    for override in overrides:
        set_dotted_key(tree, override)
    return from_dict(tree, source=str(path) if path else "overrides")


def from_dict(tree: Mapping[str, Any], *, source: str = "config") -> Config:
    """A Config from nested plain values; raises ConfigError as `load` does."""
    try:
        return Config.model_validate(dict(tree))
    except ValidationError as error:
        raise ConfigError(f"{source}: {format_validation_error(error)}") from None


def _recipe_folders() -> Iterator[Path]:
    """Where recipes are looked for, the first one first."""
    yield Path("configs")
    package = Path(__file__).resolve().parents[1]
    yield package / "_configs"
    # Beside an installed package lie other packages, whose configs are none of ours.
    if (package.parent / "pyproject.toml").is_file():
        yield package.parent / "configs"


def _read(file: Path) -> dict[str, Any]:
    """The YAML of one recipe, merged over the one it `extends`."""
    tree = read_yaml(file)
    parent_name = tree.pop("extends", None)
    if parent_name is None:
        return tree
    sibling = file.parent / str(parent_name)
    parent = read_yaml(sibling if sibling.is_file() else find_recipe(str(parent_name)))
    if "extends" in parent:
        raise ConfigError(f"{file}: {parent_name} extends another recipe; one step only")
    parent.pop("output", None)
    return deep_merge(parent, tree)


def read_yaml(file: Path) -> dict[str, Any]:
    """The keys and values of a YAML file; ConfigError names the line that cannot be read."""
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", "syntax error")
        raise ConfigError(f"{file} is not YAML{where}: {problem}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: expected keys and values, found a {type(tree).__name__}")
    return tree


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values laid over others; a section keeps the keys that are not named."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = deep_merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def set_dotted_key(tree: dict[str, Any], override: str) -> None:
    """Set one value in nested sections from `a.b=value`, where the value is YAML."""
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"override {override!r}: write it as section.key=value")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not YAML") from None
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"override {override!r}: {section} is a value, not a section")
    tree[last] = value


def format_validation_error(error: ValidationError, root: type[BaseModel] = Config) -> str:
    """One line for a person out of pydantic's list: the first problem, and how many more."""
    problems = error.errors()
    first = problems[0]
    # Unions add their member's tag to the location; keep only names that are keys.
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(first["loc"], root)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1, 0.0)
        section = where.rpartition(".")[0]
        meant = f"{section}.{near[0]}" if near and section else "".join(near)
        text = f"unknown key {where}" + (f"; did you mean {meant}?" if meant else "")
    elif first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        text = f"{where}: {message}" if where else message
    else:
        text = f"{where} = {first['input']!r}: {first['msg'].lower()}"
    more = len(problems) - 1
    return text + (f" (and {more} more)" if more else "")


def _keys_beside(location: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """The keys known where an unknown one was found."""
    section = root
    for part in location[:-1]:
        annotation = section.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
