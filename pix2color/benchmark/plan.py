"""What a benchmark is made of: its plan file, and the recipes as the plan has them trained.

A plan is a YAML file beside the recipes. Every recipe is trained as its file says, but for what
the plan's `defaults` section lays over all of them, the budget and the seed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pix2color import config as configs
from pix2color.checkpoints.pretrained import pretrained_classifier, pretrained_encoder
from pix2color.config import BudgetConfig, Config, ConfigModel, SplitConfig
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.encoders import NAMES

Count = Annotated[int, Field(ge=1)]
Say = Callable[[str], object]
_FALLBACK = "mobilenet_v2"
_NO_FILES = ("imagenet", "default", "none")
_EVERY = 1 << 40  # samples: never within a benchmark
FIRST_SET = "test"
"""The name of the training photos' own test part among the sets."""


class EvaluationPlan(ConfigModel):
    """What is measured of every recipe, on every set of photos."""

    photos: Count = 300
    """Of each set: the first by content hash."""
    crop: Count = 176
    """Side of the measured center square, in pixels."""
    resamples: Annotated[int, Field(ge=0)] = 1000
    """Of the bootstrap."""
    lpips_net: Literal["alex", "vgg", "squeeze"] = "squeeze"
    lpips_backbone: str | None = None
    """torchvision's weights of that net; null: downloaded."""
    fd_backbone: str | None = None
    """torchvision's weights of mobilenet_v2 or squeezenet1_1, in whose features FD is measured;
    null: no FD."""
    classifier: str | None = None
    """A network's name or a weights file, for photos that have classes."""
    fid: Literal["none", "inception"] | str = "none"
    """inception (torch-fidelity downloads it) | a file with its weights | none."""
    failures: bool = True
    """The five failures, on the test photos."""
    num_shown: Count = 12
    """Photos in the grid."""


class BenchmarkPlan(ConfigModel):
    """The whole plan."""

    recipes: Literal["all"] | tuple[str, ...] = "all"
    """Names of recipes; all: every recipe in the folder of the plan."""
    budget: BudgetConfig = BudgetConfig(minutes=5)
    """Of each recipe: equal samples or equal minutes of training steps."""
    gan_budget_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """The share of its budget that a GAN recipe trains against the discriminator. It starts from
    its pretraining recipe as that was after the rest of the budget, so that the whole is equal."""
    split: SplitConfig = SplitConfig(train=0.6, val=0.2, test=0.2)
    max_photos: Count | None = None
    """Train on only this many photos."""
    seed: Annotated[int, Field(ge=0)] = 0
    defaults: dict[str, dict[str, Any]] = Field(default={})
    """Sections of a recipe that are laid over every one."""
    overrides: dict[str, dict[str, Any]] = Field(default={})
    """The same for single recipes, by name; laid over `defaults`."""
    pretrained: dict[str, str] = Field(default={})
    """Weights files of encoders and classifiers by name; others are what the recipe names, or
    downloaded."""
    evaluate: EvaluationPlan = EvaluationPlan()
    test_sets: dict[str, str] = Field(default={})
    """Further photos that no recipe sees: name -> folder or .tar."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in self.test_sets:
            if name == FIRST_SET or not re.fullmatch(r"[\w.-]*\w", name):
                raise ValueError(
                    f"test_sets: {name!r} is a folder of the report: give another name, of letters,"
                    f" digits, - and _, that is not {FIRST_SET}"
                )
        if min(self.split.train, self.split.val, self.split.test) <= 0:
            raise ValueError("a benchmark needs train, val and test photos: no share may be 0")
        return self


SMOKE: dict[str, Any] = {
    "budget": {"samples": 8, "minutes": None},
    "defaults": {
        "data": {"cache_size": 48, "crop": 32, "crop_scale": [0.6, 1.0]},
        "model": {"conv_encoder": {"width": 8}},
        "gan": {"discriminator_warmup_samples": 0, "base_channels": 8, "n_layers": 1},
        "optim": {"warmup_samples": 0},
        "train": {"batch_size": 4, "log_every_samples": 4},
        "decode": {"input_size": 32},
    },
    "evaluate": {"photos": 4, "crop": 48, "resamples": 20, "num_shown": 2},
}
"""Laid over a plan by `--budget smoke`: every recipe for seconds, to see that all parts hold."""


@dataclass(frozen=True)
class RecipeRun:
    """A recipe as the benchmark trains it."""

    name: str
    config: Config
    parent: str | None = None
    """The recipe that it starts from: it gets `gan_share` of the budget, its parent the rest."""
    note: str = ""
    """What differs from the recipe as reported, such as another encoder."""
    substitute_encoder: str = ""
    """The encoder in the recipe's own's place, which the row is named by; empty for its own."""
    unavailable: str = ""
    """Why it cannot be trained here; empty where it can."""


def load_plan(
    path: str | Path, *, overrides: Mapping[str, Any] | None = None, smoke: bool = False
) -> BenchmarkPlan:
    """Read a plan.

    Args:
        path: a file, or its name in `configs/`.
        overrides: sections and values laid over the file's.
        smoke: lay SMOKE over it, too.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong.
    """
    tree = configs.read_yaml(configs.find_recipe(path))
    for over in (SMOKE if smoke else {}, overrides or {}):
        tree = configs.deep_merge(tree, over)
    try:
        return BenchmarkPlan.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            f"{path}: {configs.format_validation_error(error, BenchmarkPlan)}"
        ) from None


def resolve_runs(
    plan: BenchmarkPlan, folder: Path, *, out: Path, roots: Sequence[str], say: Say
) -> list[RecipeRun]:
    """The recipes in the order of training: a pretraining before what starts from it.

    Args:
        plan: the plan.
        folder: of the recipes, where the plan lists `all`.
        out: the report's folder; runs lie in `out/runs/NAME`.
        roots: of the training photos.
        say: is told what stands in for weights that cannot be had.

    Raises:
        ConfigError: a recipe is broken, or starts from one that is not listed.
        WeightsError: a weights file that the plan names does not hold.
    """
    listed = _recipe_files(folder) if plan.recipes == "all" else list(plan.recipes)
    files = {recipe_name(name): configs.find_recipe(name) for name in listed}
    for name in plan.overrides.keys() - files.keys():
        configs.find_recipe(name)  # a recipe that is left out this time may have its changes
    _check_networks(plan.pretrained)
    known: dict[str, RecipeRun] = {}
    waiting = [_recipe_run(name, files[name], plan, out, roots) for name in sorted(files)]
    weights = _Weights(plan.pretrained)
    while waiting:
        ready = [e for e in waiting if e.parent is None or e.parent in known]
        if not ready:
            lost = waiting[0]
            raise ConfigError(
                f"recipe {lost.name} starts from {lost.parent}, which is not listed: add it"
            )
        for entry in ready:
            chosen = weights.choose(entry)
            if chosen.note or chosen.unavailable:
                say(f"{chosen.name}: {chosen.unavailable or chosen.note}")
            known[chosen.name] = _with_parent_network(chosen, known)
        waiting = [e for e in waiting if e.name not in known]
    return list(known.values())


def recipe_name(recipe: str | Path) -> str:
    """The name of a recipe's row: the stem of its file."""
    return Path(recipe).name.removesuffix(".yaml")


def _check_networks(named: Mapping[str, str]) -> None:
    """A misspelt network's weights would be left unused, and others downloaded in their place."""
    for name in named:
        if name not in NAMES and not name.startswith("timm/"):
            near = difflib.get_close_matches(name, NAMES, 1, 0.0)
            raise ConfigError(f"pretrained: no network {name}; did you mean {near[0]}?")


def _recipe_files(folder: Path) -> list[str]:
    """Every recipe of a folder: a YAML file that is no plan."""
    found = [p for p in sorted(folder.glob("*.yaml")) if "recipes" not in configs.read_yaml(p)]
    if not found:
        raise ConfigError(f"{folder} holds no recipes")
    return [str(path) for path in found]


def _recipe_run(
    name: str, file: Path, plan: BenchmarkPlan, out: Path, roots: Sequence[str]
) -> RecipeRun:
    over = configs.deep_merge(plan.defaults, plan.overrides.get(name, {}))
    config = configs.load(file, over=over)
    parent = _parent(name, config.init_from)
    share = plan.gan_budget_fraction if parent else 1.0
    samples, minutes = plan.budget.samples, plan.budget.minutes
    changes: dict[str, Any] = {
        "data": {
            "roots": list(roots),
            "split": plan.split.model_dump(),
            "max_photos": plan.max_photos,
        },
        "budget": {
            "samples": max(1, round(samples * share)) if samples else None,
            "minutes": minutes * share if minutes else None,
        },
        # One validation at the end is all that a benchmark needs.
        "train": {"seed": plan.seed, "validate_every_samples": _EVERY, "num_val_photos": 32},
        "init_from": str(out / "runs" / parent / PRE_GAN) if parent else None,
        "output": str(out / "runs" / name),
    }
    tree = configs.deep_merge(config.model_dump(mode="json"), changes)
    return RecipeRun(name, configs.from_dict(tree, source=name), parent)


def _parent(name: str, start: str | None) -> str | None:
    """The recipe whose run a recipe starts from."""
    if start is None:
        return None
    path = PurePosixPath(start)
    if path.name != "release.safetensors" or not path.parent.name:
        raise ConfigError(
            f"recipe {name} starts from {start}: in a benchmark it can start only from another"
            " recipe's run, whose training counts (init_from: runs/RECIPE/release.safetensors)"
        )
    return path.parent.name


def _with_parent_network(entry: RecipeRun, known: Mapping[str, RecipeRun]) -> RecipeRun:
    """Decoded as its pretraining is, so that the two rows differ by their training alone."""
    if entry.parent is None:
        return entry
    decode = known[entry.parent].config.decode
    return replace(entry, config=entry.config.model_copy(update={"decode": decode}))


PRE_GAN = "before_gan.safetensors"
"""In the run folder of a pretraining: its weights when its GAN recipe starts from them."""


class _Weights:
    """Finds pretrained weights, each once."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._found: dict[tuple[str, str, bool], str | WeightsError] = {}

    def choose(self, entry: RecipeRun) -> RecipeRun:
        """The entry with weights that can be had, or with what is missing."""
        model = entry.config.model
        if model.encoder == "fusion":
            return self._fusion(entry)
        if model.pretrained == "none":
            return entry
        source = self._source(model.encoder, model.pretrained)
        if isinstance(source, str):
            return _with_model(entry, pretrained=source)
        stand_in = self._source(_FALLBACK, "imagenet")
        if model.encoder != _FALLBACK and isinstance(stand_in, str):
            remark = f"{_FALLBACK} in place of {model.encoder}, whose weights cannot be had here"
            changed = _with_model(entry, encoder=_FALLBACK, pretrained=stand_in)
            return replace(changed, note=remark, substitute_encoder=_FALLBACK)
        pretrained_encoder(_FALLBACK, "default")
        remark = (
            f"the packaged weights' {_FALLBACK} in place of ImageNet's {model.encoder}: it has"
            " learned colors already, which flatters this row"
        )
        changed = _with_model(entry, encoder=_FALLBACK, pretrained="default")
        stand_in = _FALLBACK if model.encoder != _FALLBACK else ""
        return replace(changed, note=remark, substitute_encoder=stand_in)

    def _fusion(self, entry: RecipeRun) -> RecipeRun:
        model = entry.config.model
        source = self._source(model.fusion.classifier, model.pretrained, whole=True)
        if isinstance(source, str):
            return _with_model(entry, pretrained=source)
        return replace(entry, unavailable=f"needs the weights of a whole classifier: {source}")

    def _source(self, name: str, own: str, *, whole: bool = False) -> str | WeightsError:
        """The plan's file, or the recipe's own, or `imagenet` where that can be had."""
        named = own if own not in _NO_FILES else "imagenet"
        source = self._files.get(name, named)
        key = (name, source, whole)
        if key not in self._found:
            try:
                (pretrained_classifier if whole else pretrained_encoder)(name, source)
                self._found[key] = source
            except WeightsError as error:
                if source != "imagenet":
                    raise
                self._found[key] = error
        return self._found[key]


def _with_model(entry: RecipeRun, **changes: Any) -> RecipeRun:
    model = entry.config.model.model_copy(update=changes)
    return replace(entry, config=entry.config.model_copy(update={"model": model}))
